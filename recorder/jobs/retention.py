"""The recorder's upkeep: snapshots and pruning, each run noted, one of a kind at a time.

Pruning removes what is on disk and old enough, so it begins with a snapshot; it ends with one, too, that removes the
same from the file, and with compaction, so that disk space really comes back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from loguru import logger

from recorder.core.clock import Clock
from recorder.core.errors import ClockDoubtful, RecorderError
from recorder.core.metrics import Metrics
from recorder.core.observers import report_failure
from recorder.core.timestamps import format_ms
from recorder.jobs.clock_watch import ClockWatch
from recorder.store.contract import JobLog, JobRun, SnapshotResult

Result = TypeVar("Result")

DAY_MS = 86_400_000
HEADROOM = 0.05
"""How far a limit may be passed before pruning begins, as a fraction: pruning for each single entry would cost more."""


class MaintainedStore(Protocol):
    """The part of a store that maintenance needs."""

    @property
    def runs(self) -> JobLog:
        """The log of job runs."""
        ...

    @property
    def path(self) -> Path:
        """The database file."""
        ...

    @property
    def recorded_bytes(self) -> int:
        """Bytes recorded since the start."""
        ...

    @property
    def is_dirty(self) -> bool:
        """Return whether a snapshot has something to write."""
        ...

    @property
    def on_file(self) -> int:
        """The highest seq in the database file."""
        ...

    @property
    def oldest(self) -> int:
        """The first seq kept."""
        ...

    @property
    def count(self) -> int:
        """The number of entries kept."""
        ...

    async def snapshot(self) -> SnapshotResult:
        """Write everything recorded to the file."""
        ...

    async def first_at(self, time: str) -> int:
        """Return the first seq kept that was recorded at or after a time; one more than the last where there is none."""
        ...

    async def prune(self, through: int, policy: str) -> int:
        """Remove everything up to a seq."""
        ...

    async def compact(self) -> None:
        """Release the file's free space to the file system."""
        ...

    async def used_bytes(self) -> int:
        """Return the bytes of the database in memory."""
        ...

    async def set_metadata(self, **values: str) -> None:
        """Keep small facts."""
        ...


@dataclass(frozen=True, slots=True)
class Retention:
    """The rules for how long deltas are kept.

    Args:
        days: By the time of recording; 0 keeps for ever.
        max_deltas: By count; None for no bound.
        max_bytes: By the size of the database; None for no bound.
    """

    days: int = 30
    max_deltas: int | None = None
    max_bytes: int | None = None


