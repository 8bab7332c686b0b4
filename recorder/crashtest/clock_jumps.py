"""Clock jumps: the machine's time is set back and forth, by milliseconds and by years, while a recorder records.

Each case is a recorder inside this process with a clock that the campaign sets, opened several times on one file, with
publishes, snapshots and stops between the jumps. Whatever the clock said: the order is that of acceptance without a gap,
times of recording never go back, a position of before is resumed from, and the doctor finds nothing.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from pathlib import Path

import orjson

from recorder.app import Recorder, open_recorder
from recorder.config.settings import load_settings
from recorder.core.clock import FakeClock
from recorder.crashtest.inspect import inspect_files
from recorder.crashtest.plan import Plan
from recorder.crashtest.runner import Runner
from recorder.store.contract import Query

TIMES = 25
"""How many recordings there are in each durability mode; of a quick campaign two."""
STARTS, STEPS = 4, 20
JUMPS_MS = (0, 1, -1, 999, -1000, 86_400_000, -86_400_000, 31_536_000_000, -31_536_000_000)
"""By how much the clock is set, in milliseconds: nothing, a tick, a second, a day, a year; back and forth."""


async def run(runner: Runner) -> None:
    """Run each durability mode several times."""
    times = 2 if runner.plan.quick else TIMES
    names = [f"clock/{mode}/{number}" for mode in ("snapshot", "commit") for number in range(times)]
    await runner.all([(name, partial(_judged, runner, name)) for name in names])


async def _judged(runner: Runner, name: str, folder: Path) -> None:
    found = await _case(runner.plan, name, folder)
    runner.part.count(name.split("/")[1], times=1, jumps=STARTS * STEPS)
    runner.judge(name, found, folder)


async def _case(plan: Plan, name: str, folder: Path) -> list[str]:
    rng, clock = plan.rng(name), FakeClock()
    settings = load_settings(
        persist=True,
        db_path=folder / "data" / "sessions.sqlite",
        key_file=folder / "signing.key",
        durability=name.split("/")[1],
        retention_days=0,  # a jump of a year would rightly prune what is older than that
    )
    found: list[str] = []
    head, position = 0, ""
    for _ in range(STARTS):
        async with open_recorder(settings, clock=clock) as recorder:
            if position:
                found += await _resumed(recorder, position)
            head, position = await _jump(recorder, clock, rng, head)
            found += await _judge_order(recorder, head)
    return [
        *found,
        *await asyncio.to_thread(inspect_files, settings.db_path, folder / "signing.key", folder / "look"),
    ]


async def _jump(recorder: Recorder, clock: FakeClock, rng: random.Random, head: int) -> tuple[int, str]:
    """Publish with the clock set before each time; the head, and a position half way there."""
    middle = head
    for step in range(STEPS):
        clock.set_wall_ms(max(0, clock.now_ms() + rng.choice(JUMPS_MS)))
        deltas = [
            {"type": "updated", "sessionId": f"s{rng.randrange(5)}", "after": {"n": head + n}}
            for n in range(1, rng.randint(2, 30))
        ]
        head = (await recorder.publish(orjson.dumps(deltas))).seq
        if step == STEPS // 2:
            middle = head
        if rng.random() < 0.3:
            await recorder.maintenance.snapshot()
    return head, f"{recorder.hub.epoch}:{middle}"


async def _judge_order(recorder: Recorder, head: int) -> list[str]:
    """Return what is wrong with the order: seqs must have no gap, times must never decrease."""
    entries = []
    after, done = 0, False
    while not done:
        piece = await recorder.recording.read(Query(after=after), 1000)
        entries += [orjson.loads(item) for item in piece.items]
        after, done = piece.through, piece.done
    found = []
    if [entry["seq"] for entry in entries] != list(range(1, head + 1)):
        found.append(f"not everything from 1 to {head} is there once and in order")
    if [entry["delta"]["after"]["n"] for entry in entries] != list(range(1, head + 1)):
        found.append("the order is not that of acceptance")
    times = [entry["recordedAt"] for entry in entries]
    if times != sorted(times):
        found.append("times of recording go back")
    return found


async def _resumed(recorder: Recorder, position: str) -> list[str]:
    """Return what is wrong with resuming from a position of before an orderly stop."""
    expected = int(position.rpartition(":")[2])
    async with recorder.subscribe(since=position) as events:
        async for event in events:
            match event["event"]:
                case "delta" if event["seq"] == expected + 1:
                    expected += 1
                case "live":
                    return (
                        []
                        if event["seq"] == expected
                        else [f"{position}: live at {event['seq']}, not {expected}"]
                    )
                case _:
                    return [f"{position}: got {event['event']} {event.get('seq', event.get('reason'))}"]
    return [f"{position}: the subscription ended"]
