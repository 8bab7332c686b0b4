"""`kill -9` at random moments under load, half of them in each durability mode.

Each lane is a recording that lives through kill after kill: killed, looked at as it lies on disk, started again,
compared with what the witnesses were told, and put under load again, which sends once more what had no answer. Half
of the lanes are told to keep few deltas, so that prunes are hit, too.

`kill -9` takes the process and not the machine: what the operating system holds survives. That fsync is called, and
heeded when it fails, is for `faults` to show; what a disk does that loses what it said it had, nothing here can.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recorder.crashtest.clients import books_of, witnesses
from recorder.crashtest.inspect import look
from recorder.crashtest.ledger import Books, Ledger
from recorder.crashtest.runner import Bench
from recorder.crashtest.server_process import Victim

PER_LANE = 10
"""Kills of one recording, before a new one begins."""
SNAPSHOT_MS = 150
KEEP = 1500
"""What lanes that prune are told to keep."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A recording and its kills."""

    name: str
    mode: str
    prunes: bool
    kills: int


def lanes(kills: int) -> list[Lane]:
    """The lanes of so many kills; in turn in either mode."""
    found = []
    for mode, share in (("snapshot", kills - kills // 2), ("commit", kills // 2)):
        for number, start in enumerate(range(0, share, PER_LANE)):
            found.append(Lane(f"kills/{mode}/{number}", mode, number % 2 == 1, min(PER_LANE, share - start)))
    return sorted(found, key=lambda lane: lane.name.rpartition("/")[2])


async def run(bench: Bench) -> None:
    """Kill and compare, lane by lane."""
    await bench.all([(lane.name, partial(_run, bench, lane)) for lane in lanes(bench.plan.kills)])


async def _run(bench: Bench, lane: Lane, folder: Path) -> None:
    dice = bench.plan.dice(lane.name)
    flags = ["--durability", lane.mode, "--snapshot-interval", str(SNAPSHOT_MS), "--heartbeat-interval", "20"]
    flags += ["--max-deltas", str(KEEP)] if lane.prunes else []
    ledger = Ledger(
        commit=lane.mode == "commit", window=SNAPSHOT_MS / 1000, keep=KEEP if lane.prunes else None
    )
    async with Victim(folder, *flags) as victim:
        await victim.start()
        for number in range(1, lane.kills + 1):
            books, found = await _kill(bench, lane.mode, victim, ledger, dice)
            if bench.judge(f"{lane.name}/{number}", found, folder):
                return
            ledger.resume(books)
        code = await victim.stop()
        if code:
            bench.judge(f"{lane.name}/stop", [f"it stopped with {code}"], folder)


async def _kill(
    bench: Bench, mode: str, victim: Victim, ledger: Ledger, dice: random.Random
) -> tuple[Books, list[str]]:
    """One kill and the start after it; what is there then, and what is wrong."""
    acked, shown = ledger.total_acked, ledger.total_shown
    async with witnesses(victim, ledger, dice):
        await asyncio.sleep(_moment(dice))
        await victim.kill()
    found = await asyncio.to_thread(look, victim.database, victim.key, victim.folder / "look")
    begin = time.monotonic()
    await victim.start()
    bench.part.most(mode, slowestRestartMs=round((time.monotonic() - begin) * 1000))
    books = await books_of(victim)
    loss = ledger.audit(books, victim.killed_at)
    acked, shown = ledger.total_acked - acked, ledger.total_shown - shown
    bench.part.count(mode, kills=1, acked=acked, shown=shown, lostAcked=loss.acked, lostShown=loss.shown)
    bench.part.most(mode, oldestLostMs=loss.oldest_ms)
    return books, [*found, *ledger.wrong, *loss.wrong]


def _moment(dice: random.Random) -> float:
    """Seconds of load: often short, since much happens at the beginning."""
    return dice.choice((dice.uniform(0.0, 0.1), dice.uniform(0.0, 0.4), dice.uniform(0.2, 1.0)))
