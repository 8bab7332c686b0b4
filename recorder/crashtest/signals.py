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
from recorder.crashtest.clients import books_of, post_once
from recorder.crashtest.inspect import look
from recorder.crashtest.ledger import Books, Ledger
from recorder.crashtest.plan import Plan
from recorder.crashtest.runner import Bench
from recorder.crashtest.server_process import PAUSE, Victim
from recorder.store.sqlite import schema
from recorder.store.sqlite.connection import connect_file
from recorder.store.sqlite.migrations import migrate

ENTRIES = 4000
"""Enough for a snapshot and a start to take a while."""
LONGEST = 2.0
"""Seconds into a start within which it is killed."""


Play = Callable[[Plan, str, Path], Awaitable[list[str]]]


async def run(bench: Bench) -> None:
    """Each case so many times."""
    times = 1 if bench.plan.quick else 4
    cases: dict[str, Play] = {
        "term": _term,
        "term-twice": partial(_term, times=2),
        "loading": _loading,
        "migrating": _migrating,
    }
    names = [f"signals/{case}/{number}" for number in range(times) for case in cases]
    work = {name: cases[name.split("/")[1]] for name in names}
    await bench.all([(name, partial(_judged, bench, name, work[name])) for name in names])


async def _judged(bench: Bench, name: str, case: Play, folder: Path) -> None:
    found = await case(bench.plan, name, folder)
    bench.part.count(name.split("/")[1], times=1)
    bench.judge(name, found, folder)


async def _filled(victim: Victim) -> Ledger:
    """A recorder that runs, with entries that are not in its file yet."""
    ledger = Ledger(commit=False, window=0.0)
    await victim.start()
    ledger.begin({"epoch": (await victim.stats())["epoch"], "durable": 0})
    async with victim.client() as http:
        await post_once(http, ledger, ledger.take(ENTRIES))
    return ledger


async def _term(plan: Plan, name: str, folder: Path, *, times: int = 1) -> list[str]:
    dice = plan.dice(name)
    async with Victim(folder) as victim:
        ledger = await _filled(victim)
        saving = asyncio.create_task(victim.save(), name="torture-save")
        await asyncio.sleep(dice.uniform(0.0, 0.1))
        for _ in range(times):
            victim.signal(signal.SIGTERM)
            await asyncio.sleep(PAUSE)
        code = await victim.wait()
        await saving
        found = [f"it stopped with {code}"] if code else []
        if victim.database.with_name(f"{victim.database.name}-journal").exists():
            found.append("it left a journal behind")
        return found + await _compared(victim, ledger)


async def _loading(plan: Plan, name: str, folder: Path) -> list[str]:
    async with Victim(folder) as victim:
        ledger = await _filled(victim)
        await victim.stop()
        return await _killed_in_start(plan, name, victim, ledger)


async def _migrating(plan: Plan, name: str, folder: Path) -> list[str]:
    async with Victim(folder) as victim:
        ledger = await _filled(victim)
        await victim.stop()
        await asyncio.to_thread(_back, victim.database)
        return await _killed_in_start(plan, name, victim, ledger)


def _back(database: Path) -> None:
    """Give a file that nobody has open the oldest schema."""
    with closing(connect_file(database)) as conn:
        migrate(conn, database, schema.OLDEST_VERSION, SystemClock().now_ms())


async def _killed_in_start(plan: Plan, name: str, victim: Victim, ledger: Ledger) -> list[str]:
    await victim.start(ready=False)
    await asyncio.sleep(plan.dice(name).uniform(0.0, LONGEST))
    await victim.kill()
    return await _compared(victim, ledger)


async def _compared(victim: Victim, ledger: Ledger) -> list[str]:
    """What is missing or wrong, with the recorder started once more."""
    found = await asyncio.to_thread(look, victim.database, victim.key, victim.folder / "look")
    await victim.start()
    books = await books_of(victim)
    # Which epoch it goes on in is not the question: what was killed may have begun one.
    asked = Books("", books.oldest, books.head, books.rows)
    ledger.durable = ledger.head
    return [*found, *ledger.wrong, *ledger.audit(asked, victim.killed_at).wrong]
