"""Recordings to be damaged, made by real recorders: one stopped in order, one killed with entries in its commit log, one
killed in the middle of a snapshot, with a journal that has to be played back.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from recorder.core.clock import SystemClock
from recorder.core.statements import Head, Signed
from recorder.core.timestamps import format_ms
from recorder.crashtest.clients import JSON, until_gone
from recorder.crashtest.server_process import ServerProcess
from recorder.crashtest.workload import frame_of, session_of
from recorder.wire.statements import signed_of

KEEP = 200
ATTEMPTS = 30
"""How often a recorder is killed in a snapshot until it leaves a journal."""
_SYNCED = slice(8, 12)
"""Where a journal says how many pages it holds: nothing as long as it is not needed."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that nobody has open.

    Args:
        name: Of `MAKE`.
        folder: Where it lies, with nothing else.
        database, key: Its file, and the key that it was signed with.
        durability: The mode it was recorded in.
        epoch: Its last one.
        made_at: When it was finished, fixed-width form.
        head: Its signed head, as somebody else has kept it.
    """

    name: str
    folder: Path
    database: Path
    key: Path
    durability: str
    epoch: str
    made_at: str
    head: Signed[Head]

    def copy(self, folder: Path) -> Recording:
        """Copy the recording into a newly created folder."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder)
        database, key = (folder / path.relative_to(self.folder) for path in (self.database, self.key))
        return replace(self, folder=folder, database=database, key=key)


async def make(name: str, folder: Path) -> Recording | None:
    """Make a recording; return None if it could not be made."""
    return await MAKE[name](folder)


async def _stopped(folder: Path) -> Recording:
    """Make a recording that erased, pruned and was stopped in order."""
    async with ServerProcess(folder / "made", "--max-deltas", str(KEEP)) as server:
        await server.start()
        await _publish(server, 1, KEEP)
        await _post(server, "/api/admin/snapshot")
        await _post(server, "/api/admin/erase", {"sessionId": session_of(3), "reason": "for the recording"})
        await _publish(server, KEEP + 1, 2 * KEEP)
        await _post(server, "/api/admin/prune", {})
        head = await _head(server)
        await server.stop()
    return _take("stopped", server, folder, "snapshot", head)


async def _logged(folder: Path) -> Recording:
    """Make a recording with half of its entries in the commit log only."""
    async with ServerProcess(folder / "made", "--durability", "commit") as server:
        await server.start()
        await _publish(server, 1, KEEP)
        await _post(server, "/api/admin/snapshot")
        for first in range(KEEP + 1, 2 * KEEP, 20):
            await _publish(server, first, first + 19)
        head = await _head(server)
        await server.kill()
    return _take("logged", server, folder, "commit", head)


async def _torn(folder: Path) -> Recording | None:
    """Make a recording by a kill during a snapshot, while its journal is needed."""
    async with ServerProcess(folder / "made") as server:
        await server.start()
        await _publish(server, 1, KEEP)
        await _post(server, "/api/admin/snapshot")
        head = await _head(server)
        journal = server.database.with_name(f"{server.database.name}-journal")
        first = KEEP + 1
        for _ in range(ATTEMPTS):
            await _publish(server, first, first + 20 * KEEP)
            first += 20 * KEEP + 1
            saving = asyncio.create_task(
                until_gone(_post(server, "/api/admin/snapshot")), name="crashtest-save"
            )
            caught = await asyncio.to_thread(_wait_for, journal)
            await server.kill()
            await saving
            if caught and _is_hot(journal):
                return _take("torn", server, folder, "snapshot", head)
            await server.start()
    return None


MAKE: dict[str, Callable[[Path], Awaitable[Recording | None]]] = {
    "stopped": _stopped,
    "logged": _logged,
    "torn": _torn,
}


def _take(name: str, server: ServerProcess, folder: Path, mode: str, head: Signed[Head]) -> Recording:
    kept = folder / name
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(server.database.parent, kept / "data")
    for file in server.folder.glob(f"{server.key.name}*"):
        shutil.copy2(file, kept)
    database = kept / "data" / server.database.name
    now = format_ms(SystemClock().now_ms())
    return Recording(name, kept, database, kept / server.key.name, mode, head.payload.epoch, now, head)


async def _publish(server: ServerProcess, first: int, last: int) -> None:
    async with server.client() as http:
        answer = await http.post("/api/deltas", content=frame_of(range(first, last + 1)), headers=JSON)
        answer.raise_for_status()


async def _post(server: ServerProcess, path: str, body: object = None) -> None:
    async with server.client() as http:
        content = b"" if body is None else orjson.dumps(body)
        (await http.post(path, content=content, headers=JSON)).raise_for_status()


async def _head(server: ServerProcess) -> Signed[Head]:
    return signed_of(Head, (await server.get("/api/head")).json())


def _is_hot(journal: Path) -> bool:
    return journal.exists() and any(journal.read_bytes()[_SYNCED])


def _wait_for(journal: Path) -> bool:
    """Wait a few seconds for a journal that is needed; return whether there was one."""
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        try:
            with journal.open("rb") as file:
                if any(file.read(_SYNCED.stop)[_SYNCED]):
                    return True
        except FileNotFoundError:
            continue
    return False
