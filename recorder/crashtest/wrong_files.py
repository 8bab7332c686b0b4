"""Files that are not what the recorder left: torn, copied over, opened twice, put back, forged.

* `torn`: a crash in a snapshot leaves a journal that is needed, and a file whose first page was half written. The next
  start has what SQLite recovers, to the row.
* `copied-over`: another recording's file, or an earlier state of our own, is copied over the database while it is
  recorded. It is not written to, nothing in it counts as durable, and /readyz is red until ours is put back.
* `second-recorder`: a second recorder opens the file by a hard link, or by its name with the lock file removed. It is
  refused, and the first goes on.
* `restored`: a copy is put back after `kill -9`. The start begins a new epoch, and a position of before gets `reset`.
* `forged`: what signatures cover is changed while nobody records, with all that a forger can mend mended. The start is
  refused; or what it does is named by the doctor for ever.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import orjson

from recorder.auth.signing import known_keys
from recorder.core.errors import RecorderError
from recorder.crashtest.clients import JSON, next_of, recorded_by
from recorder.crashtest.forgeries import FORGERIES
from recorder.crashtest.inspect import copy_of, inspect_files, play_back
from recorder.crashtest.plan import Plan
from recorder.crashtest.recordings import make
from recorder.crashtest.runner import Runner
from recorder.crashtest.server_process import ServerDied, ServerProcess
from recorder.crashtest.workload import frame_of
from recorder.verify.file import verify_file
from recorder.verify.report import Verdict

RARELY = ("--snapshot-interval", "600000")
"""No snapshot but those that are asked for."""

Play = Callable[[Plan, str, Path], Awaitable[list[str]]]


class NotMade(Exception):
    """A situation did not come about."""


async def run(runner: Runner) -> None:
    """Each situation, in each mode; of a quick campaign each once, and two of the forgeries."""
    names = [
        f"files/{mode}/{case}" for case in SITUATIONS for mode in MODES.get(case, ("snapshot", "commit"))
    ]
    if runner.plan.quick:
        names = list({name.split("/")[2]: name for name in names}.values())
    forged = [f"files/snapshot/forged-{how}" for how in FORGERIES]
    names += runner.plan.sample("files", forged, 2)
    await runner.all([(name, partial(_judged, runner, name)) for name in names])


async def _judged(runner: Runner, name: str, folder: Path) -> None:
    _, mode, case = name.split("/")
    try:
        found = await _play(case)(runner.plan, name, folder)
    except NotMade as error:
        runner.part.skip(name, str(error))
        return
    runner.part.count(mode, situations=1)
    runner.judge(name, found, folder)


async def _torn(plan: Plan, name: str, folder: Path) -> list[str]:
    rng = plan.rng(name)
    recording = await make("torn", folder / "made")
    if recording is None:
        raise NotMade("no recorder could be killed in the middle of a snapshot")
    length = rng.choice((100, 512, 4096))
    with recording.database.open("r+b") as file:
        file.write(rng.choice((bytes, rng.randbytes))(length))
    image = copy_of(recording.database, folder / "look")
    play_back(image)
    with closing(sqlite3.connect(image)) as conn:
        expected = conn.execute("SELECT count(*) FROM session_deltas").fetchone()[0]
    copy = recording.copy(folder / "copy")
    async with ServerProcess(copy.folder) as server:
        await server.start()
        recorded = await recorded_by(server)
        await server.stop()
    found = await asyncio.to_thread(inspect_files, copy.database, copy.key, folder / "look")
    if len(recorded.rows) != expected:
        found.append(f"{expected} rows can be recovered, and it has {len(recorded.rows)}")
    return found


async def _copied_over(plan: Plan, name: str, folder: Path, *, earlier: bool = False) -> list[str]:
    _, mode, _ = name.split("/")
    found: list[str] = []
    async with ServerProcess(folder, "--durability", mode, *RARELY) as server:
        await server.start()
        await _publish(server, 1, 20)
        await _snapshot(server)
        other = folder / "other"
        if earlier:
            await asyncio.to_thread(shutil.copyfile, server.database, other)
            await _publish(server, 21, 25)
            await _snapshot(server)
        else:
            await asyncio.to_thread(shutil.copyfile, await _foreign(folder / "foreign"), other)
        own = await asyncio.to_thread(server.database.read_bytes)
        await _publish(server, 26, 30)
        await asyncio.to_thread(shutil.copyfile, other, server.database)
        if await _snapshot(server) == httpx.codes.OK:
            found.append("a snapshot succeeded into a file that is not ours")
        said = await server.until_ready(ready=False)
        if "file_replaced" not in said:
            found.append(f"/readyz does not say that the file was replaced: {said}")
        if mode == "snapshot" and (durable := (await server.stats())["durable"]):
            found.append(f"seq {durable} counts as durable, and our file is gone")
        if server.database.read_bytes() != other.read_bytes():
            found.append("the other file was written to")
        server.database.write_bytes(own)
        await _snapshot(server)
        await server.until_ready()
        before = await recorded_by(server)
        await server.stop()
        found += await asyncio.to_thread(inspect_files, server.database, server.key, folder / "look")
        await server.start()
        if (await recorded_by(server)).rows != before.rows:
            found.append("what was recorded is not all there after ours was put back")
    return found


async def _second_recorder(plan: Plan, name: str, folder: Path, *, by: str) -> list[str]:
    _, mode, _ = name.split("/")
    if sys.platform != "linux":
        raise NotMade("another name of a file is noticed on Linux only")
    found: list[str] = []
    async with ServerProcess(folder, "--durability", mode, *RARELY) as first:
        await first.start()
        await _publish(first, 1, 20)
        await _snapshot(first)
        path = first.database
        if by == "link":
            path = folder / "data" / "another-name.sqlite"
            os.link(first.database, path)
        else:
            path.with_name(f"{path.name}.lock").unlink()
        async with ServerProcess(folder / "second", "--durability", mode, database=path) as second:
            try:
                await second.start()
                found.append("a second recorder started on the file")
            except ServerDied as error:
                if "in use by another process" not in str(error):
                    found.append(f"it does not say that the file is in use: {error}")
        await _publish(first, 21, 30)
        await _snapshot(first)
        await first.kill()
        await first.start()
        if len((await recorded_by(first)).rows) != 30:
            found.append("not all of the first recorder's deltas are there")
    return found


async def _restored(plan: Plan, name: str, folder: Path, *, how: str) -> list[str]:
    _, mode, _ = name.split("/")
    found: list[str] = []
    async with ServerProcess(folder, "--durability", mode, *RARELY) as server:
        await server.start()
        await _publish(server, 1, 50)
        copy = folder / "copy"
        await asyncio.to_thread(_copy, server, copy, how)
        await _publish(server, 51, 100)
        await _snapshot(server)
        epoch = (await server.stats())["epoch"]
        await server.kill()
        await asyncio.to_thread(shutil.copyfile, copy, server.database)
        await server.start()
        now = (await server.stats())["epoch"]
        if now == epoch:
            found.append("the epoch goes on over a copy that was put back")
        await _publish(server, 101, 160)
        event = await next_of(server, f"{epoch}:100")
        if event["event"] != "reset":
            found.append(f"a position of before is answered with {event['event']} {event.get('seq', '')}")
        await server.stop()
    return found + await asyncio.to_thread(inspect_files, server.database, server.key, folder / "look")


def _copy(server: ServerProcess, to: Path, how: str) -> None:
    """Copy the database by our own command, or as anybody else would."""
    if how == "snapshot":
        command = [sys.executable, "-m", "recorder", "snapshot", "--url", server.url, "--to", str(to)]
        subprocess.run([*command, "--db", str(server.database)], check=True, capture_output=True)
    else:
        httpx.post(f"{server.url}/api/admin/snapshot", headers=JSON, trust_env=False).raise_for_status()
        shutil.copyfile(server.database, to)


async def _forged(plan: Plan, name: str, folder: Path, *, how: str) -> list[str]:
    async with ServerProcess(folder, "--max-deltas", "40", *RARELY) as server:
        await server.start()
        for first in (1, 51):
            await _publish(server, first, first + 49)
            await _post(server, "/api/admin/prune", {})
        await server.stop()
        await asyncio.to_thread(FORGERIES[how], server.database)
        try:
            await server.start()
            await _publish(server, 101, 150)
            await _post(server, "/api/admin/prune", {})
            await server.stop()
        except ServerDied as error:
            return (
                []
                if "changed since it was signed" in server.log
                else [f"it is refused for another reason: {error}"]
            )
    return await asyncio.to_thread(_not_named, server)


def _not_named(server: ServerProcess) -> list[str]:
    """Return what is wrong where the doctor takes what was forged for sound."""
    try:
        report = verify_file(server.database, known_keys(server.key))
    except RecorderError:
        return []
    is_named = any("taken over unverified" in finding.text for finding in report.findings)
    if report.verdict is Verdict.INTACT and not is_named:
        return ["it starts and prunes on what was forged, and the doctor finds nothing"]
    return []


async def _foreign(folder: Path) -> Path:
    """Make another recording, stopped in order; its file."""
    async with ServerProcess(folder) as server:
        await server.start()
        await _publish(server, 1, 500)
        await server.stop()
    return server.database


async def _publish(server: ServerProcess, first: int, last: int) -> None:
    async with server.client() as http:
        answer = await http.post("/api/deltas", content=frame_of(range(first, last + 1)), headers=JSON)
        answer.raise_for_status()


async def _snapshot(server: ServerProcess) -> int:
    """Ask for a snapshot; the status of the answer."""
    async with server.client() as http:
        return (await http.post("/api/admin/snapshot", headers=JSON)).status_code


async def _post(server: ServerProcess, path: str, body: object) -> None:
    async with server.client() as http:
        (await http.post(path, content=orjson.dumps(body), headers=JSON)).raise_for_status()


SITUATIONS: dict[str, Play] = {
    "torn": _torn,
    "copied-over": _copied_over,
    "copied-over-earlier": partial(_copied_over, earlier=True),
    "second-recorder-link": partial(_second_recorder, by="link"),
    "second-recorder-unlocked": partial(_second_recorder, by="name"),
    "restored-snapshot": partial(_restored, how="snapshot"),
    "restored-copy": partial(_restored, how="copy"),
}
"""What is done, by name; beside these there are the forgeries."""
MODES: dict[str, tuple[str, ...]] = {"torn": ("snapshot",)}
"""The modes of those that are not tried in both."""


def _play(case: str) -> Play:
    return SITUATIONS[case] if case in SITUATIONS else partial(_forged, how=case.removeprefix("forged-"))
