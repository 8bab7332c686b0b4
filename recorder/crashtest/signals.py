"""Signals at bad moments: SIGTERM in the middle of a snapshot, a second one, and a kill while the recording is loaded or
migrated.

An orderly stop ends with code 0 and everything in the file, whatever was under way, and leaves no journal behind. A kill
while a file is only read, or brought to today's schema, costs nothing: the next start has every entry.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from recorder.core.clock import SystemClock
from recorder.crashtest.clients import post_once, recorded_by
from recorder.crashtest.inspect import inspect_files
from recorder.crashtest.ledger import Ledger, Recorded
from recorder.crashtest.plan import Plan
from recorder.crashtest.runner import Runner
from recorder.crashtest.server_process import PAUSE, ServerProcess
from recorder.store.sqlite import schema
from recorder.store.sqlite.connection import connect_file
from recorder.store.sqlite.migrations import migrate

ENTRIES = 4000
"""Enough for a snapshot and a start to take a while."""
LONGEST = 2.0
"""Seconds into a start within which it is killed."""


Play = Callable[[Plan, str, Path], Awaitable[list[str]]]


async def run(runner: Runner) -> None:
    """Run each case several times."""
    times = 1 if runner.plan.quick else 4
    cases: dict[str, Play] = {
        "term": _term,
        "term-twice": partial(_term, times=2),
        "loading": _loading,
        "migrating": _migrating,
    }
    names = [f"signals/{case}/{number}" for number in range(times) for case in cases]
    work = {name: cases[name.split("/")[1]] for name in names}
    await runner.all([(name, partial(_judged, runner, name, work[name])) for name in names])


async def _judged(runner: Runner, name: str, case: Play, folder: Path) -> None:
    found = await case(runner.plan, name, folder)
    runner.part.count(name.split("/")[1], times=1)
    runner.judge(name, found, folder)


async def _filled(server: ServerProcess) -> Ledger:
    """Start a recorder and publish entries that are not in its file yet."""
    ledger = Ledger(commit=False, window=0.0)
    await server.start()
    ledger.begin({"epoch": (await server.stats())["epoch"], "durable": 0})
    async with server.client() as http:
        await post_once(http, ledger, ledger.take(ENTRIES))
    return ledger


async def _term(plan: Plan, name: str, folder: Path, *, times: int = 1) -> list[str]:
    rng = plan.rng(name)
    async with ServerProcess(folder) as server:
        ledger = await _filled(server)
        saving = asyncio.create_task(server.save(), name="crashtest-save")
        await asyncio.sleep(rng.uniform(0.0, 0.1))
        for _ in range(times):
            server.signal(signal.SIGTERM)
            await asyncio.sleep(PAUSE)
        code = await server.wait()
        await saving
        found = [f"it stopped with {code}"] if code else []
        if server.database.with_name(f"{server.database.name}-journal").exists():
            found.append("it left a journal behind")
        return found + await _compared(server, ledger)


async def _loading(plan: Plan, name: str, folder: Path) -> list[str]:
    async with ServerProcess(folder) as server:
        ledger = await _filled(server)
        await server.stop()
        return await _killed_in_start(plan, name, server, ledger)


async def _migrating(plan: Plan, name: str, folder: Path) -> list[str]:
    async with ServerProcess(folder) as server:
        ledger = await _filled(server)
        await server.stop()
        await asyncio.to_thread(_back, server.database)
        return await _killed_in_start(plan, name, server, ledger)


def _back(database: Path) -> None:
    """Migrate a file that nobody has open to the oldest schema."""
    with closing(connect_file(database)) as conn:
        migrate(conn, database, schema.OLDEST_VERSION, SystemClock().now_ms())


async def _killed_in_start(plan: Plan, name: str, server: ServerProcess, ledger: Ledger) -> list[str]:
    await server.start(ready=False)
    await asyncio.sleep(plan.rng(name).uniform(0.0, LONGEST))
    await server.kill()
    return await _compared(server, ledger)


async def _compared(server: ServerProcess, ledger: Ledger) -> list[str]:
    """Restart the recorder and return what is missing or wrong."""
    found = await asyncio.to_thread(inspect_files, server.database, server.key, server.folder / "look")
    await server.start()
    recorded = await recorded_by(server)
    # Which epoch it goes on in is not the question: what was killed may have begun one.
    asked = Recorded("", recorded.oldest, recorded.head, recorded.rows)
    ledger.durable = ledger.head
    return [*found, *ledger.wrong, *ledger.audit(asked, server.killed_at).wrong]
