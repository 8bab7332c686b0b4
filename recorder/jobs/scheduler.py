"""When the jobs run: snapshots at their interval, pruning daily at 00:00 UTC and when a limit is passed.

APScheduler tells when; two tasks of ours run them, one each, so that stopping ends them here and nowhere else. Nothing
here decides what they do. What failed is tried again after a pause that doubles, a snapshot after its interval at the
latest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from recorder.jobs.retention import Maintenance

PRUNE_TRIGGER = CronTrigger(hour=0, minute=0, second=0, timezone=UTC)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 3600.0
"""Seconds between a failure and the next try: doubled from the one up to the other."""


def pause_after(failures: int, longest: float = LONGEST_PAUSE) -> float:
    """Seconds until the next try.

    Args:
        failures: How many there were in a row, from 1.
        longest: Not more than this.
    """
    # Failures go on for days on a full disk, and 2.0 ** 1024 is no number any more.
    return min(FIRST_PAUSE * 2.0 ** min(failures - 1, 32), longest)


class Scheduler:
    """Runs a recorder's jobs. Made by `run`.

    Args:
        maintenance: The jobs.
        snapshot_interval_ms: Time between snapshots.
    """

    def __init__(self, maintenance: Maintenance, snapshot_interval_ms: int) -> None:
        self._maintenance = maintenance
        self._interval = snapshot_interval_ms / 1000
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 3600},
        )
        self._snapshot_due = asyncio.Event()  # set when it is time for a snapshot
        self._prune_due = asyncio.Event()  # set when it is time to prune, or a limit may have been passed
        self._prune_anyway = False  # whether pruning is due whatever the limits say
        self._prune_failures = 0  # in a row

    @classmethod
    @asynccontextmanager
    async def run(cls, maintenance: Maintenance, snapshot_interval_ms: int) -> AsyncIterator[Scheduler]:
        """Run the jobs until the block is left; one that is under way is cancelled and waited for."""
        scheduler = cls(maintenance, snapshot_interval_ms)
        scheduler._start()
        tasks = [
            asyncio.create_task(scheduler._run_snapshots(), name="jobs-snapshot"),
            asyncio.create_task(scheduler._run_prunes(), name="jobs-prune"),
        ]
        try:
            yield scheduler
        finally:
            scheduler._scheduler.shutdown(wait=False)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def on_progress(self) -> None:
        """The store calls this when more is recorded."""
        # While pruning fails it is tried again at its times, not with each delta that comes.
        if self._prune_failures == 0 and self._maintenance.limits_due():
            self._prune_due.set()

    def _start(self) -> None:
        self._scheduler.add_job(
            self._ask_snapshot, IntervalTrigger(seconds=self._interval, timezone=UTC), id="snapshot"
        )
        # However late: a laptop that sleeps at midnight prunes when it wakes.
        self._scheduler.add_job(self._ask_prune, PRUNE_TRIGGER, id="prune", misfire_grace_time=None)
        self._scheduler.start()
        self._prune_anyway = self._maintenance.missed()
        # Even if none was missed: the limits may be lower than they were.
        self._prune_due.set()

    # Coroutines only because APScheduler would run plain functions in a thread.

    async def _ask_snapshot(self) -> None:
        self._snapshot_due.set()

    async def _ask_prune(self) -> None:
        self._prune_anyway = True
        self._prune_due.set()

    def _ask_again(self, ask: Callable[[], Awaitable[None]], pause: float, name: str) -> None:
        at = datetime.now(UTC) + timedelta(seconds=pause)
        self._scheduler.add_job(ask, "date", run_date=at, id=name, replace_existing=True)

    async def _run_snapshots(self) -> None:
        upkeep = self._maintenance
        while True:
            await self._snapshot_due.wait()
            self._snapshot_due.clear()
            try:
                await upkeep.snapshot()
            except Exception:
                # The boundary of a job: counted, logged and noted where it was met; /readyz is red until one succeeds.
                pause = pause_after(upkeep.snapshot_failures, self._interval)
                self._ask_again(self._ask_snapshot, pause, "snapshot-again")

    async def _run_prunes(self) -> None:
        upkeep = self._maintenance
        while True:
            await self._prune_due.wait()
            self._prune_due.clear()
            anyway, self._prune_anyway = self._prune_anyway, False
            try:
                if anyway or upkeep.over_count() or await upkeep.over_bytes():
                    await upkeep.prune()
            except Exception:
                # As above. Tomorrow would be late: a full disk needs it most.
                self._prune_failures += 1
                self._ask_again(self._ask_prune, pause_after(self._prune_failures), "prune-again")
            else:
                self._prune_failures = 0
