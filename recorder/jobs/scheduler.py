"""When the jobs run: snapshots at their interval, pruning daily at 00:00 UTC and when a limit is passed.

APScheduler runs them; nothing here decides what they do. A snapshot that failed is tried again sooner than the interval,
after a pause that doubles.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from loguru import logger

from recorder.errors import RecorderError
from recorder.jobs.maintenance import Maintenance

PRUNE_TRIGGER = CronTrigger(hour=0, minute=0, second=0, timezone=UTC)
RETRY_SECONDS = 1.0
CHECK_EVERY = 2000
"""The size of the database is looked at after this many new entries."""


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
        self._checked_at = 0  # the seq at which the size was looked at last

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

    def on_progress(self, recorded: int) -> None:
        """The store calls this when more is recorded."""
        if self._maintenance.over_count():
            self._limits_due.set()
        elif self._maintenance.retention.max_bytes is not None and recorded - self._checked_at >= CHECK_EVERY:
            self._checked_at = recorded
            self._limits_due.set()

    def _start(self) -> None:
        self._scheduler.add_job(
            self._snapshot, IntervalTrigger(seconds=self._interval, timezone=UTC), id="snapshot"
        )
        self._scheduler.add_job(self._prune, PRUNE_TRIGGER, id="prune")
        self._scheduler.start()
        if self._maintenance.missed():
            self._scheduler.add_job(self._prune, id="prune-missed")

    async def _snapshot(self) -> None:
        try:
            await self._maintenance.snapshot()
        except RecorderError:
            # Counted, logged and noted where it was met; /readyz is red until one succeeds.
            pause = min(RETRY_SECONDS * 2 ** (self._maintenance.snapshot_failures - 1), self._interval)
            self._scheduler.add_job(
                self._snapshot,
                "date",
                run_date=datetime.now(UTC) + timedelta(seconds=pause),
                id="snapshot-retry",
                replace_existing=True,
            )

    async def _prune(self) -> None:
        try:
            await self._maintenance.prune()
        except RecorderError as error:
            logger.bind(error=str(error)).warning("pruning is tried again at its next time")

    async def _watch_limits(self) -> None:
        while True:
            await self._limits_due.wait()
            self._limits_due.clear()
            if self._maintenance.over_count() or await self._maintenance.over_bytes():
                await self._prune()
