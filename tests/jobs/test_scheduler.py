"""When the jobs run, with the real scheduler: at midnight UTC, at the interval, after a failure, at a limit."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from recorder.core.clock import FakeClock
from recorder.core.metrics import Metrics
from recorder.jobs import scheduler as module
from recorder.jobs.retention import DAY_MS, Maintenance, Retention
from recorder.jobs.scheduler import PRUNE_TRIGGER, Scheduler, pause_after
from recorder.store.contract import JobRun
from tests.support.store import DAY, Opened, opened

NEVER = 10**9
"""An interval that does not pass during a test, in milliseconds."""


class Running:
    """A store with its jobs running.

    Args:
        it: The store.
        upkeep: Its upkeep.
        scheduler: Runs the jobs.
    """

    def __init__(self, it: Opened, upkeep: Maintenance, scheduler: Scheduler) -> None:
        self.it = it
        self.store = it.store
        self.upkeep = upkeep
        self.scheduler = scheduler

    async def until_run(self, name: str, outcome: str = "ok", count: int = 1) -> list[JobRun]:
        """Wait until a job has run that often; its runs, latest first."""
        while True:
            runs = [run for run in await self.store.runs.latest(1000, name) if run.outcome == outcome]
            if len(runs) >= count:
                return runs


@asynccontextmanager
async def running(
    path: Path, *, interval_ms: int = NEVER, clock: FakeClock | None = None, **limits: Any
) -> AsyncIterator[Running]:
    clock = clock or FakeClock()
    async with opened(path, clock, busy_seconds=0) as it:
        upkeep = Maintenance(
            it.store, Retention(**limits), clock, Metrics(), it.loaded.meta.get("last_prune_at")
        )
        async with Scheduler.run(upkeep, interval_ms) as scheduler:
            it.store.on_progress(scheduler.on_progress)
            yield Running(it, upkeep, scheduler)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again after next to no pause."""
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)


# At midnight


@pytest.mark.parametrize("offset", [-11, 0, 1, 14])
def test_pruning_is_due_at_midnight_utc_wherever_and_whenever_it_was_started(offset: int) -> None:
    here = timezone(timedelta(hours=offset))
    for hour in range(0, 24, 5):
        now = datetime(2026, 3, 28, hour, 59, 59, tzinfo=UTC).astimezone(here)
        due = PRUNE_TRIGGER.get_next_fire_time(None, now)
        assert due == datetime(2026, 3, 29, tzinfo=UTC)
        assert due.utcoffset() == timedelta(0)
    exactly = datetime(2026, 3, 29, tzinfo=UTC)
    assert PRUNE_TRIGGER.get_next_fire_time(None, exactly) == exactly
    assert PRUNE_TRIGGER.get_next_fire_time(exactly, exactly) == datetime(2026, 3, 30, tzinfo=UTC)


async def test_a_machine_that_slept_over_midnight_prunes_once_when_it_wakes(path: Path) -> None:
    async with running(path) as it:
        job = it.scheduler._scheduler.get_job("prune")
        assert (job.misfire_grace_time, job.coalesce, job.max_instances) == (None, True, 1)


async def test_a_prune_that_was_missed_runs_at_start_and_one_that_was_not_does_not(path: Path) -> None:
    clock = FakeClock()
    async with running(path, clock=clock, days=30) as it:
        await it.it.record(10)
        await it.upkeep.prune()
    async with running(path, clock=clock, days=30) as it:
        # The first thing that is looked at: when a snapshot has come round, it has been.
        await it.it.record(1)
        it.scheduler._snapshot_due.set()
        await it.until_run("snapshot")
        assert len(await it.until_run("prune")) == 1
    clock.advance(31 * DAY)
    async with running(path, clock=clock, days=30) as it:
        (latest, _) = await it.until_run("prune", count=2)
        assert latest.counts == {"deleted": 11}


# At the interval


async def test_snapshots_come_at_the_interval_when_something_changed(path: Path) -> None:
    async with running(path, interval_ms=10) as it:
        for n in range(1, 4):
            await it.it.record(1)
            await it.until_run("snapshot", count=n)
            assert it.store.durable == n


