"""When the jobs run: snapshots at their interval, pruning daily at 00:00 UTC and when a limit is passed.

APScheduler runs them; nothing here decides what they do. What failed is tried again after a pause that doubles, a
snapshot after its interval at the latest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from recorder.jobs.maintenance import Maintenance

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
        self._limits_due = asyncio.Event()  # set when a limit may have been passed
        self._prune_failures = 0  # in a row

    @classmethod
    @asynccontextmanager
    async def run(cls, maintenance: Maintenance, snapshot_interval_ms: int) -> AsyncIterator[Scheduler]:
        """Run the jobs until the block is left; a job under way is waited for by whoever closes the store."""
        scheduler = cls(maintenance, snapshot_interval_ms)
        scheduler._start()
        watch = asyncio.create_task(scheduler._watch_limits(), name="jobs-limits")
        try:
            yield scheduler
        finally:
            scheduler._scheduler.shutdown(wait=False)
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    def on_progress(self) -> None:
        """The store calls this when more is recorded."""
        if self._maintenance.limits_due():
            self._limits_due.set()

    def _start(self) -> None:
        self._scheduler.add_job(
            self._snapshot, IntervalTrigger(seconds=self._interval, timezone=UTC), id="snapshot"
        )
        # However late: a laptop that sleeps at midnight prunes when it wakes.
        self._scheduler.add_job(self._prune, PRUNE_TRIGGER, id="prune", misfire_grace_time=None)
        self._scheduler.start()
        if self._maintenance.missed():
            self._scheduler.add_job(self._prune, id="prune-missed")
        else:
            # The limits may be lower than they were.
            self._limits_due.set()

    async def _snapshot(self) -> None:
        try:
            await self._maintenance.snapshot()
        except Exception:
            # The boundary of a job: counted, logged and noted where it was met; /readyz is red until one succeeds.
            self._again(self._snapshot, pause_after(self._maintenance.snapshot_failures, self._interval))

    async def _prune(self) -> None:
        await self._pruned(always=True)

    async def _pruned(self, *, always: bool) -> None:
        """Prune; unless `always`, only where a limit is clearly passed."""
        upkeep = self._maintenance
        try:
            if always or upkeep.over_count() or await upkeep.over_bytes():
                await upkeep.prune()
        except Exception:
            # As above. Tomorrow would be late: a full disk needs it most.
            self._prune_failures += 1
            self._again(self._prune, pause_after(self._prune_failures))
        else:
            self._prune_failures = 0

    def _again(self, job: Callable[[], Awaitable[object]], pause: float) -> None:
        at = datetime.now(UTC) + timedelta(seconds=pause)
        name = f"{job.__name__.strip('_')}-again"
        self._scheduler.add_job(job, "date", run_date=at, id=name, replace_existing=True)

    async def _watch_limits(self) -> None:
        while True:
            await self._limits_due.wait()
            self._limits_due.clear()
            # While pruning fails it is tried again at its times, not with each delta that comes.
            if self._prune_failures == 0:
                await self._pruned(always=False)
