"""Clock jumps: the machine's time is set back and forth, by milliseconds and by years, while a recorder records.

Each case is a recorder inside this process with a clock that the campaign sets, opened several times on one file, with
publishes, snapshots and stops between the jumps. Whatever the clock said: the order is that of acceptance without a gap,
times of recording never go back, a position of before is resumed from, and the doctor finds nothing.

In further cases the scheduler runs as it does for everybody, and only the time of day is set: snapshots go on at their
interval, and a start with the clock ten years ahead prunes nothing, nor does a clock that is set ahead later.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import orjson

from recorder.app import Recorder, open_recorder
from recorder.config.settings import Settings, load_settings
from recorder.core.clock import FakeClock, SystemClock
from recorder.core.errors import ClockDoubtful
from recorder.crashtest.inspect import inspect_files
from recorder.crashtest.plan import Plan
from recorder.crashtest.runner import Runner
from recorder.crashtest.server_process import until
from recorder.engine.answers import Accepted
from recorder.store.contract import Query

TIMES = 25
"""How many recordings there are in each durability mode; of a quick campaign two."""
STARTS, STEPS = 4, 20
JUMPS_MS = (0, 1, -1, 999, -1000, 86_400_000, -86_400_000, 31_536_000_000, -31_536_000_000)
"""By how much the clock is set, in milliseconds: nothing, a tick, a second, a day, a year; back and forth."""
STEPS_MS = (-30_000, 30_000, -86_400_000, 3_600_000)
"""By how much the clock is set under a scheduler that runs."""
TEN_YEARS_MS = 10 * 365 * 86_400_000
SNAPSHOT_MS = 200

Play = Callable[[Plan, str, Path], Awaitable[list[str]]]


class SteppedClock(SystemClock):
    """The machine's clock, with the time of day set to another one."""

    def __init__(self) -> None:
        self._offset_ms = 0  # by how much it is set

    def now_ms(self) -> int:
        """Return the milliseconds since the Unix epoch that it shows."""
        return super().now_ms() + self._offset_ms

    def step(self, milliseconds: int) -> None:
        """Set it forward, or back."""
        self._offset_ms += milliseconds


async def run(runner: Runner) -> None:
    """Run each durability mode several times."""
    times = 2 if runner.plan.quick else TIMES
    modes = ("snapshot", "commit")
    cases: dict[str, Play] = {f"clock/{mode}/{number}": _case for mode in modes for number in range(times)}
    for mode in modes:
        cases |= {f"clock/{mode}/scheduler": _scheduled, f"clock/{mode}/ahead": _ahead}
    await runner.all([(name, partial(_judged, runner, name, case)) for name, case in cases.items()])


async def _judged(runner: Runner, name: str, case: Play, folder: Path) -> None:
    found = await case(runner.plan, name, folder)
    jumps = STARTS * STEPS if case is _case else len(STEPS_MS) if case is _scheduled else 2
    runner.part.count(name.split("/")[1], times=1, jumps=jumps)
    runner.judge(name, found, folder)


async def _scheduled(plan: Plan, name: str, folder: Path) -> list[str]:
    """Set the clock while snapshots are due at their interval."""
    clock = SteppedClock()
    found: list[str] = []
    steps = list(STEPS_MS)
    plan.rng(name).shuffle(steps)
    async with open_recorder(_settings(name, folder, retention_days=30), clock=clock) as recorder:
        for step in steps:
            clock.step(step)
            seq = (await _put(recorder, 20)).seq
            try:
                await _until_on_file(recorder, seq)
            except TimeoutError:
                found.append(f"no snapshot at its interval, after the clock was set by {step} ms")
            if recorder.recording.oldest != 1:
                found.append(f"the clock was set by {step} ms, and deltas of a minute ago are pruned")
    return found + await _inspected(folder)


async def _ahead(plan: Plan, name: str, folder: Path) -> list[str]:
    """Set the clock ten years ahead, before a start and while it runs; keep what is a minute old."""
    clock = SteppedClock()
    found: list[str] = []
    settings = _settings(name, folder, retention_days=30)
    async with open_recorder(settings, clock=clock) as recorder:
        await _put(recorder, 20)
    clock.step(TEN_YEARS_MS)
    async with open_recorder(settings, clock=clock) as recorder:
        await _until_on_file(recorder, (await _put(recorder, 20)).seq)
        await _pruned_or_refused(recorder)
        found += _kept(recorder, "at a start")
    clock.step(-TEN_YEARS_MS)
    async with open_recorder(settings, clock=clock) as recorder:
        clock.step(TEN_YEARS_MS)
        await _until_on_file(recorder, (await _put(recorder, 20)).seq)
        await _pruned_or_refused(recorder)
        found += _kept(recorder, "while it ran")
    return found + await _inspected(folder)


def _kept(recorder: Recorder, when: str) -> list[str]:
    oldest = recorder.recording.oldest
    return [] if oldest == 1 else [f"the clock was ten years ahead {when}, and all up to {oldest} is pruned"]


async def _pruned_or_refused(recorder: Recorder) -> None:
    """Prune as the scheduler does at midnight; who does not believe the clock refuses."""
    try:
        await recorder.maintenance.prune()
    except ClockDoubtful:
        return


async def _put(recorder: Recorder, count: int) -> Accepted:
    deltas = [{"type": "updated", "sessionId": f"s{n % 5}", "after": {"n": n}} for n in range(count)]
    return await recorder.publish(orjson.dumps(deltas))


async def _until_on_file(recorder: Recorder, seq: int) -> None:
    """Until a snapshot has brought it to the file. Raises TimeoutError."""

    async def is_so() -> bool:
        return recorder.recording.on_file >= seq

    await until("a snapshot", is_so)


def _settings(name: str, folder: Path, *, retention_days: int) -> Settings:
    return load_settings(
        persist=True,
        db_path=folder / "data" / "sessions.sqlite",
        key_file=folder / "signing.key",
        durability=name.split("/")[1],
        snapshot_interval=SNAPSHOT_MS if retention_days else 60_000,
        retention_days=retention_days,
    )


async def _inspected(folder: Path) -> list[str]:
    database, key = folder / "data" / "sessions.sqlite", folder / "signing.key"
    return await asyncio.to_thread(inspect_files, database, key, folder / "look")


async def _case(plan: Plan, name: str, folder: Path) -> list[str]:
    rng, clock = plan.rng(name), FakeClock()
    # A jump of a year would rightly prune what is older than that.
    settings = _settings(name, folder, retention_days=0)
    found: list[str] = []
    head, position = 0, ""
    for _ in range(STARTS):
        async with open_recorder(settings, clock=clock) as recorder:
            if position:
                found += await _resumed(recorder, position)
            head, position = await _jump(recorder, clock, rng, head)
            found += await _judge_order(recorder, head)
    return found + await _inspected(folder)


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
        after, done = piece.last_seq, piece.done
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