async def test_a_snapshot_that_failed_is_tried_again_before_its_interval(path: Path, at_once: None) -> None:
    async with running(path) as it:
        await it.it.record(5)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM session_deltas").fetchone()
        it.scheduler._snapshot_due.set()
        await it.until_run("snapshot", "failed", 3)
        assert it.upkeep.snapshot_failures >= 3
        reader.close()
        await it.until_run("snapshot")
        assert it.store.durable == 5
        assert it.upkeep.snapshot_error is None


def test_the_pause_after_a_failure_doubles_up_to_a_bound() -> None:
    assert [pause_after(n) for n in range(1, 6)] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert pause_after(5, longest=10.0) == 10.0
    assert pause_after(100_000) == 3600.0


# At a limit


async def test_passing_the_limit_by_count_prunes(path: Path) -> None:
    async with running(path, days=0, max_deltas=100) as it:
        await it.it.record(500)
        await it.until_run("prune")
        while it.upkeep.over_count():
            await it.store.flush()
        assert it.store.count <= 105


async def test_passing_the_limit_by_bytes_prunes(path: Path) -> None:
    async with running(path, days=0, max_bytes=1_000_000) as it:
        for _ in range(30):
            await it.it.record(50, after=f'"{"x" * 2000}"')
            while it.upkeep.limits_due():
                await it.store.states.count()
        await it.until_run("prune", count=2)
        assert it.store.count < 1500


async def test_a_limit_that_was_lowered_counts_from_the_start(path: Path) -> None:
    clock = FakeClock()
    async with running(path, clock=clock) as it:
        await it.it.record(100)
        await it.upkeep.prune()
    async with running(path, clock=clock, days=0, max_deltas=10) as it:
        assert not it.upkeep.missed()
        await it.until_run("prune", count=2)
        assert it.store.count == 10


async def test_pruning_at_a_limit_that_fails_is_tried_again_at_its_times_not_with_each_delta(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 3000.0)
    async with running(path, days=0, max_deltas=10) as it:
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM session_deltas").fetchone()
        await it.it.record(100)
        await it.until_run("prune", "failed")
        for _ in range(20):
            await it.it.record(10)
        assert len(await it.until_run("prune", "failed")) == 1
        reader.close()
        await it.scheduler._ask_prune()
        await it.until_run("prune")
        assert it.store.count == 10
        await it.it.record(100)
        await it.until_run("prune", count=2)


async def test_an_error_that_nobody_foresaw_does_not_end_the_watch(path: Path, at_once: None) -> None:
    async with running(path, days=0, max_bytes=200_000) as it:
        used, calls = it.store.used_bytes, []

        async def fail_once() -> int:
            calls.append(1)
            if len(calls) == 1:
                raise ZeroDivisionError("by accident")
            return await used()

        it.store.used_bytes = fail_once  # type: ignore[method-assign]
        for _ in range(20):
            await it.it.record(20, after=f'"{"x" * 2000}"')
        await it.until_run("prune")
        assert len(calls) > 1


# At the end


async def test_leaving_ends_every_job_and_closing_still_saves_everything(path: Path) -> None:
    async with running(path, interval_ms=1) as it:
        for _ in range(20):
            await it.it.record(300)
    async with opened(path) as again:
        assert (again.loaded.head, again.loaded.epoch) == (6000, it.it.loaded.epoch)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not {name for name in names if name.startswith("jobs-")}


async def test_stopping_in_the_middle_of_a_job_is_quiet(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(path) as it:
        await it.it.record(5000)
        it.scheduler._snapshot_due.set()
        await it.scheduler._ask_prune()
        for _ in range(5):
            await asyncio.sleep(0)
    assert [record for record in caplog.records if record.name.startswith("apscheduler")] == []
    async with opened(path) as again:
        assert again.loaded.head == 5000


def test_a_day_is_a_day() -> None:
    assert DAY_MS == DAY * 1000
