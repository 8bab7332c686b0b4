"""The schedule of the jobs: snapshots at their interval, pruning daily at 00:00 UTC and when a limit is passed.

Intervals and pauses are on the event loop's monotonic clock, so that setting the wall clock back does not postpone a
snapshot. What has a time of day is APScheduler's, and is worked out anew when the clock was set. Two tasks of ours run
the jobs, one each, so that stopping ends them here and nowhere else. Nothing here decides what they do. What failed is
tried again after a pause that doubles, a snapshot after its interval at the latest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from recorder.jobs.retention import Maintenance

PRUNE_TRIGGER = CronTrigger(hour=0, minute=0, second=0, timezone=UTC)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 3600.0
"""Seconds between a failure and the next try: doubled from the one up to the other."""


def pause_after(failures: int, longest: float = LONGEST_PAUSE) -> float:
    """Return the seconds until the next try.

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
        self._snapshot_due = asyncio.Event()  # set when a snapshot is asked for before its time
        self._prune_due = asyncio.Event()  # set when it is time to prune, or a limit may have been passed
        self._prune_anyway = False  # whether pruning is due whatever the limits say
        self._prune_failures = 0  # in a row
        self.tasks: list[asyncio.Task[None]] = []  # that run as long as this does

    @classmethod
    @asynccontextmanager
    async def run(cls, maintenance: Maintenance, snapshot_interval_ms: int) -> AsyncIterator[Scheduler]:
        """Run the jobs until the block is left; one that is under way is cancelled and waited for."""
        scheduler = cls(maintenance, snapshot_interval_ms)
        scheduler._start()
        scheduler.tasks = [
            asyncio.create_task(scheduler._run_snapshots(), name="jobs-snapshot"),
            asyncio.create_task(scheduler._run_prunes(), name="jobs-prune"),
        ]
        try:
            yield scheduler
        finally:
            scheduler._scheduler.shutdown(wait=False)
            for task in scheduler.tasks:
                task.cancel()
            await asyncio.gather(*scheduler.tasks, return_exceptions=True)

    def on_progress(self) -> None:
        """Prune when a limit may have been passed. The store calls this when more is recorded."""
        # While pruning fails it is tried again at its times, not with each delta that comes.
        if self._prune_failures == 0 and self._maintenance.limits_due():
            self._prune_due.set()

    def on_clock_step(self) -> None:
        """Recompute when the next day begins: the wall clock was set."""
        self._scheduler.reschedule_job("prune", trigger=PRUNE_TRIGGER)
        if self._prune_failures == 0 and self._maintenance.missed():
            self._prune_anyway = True
            self._prune_due.set()

    def _start(self) -> None:
        # However late: a laptop that sleeps at midnight prunes when it wakes.
        self._scheduler.add_job(self._ask_prune, PRUNE_TRIGGER, id="prune", misfire_grace_time=None)
        self._scheduler.start()
        self._prune_anyway = self._maintenance.missed()
        # Even if none was missed: the limits may be lower than they were.
        self._prune_due.set()

    async def _ask_prune(self) -> None:
        # A coroutine only because APScheduler would run a plain function in a thread.
        self._prune_anyway = True
        self._prune_due.set()

    async def _run_snapshots(self) -> None:
        upkeep, loop = self._maintenance, asyncio.get_running_loop()
        at = loop.time() + self._interval
        while True:
            await _wait(self._snapshot_due, at - loop.time())
            self._snapshot_due.clear()
            at = loop.time() + self._interval
            try:
                await upkeep.snapshot()
            except Exception:
                # The boundary of a job: counted, logged and noted where it was met; /readyz is red until one succeeds.
                at = loop.time() + pause_after(upkeep.snapshot_failures, self._interval)

    async def _run_prunes(self) -> None:
        upkeep = self._maintenance
        again: float | None = None  # seconds until the next try after a failure
        is_first = True
        while True:
            if not await _wait(self._prune_due, again):
                self._prune_anyway = True
            self._prune_due.clear()
            anyway, self._prune_anyway = self._prune_anyway, False
            try:
                if anyway or upkeep.over_count() or await upkeep.over_bytes():
                    await upkeep.prune()
                elif is_first:
                    await upkeep.check_clock()
            except Exception:
                # As above. Tomorrow would be late: a full disk needs it most.
                self._prune_failures += 1
                again = pause_after(self._prune_failures)
            else:
                self._prune_failures, again, is_first = 0, None, False


async def _wait(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait until an event is set, at most so long; whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