class Maintenance:
    """The maintenance of a recording: snapshots and pruning, one run of a kind at a time.

    Args:
        store: What is kept up.
        retention: What is kept.
        clock, metrics: As everywhere.
        last_prune_at: When the last prune ran, from the database; None if never.
        on_pruned: Called when something was removed from memory.
        clock_watch: Says whether "now" may be believed; None believes it.
    """

    def __init__(
        self,
        store: MaintainedStore,
        retention: Retention,
        clock: Clock,
        metrics: Metrics,
        last_prune_at: str | None = None,
        on_pruned: Callable[[], Awaitable[None]] | None = None,
        clock_watch: ClockWatch | None = None,
    ) -> None:
        self._store = store
        self._retention = retention
        self._clock = clock
        self._metrics = metrics
        self._on_pruned = on_pruned
        self._clock_watch = clock_watch
        self._turn = asyncio.Lock()  # one prune at a time
        self._checked_bytes = 0  # bytes recorded when the size was looked at last
        self.last_prune_at = last_prune_at  # fixed-width form
        self.pruned_at = clock.monotonic()  # when the last prune ended well, or this began
        self.saved_at: float | None = None  # when the last snapshot of this process ended well, monotonic
        self.withheld: str | None = None  # why pruning by age waits, if so
        self.snapshot_failures = 0  # in a row
        self.snapshot_error: str | None = None  # why the last snapshot failed; None when it succeeded

    async def snapshot(self, *, even_if_clean: bool = False) -> SnapshotResult | None:
        """Take a snapshot; None where nothing has changed and none is asked for.

        Raises:
            StoreError: It failed; counted and noted.
        """
        if not (self._store.is_dirty or even_if_clean or self.snapshot_error):
            return None
        return await self._save()

    async def prune_asked(self, older_than: str | None = None, *, trust_clock: bool = False) -> int:
        """Prune because a person asks for it.

        Args:
            older_than: As in `prune`.
            trust_clock: Whether the person says that the clock is right.

        Returns:
            How many entries were removed.

        Raises:
            ClockDoubtful: It would go by a clock that nothing vouches for; nothing was removed.
            StoreError: It failed; noted.
        """
        if trust_clock and self._clock_watch is not None:
            self._clock_watch.trust()
        if older_than is None and (doubt := await self._doubt()) is not None:
            raise ClockDoubtful(doubt, hint="if the clock is right, say so: --trust-clock, or trustClock")
        return await self.prune(older_than)

    async def prune(self, older_than: str | None = None) -> int:
        """Remove what need not be kept. Pruning by age is left out where the clock is in doubt.

        Args:
            older_than: Everything recorded before this time (fixed-width form) goes; None for the settings' policy.

        Returns:
            How many entries were removed.

        Raises:
            StoreError: It failed; noted.
        """
        async with self._turn:
            try:
                removed = await self._noted(
                    "prune", lambda: self._prune(older_than), lambda n: {"deleted": n}
                )
            except Exception:
                self._metrics.prunes["failed"] += 1
                raise
            self._metrics.prunes["ok"] += 1
            self.pruned_at = self._clock.monotonic()
            return removed

    def missed(self) -> bool:
        """Return whether 00:00 UTC has passed since the last prune."""
        if self.last_prune_at is None:
            return self._store.count > 0
        now = self._clock.now_ms()
        midnight = now // DAY_MS * DAY_MS
        # One that ran in the future ran while the clock was wrong: it says nothing about today.
        return not format_ms(midnight) <= self.last_prune_at <= format_ms(now)

    def limits_due(self) -> bool:
        """Return whether a limit may have been exceeded since the size was last read. Cheap."""
        limit = self._retention.max_bytes
        grown = self._store.recorded_bytes - self._checked_bytes
        return self.over_count() or (limit is not None and grown > limit * HEADROOM / 2)

    def over_count(self) -> bool:
        """Return whether the number of entries is clearly above MAX_DELTAS."""
        limit = self._retention.max_deltas
        return limit is not None and self._store.count > limit + max(1, limit * HEADROOM)

    async def over_bytes(self) -> bool:
        """Return whether the size of the database is clearly above MAX_DB_BYTES."""
        limit = self._retention.max_bytes
        self._checked_bytes = self._store.recorded_bytes
        return limit is not None and await self._store.used_bytes() > limit * (1 + HEADROOM)

    async def _save(self) -> SnapshotResult:
        return await self._noted("snapshot", self._write, _snapshot_counts)

    async def _write(self) -> SnapshotResult:
        begin = self._clock.monotonic()
        try:
            result = await self._store.snapshot()
        except Exception as error:
            self.snapshot_failures += 1
            self.snapshot_error = str(error)
            self._metrics.snapshots["failed"] += 1
            raise
        seconds = self._clock.monotonic() - begin
        self.snapshot_failures, self.snapshot_error = 0, None
        self.saved_at = self._clock.monotonic()
        self._metrics.snapshots["ok"] += 1
        self._metrics.snapshot_seconds = seconds
        logger.bind(
            db_path=str(self._store.path), size=result.size, rows=result.rows, seconds=round(seconds, 3)
        ).debug("snapshot saved")
        return result

    async def _prune(self, older_than: str | None) -> int:
        store, limits = self._store, self._retention
        if store.is_dirty:
            await self._save()
        edge, policy, removed = older_than, f"asked: before {older_than}", 0
        if edge is None and limits.days and not await self._withhold():
            edge, policy = self._edge(), f"{limits.days} days"
        if edge is not None:
            removed += await store.prune(await store.first_at(edge) - 1, policy)
        if older_than is None and limits.max_deltas is not None:
            # Counted from what is in the file: else a crash would leave fewer than are to be kept.
            removed += await store.prune(store.on_file - limits.max_deltas, f"{limits.max_deltas} deltas")
        if older_than is None and limits.max_bytes is not None:
            removed += await self._prune_bytes(limits.max_bytes)
        logger.bind(deleted=removed, older_than=edge).info("pruned")
        self._metrics.pruned_deltas += removed
        if removed and self._on_pruned is not None:
            try:
                await self._on_pruned()
            except Exception:
                # It has been pruned, whether or not an observer fails.
                report_failure("pruned", self._metrics)
        self.last_prune_at = format_ms(self._clock.now_ms())
        await store.set_metadata(last_prune_at=self.last_prune_at)
        await self._save()
        if removed:
            await store.compact()
        return removed

    def _edge(self) -> str:
        """Return the time before which everything is older than is kept."""
        return format_ms(self._clock.now_ms() - self._retention.days * DAY_MS)

    async def _doubt(self) -> str | None:
        """Return why pruning by age would trust a clock that nothing vouches for; None where it removes nothing."""
        if self._clock_watch is None or not self._retention.days:
            return None
        doubt = self._clock_watch.doubt()
        if doubt is None or await self._store.first_at(self._edge()) <= self._store.oldest:
            return None
        return doubt

    async def check_clock(self) -> None:
        """Note and log whether pruning by age has to wait, where no prune is due that would find it."""
        if self._retention.days:
            await self._withhold()

    async def _withhold(self) -> bool:
        """Return whether pruning by age has to wait; log it if so."""
        self.withheld, watch = await self._doubt(), self._clock_watch
        since = watch.believed_until if watch is not None and self.withheld is not None else ""
        if watch is not None and (since or watch.doubted_since):
            watch.doubted_since = since
            await self._store.set_metadata(clock_doubt=since)
        if self.withheld is not None:
            logger.bind(reason=self.withheld).warning(
                "pruning by age waits for confirmation: TRUST_CLOCK=on or `recorder prune --trust-clock`"
            )
        return self.withheld is not None

    async def _prune_bytes(self, limit: int) -> int:
        store, removed = self._store, 0
        while store.count and (used := await store.used_bytes()) > limit:
            # Rows differ in size: go there in steps, never below what the average says is needed.
            share = math.ceil(store.count * min(1.0, 1.02 - limit / used))
            gone = await store.prune(store.oldest - 1 + max(share, 1), f"{limit} bytes")
            if not gone:
                break
            removed += gone
        return removed

    async def _noted(
        self, name: str, work: Callable[[], Awaitable[Result]], counts: Callable[[Result], dict[str, int]]
    ) -> Result:
        """Run a job and keep a note of the run, whatever comes of it."""
        started, begin = format_ms(self._clock.now_ms()), self._clock.monotonic()
        try:
            result = await work()
        except Exception as error:
            # The boundary of a job: any error is stored, logged and counted, and raised to the caller.
            reason = str(error) if isinstance(error, RecorderError) else f"{type(error).__name__}: {error}"
            logger.bind(job=name, error=reason).error("job failed")
            await self._store.runs.add(JobRun(name, started, self._ms(begin), "failed", {}, reason))
            raise
        await self._store.runs.add(JobRun(name, started, self._ms(begin), "ok", counts(result)))
        return result

    def _ms(self, begin: float) -> int:
        return round((self._clock.monotonic() - begin) * 1000)


def _snapshot_counts(result: SnapshotResult) -> dict[str, int]:
    return {"rows": result.rows, "head": result.head, "size": result.size}
