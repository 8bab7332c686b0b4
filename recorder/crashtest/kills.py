"""`kill -9` at random moments under load, half of them in each durability mode.

Each lane is a recording that lives through kill after kill: killed, looked at as it lies on disk, started again,
compared with what the clients were told, and put under load again, which sends once more what had no answer. Half
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

from recorder.crashtest.clients import recorded_by, run_clients
from recorder.crashtest.inspect import inspect_files
from recorder.crashtest.ledger import Ledger, Recorded
from recorder.crashtest.runner import Runner
from recorder.crashtest.server_process import ServerProcess

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
    """Return the lanes for a number of kills, alternating between the modes."""
    found = []
    for mode, share in (("snapshot", kills - kills // 2), ("commit", kills // 2)):
        for number, start in enumerate(range(0, share, PER_LANE)):
            found.append(Lane(f"kills/{mode}/{number}", mode, number % 2 == 1, min(PER_LANE, share - start)))
    return sorted(found, key=lambda lane: lane.name.rpartition("/")[2])


async def run(runner: Runner) -> None:
    """Kill and compare, lane by lane."""
    await runner.all([(lane.name, partial(_run, runner, lane)) for lane in lanes(runner.plan.kills)])


async def _run(runner: Runner, lane: Lane, folder: Path) -> None:
    rng = runner.plan.rng(lane.name)
    flags = ["--durability", lane.mode, "--snapshot-interval", str(SNAPSHOT_MS), "--heartbeat-interval", "20"]
    flags += ["--max-deltas", str(KEEP)] if lane.prunes else []
    ledger = Ledger(
        commit=lane.mode == "commit", window=SNAPSHOT_MS / 1000, keep=KEEP if lane.prunes else None
    )
    async with ServerProcess(folder, *flags) as server:
        await server.start()
        for number in range(1, lane.kills + 1):
            recorded, found = await _kill(runner, lane.mode, server, ledger, rng)
            if runner.judge(f"{lane.name}/{number}", found, folder):
                return
            ledger.resume(recorded)
        code = await server.stop()
        if code:
            runner.judge(f"{lane.name}/stop", [f"it stopped with {code}"], folder)


async def _kill(
    runner: Runner, mode: str, server: ServerProcess, ledger: Ledger, rng: random.Random
) -> tuple[Recorded, list[str]]:
    """Kill and restart once; return what is recorded then, and what is wrong."""
    acked, shown = ledger.total_acked, ledger.total_shown
    async with run_clients(server, ledger, rng):
        await asyncio.sleep(_moment(rng))
        await server.kill()
    found = await asyncio.to_thread(inspect_files, server.database, server.key, server.folder / "look")
    begin = time.monotonic()
    await server.start()
    runner.part.most(mode, slowestRestartMs=round((time.monotonic() - begin) * 1000))
    recorded = await recorded_by(server)
    loss = ledger.audit(recorded, server.killed_at)
    acked, shown = ledger.total_acked - acked, ledger.total_shown - shown
    runner.part.count(mode, kills=1, acked=acked, shown=shown, lostAcked=loss.acked, lostShown=loss.shown)
    runner.part.most(mode, oldestLostMs=loss.oldest_ms)
    return recorded, [*found, *ledger.wrong, *loss.wrong]


def _moment(rng: random.Random) -> float:
    """Return a random time of load, in seconds: often short, since much happens at the beginning."""
    return rng.choice((rng.uniform(0.0, 0.1), rng.uniform(0.0, 0.4), rng.uniform(0.2, 1.0)))
