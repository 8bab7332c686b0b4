"""A disk that is full, a directory that is read-only, a file that is deleted or replaced: `test` says what must hold.

Full is made two ways, as far as the machine allows: a limit on the size of files (as a quota would be), and a small
file system of its own that is filled up. Root may write to a read-only directory: its recorder is run without that
privilege.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from recorder.crashtest.outage import Outage, OutageTest, open_outage_test, run_outage
from recorder.crashtest.runner import Runner

FILE_LIMIT = 64 << 10
"""Bytes that a file may have while the limit holds: the database has more by then, and the log on stderr fewer."""
SMALL_DISK = "24m"

Make = Callable[[OutageTest], Outage]


class Unsupported(Exception):
    """Something cannot be tried on this machine."""


async def run(runner: Runner) -> None:
    """Run each kind of outage in each mode."""
    cases = [
        *("limit", "limit-killed", "full", "full-killed", "read-only", "read-only-killed"),
        *("deleted", "replaced-put-back", "replaced-moved-away", "log-deleted"),
    ]
    names = [f"disk/{mode}/{case}" for case in cases for mode in ("snapshot", "commit")]
    names.remove("disk/snapshot/log-deleted")
    await runner.all([(name, partial(_run, runner, name)) for name in runner.plan.sample("disk", names, 3)])


async def _run(runner: Runner, name: str, folder: Path) -> None:
    _, mode, case = name.split("/")
    kind, lethal = case.removesuffix("-killed"), case.endswith("-killed")
    play = {"full": _full, "read-only": _read_only}.get(kind, partial(_plain, MAKE.get(kind, _limit)))
    try:
        found = await play(folder, mode, lethal)
    except Unsupported as reason:
        runner.part.skip(name, str(reason))
        return
    runner.part.count(mode, outages=1)
    runner.judge(name, found, folder)


async def _plain(
    make: Callable[[OutageTest, bool], Outage], folder: Path, mode: str, lethal: bool
) -> list[str]:
    async with open_outage_test(folder, mode) as test:
        return await run_outage(test, make(test, lethal))


def _limit(test: OutageTest, lethal: bool) -> Outage:
    def limit(size: int) -> None:
        if test.server.runs:
            resource.prlimit(test.server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return Outage(
        _in_thread(partial(limit, FILE_LIMIT)),
        _in_thread(partial(limit, resource.RLIM_INFINITY)),
        refuses=True,
        lethal=lethal,
    )


def _deleted(test: OutageTest, lethal: bool) -> Outage:
    return Outage(
        _in_thread(test.server.database.unlink), _in_thread(lambda: None), reddens=False, lethal=lethal
    )


def _log_deleted(test: OutageTest, lethal: bool) -> Outage:
    def delete() -> None:
        for segment in test.server.database.parent.glob("*.commits.*"):
            segment.unlink()

    return Outage(_in_thread(delete), _in_thread(lambda: None), reddens=False, lethal=lethal)


def _replaced(test: OutageTest, lethal: bool, *, put_back: bool) -> Outage:
    database = test.server.database
    own, other = database.with_name("own"), database.with_name("other")

    def replace() -> None:
        with closing(sqlite3.connect(other)) as conn:
            conn.execute("CREATE TABLE somebody_elses(x)")
        database.rename(own)
        shutil.copy2(other, database)

    def undo() -> None:
        if database.read_bytes() != other.read_bytes():
            raise AssertionError("somebody else's file was written to")
        if put_back:
            own.rename(database)
        else:
            database.unlink()

    return Outage(_in_thread(replace), _in_thread(undo), lethal=lethal)


MAKE: dict[str, Callable[[OutageTest, bool], Outage]] = {
    "limit": _limit,
    "deleted": _deleted,
    "log-deleted": _log_deleted,
    "replaced-put-back": partial(_replaced, put_back=True),
    "replaced-moved-away": partial(_replaced, put_back=False),
}


async def _full(folder: Path, mode: str, lethal: bool) -> list[str]:
    small = folder / "small"
    small.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        raise Unsupported("a small file system can be mounted by root only")
    await _command(
        "mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=0700", "recorder-crashtest", str(small)
    )
    filler = small / ".filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    try:
        async with open_outage_test(folder, mode, database=small / "sessions.sqlite") as test:
            return await run_outage(
                test, Outage(_in_thread(fill), _in_thread(filler.unlink), refuses=True, lethal=lethal)
            )
    finally:
        await _command("umount", "--lazy", str(small))


async def _read_only(folder: Path, mode: str, lethal: bool) -> list[str]:
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            raise Unsupported("root may write to a read-only directory, and there is no setpriv")
        prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
        await _command(*prefix, "true")
    async with open_outage_test(folder, mode, prefix=prefix) as test:
        directory = test.server.database.parent
        outage = Outage(
            _in_thread(partial(directory.chmod, 0o500)),
            _in_thread(partial(directory.chmod, 0o700)),
            lethal=lethal,
        )
        return await run_outage(test, outage)


async def _command(*words: str) -> None:
    """Run a command. Raises Unsupported where it fails."""
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unsupported(f"{words[0]}: {done.stderr.strip()}")


def _in_thread(work: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def act() -> None:
        await asyncio.to_thread(work)

    return act
