"""The watchdog: finds snapshots that are overdue, recording that makes no progress, and a prune that never ran.

Failures report themselves; absence has to be looked for. Every look is on the monotonic clock, so that no setting of
the wall clock hides anything. `overdue` says what is missing, and makes /readyz red.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from recorder.core.clock import Clock
from recorder.engine.periodic import periodically

LOOK_SECONDS = 1.0
"""How often it looks."""
INTERVALS = 3
"""How many snapshot intervals the file may be behind."""
LEAST_LAG_SECONDS = 5.0
"""The same for short intervals: a snapshot on a slow disk takes its time."""
STALL_SECONDS = 10.0
"""How long records may wait without a single one being recorded."""
PRUNE_SECONDS = 26 * 3600.0
"""How long ago the last prune may be: it runs daily."""


class WatchedStore(Protocol):
    """The part of a store that the watchdog reads."""

    @property
    def recorded(self) -> int:
        """The highest seq recorded in memory."""
        ...

    @property
    def on_file(self) -> int:
        """The highest seq in the database file."""
        ...

    @property
    def waiting(self) -> int:
        """Records accepted and not recorded."""
        ...


class WatchedUpkeep(Protocol):
    """The part of the maintenance that the watchdog reads."""

    @property
    def pruned_at(self) -> float:
        """The time at which the last prune succeeded, or upkeep began; monotonic seconds."""
        ...


class Watchdog:
    """A periodic check that recording makes progress, created by `run`.

    Args:
        store: What is watched.
        upkeep: Its upkeep.
        clock: Tells intervals.
        interval_ms: Time between snapshots.
        tasks: Must run as long as the recorder does.
    """

    def __init__(
        self,
        store: WatchedStore,
        upkeep: WatchedUpkeep,
        clock: Clock,
        interval_ms: int,
        tasks: Sequence[asyncio.Task[None]],
    ) -> None:
        self._store = store
        self._upkeep = upkeep
        self._clock = clock
        self._tasks = list(tasks)
        self._most_lag = max(INTERVALS * interval_ms / 1000, LEAST_LAG_SECONDS)
        now = clock.monotonic()
        self._due = (store.recorded, now)  # the file is to have this seq, which was recorded by this time
        self._moved = (
            store.recorded,
            now,
        )  # the highest seq recorded, and when it last moved, or nothing waited

    @classmethod
    @asynccontextmanager
    async def run(
        cls,
        store: WatchedStore,
        upkeep: WatchedUpkeep,
        clock: Clock,
        interval_ms: int,
        tasks: Sequence[asyncio.Task[None]],
    ) -> AsyncIterator[Watchdog]:
        """Watch until the block is left."""
        dog = cls(store, upkeep, clock, interval_ms, tasks)
        async with periodically("jobs-watchdog", dog.look, LOOK_SECONDS) as task:
            dog._tasks.append(task)
            yield dog

    @property
    def lag_seconds(self) -> float:
        """The time for which the file has been behind the recording, in seconds; 0 if it is up to date."""
        self.look()
        return 0.0 if self._store.on_file >= self._due[0] else self._clock.monotonic() - self._due[1]

    def overdue(self) -> str | None:
        """Return what has not happened though it was due, in words; None where all is well."""
        self.look()
        now = self._clock.monotonic()
        for task in self._tasks:
            if task.done():
                return f"the task {task.get_name()} has ended"
        if self._store.on_file < self._due[0] and now - self._due[1] > self._most_lag:
            return (
                f"no snapshot has saved seq {self._due[0]} for {now - self._due[1]:.0f} s:"
                f" the file ends at {self._store.on_file}"
            )
        if self._store.waiting and now - self._moved[1] > STALL_SECONDS:
            return (
                f"recording stands still: {self._store.waiting} deltas wait for {now - self._moved[1]:.0f} s"
            )
        if now - self._upkeep.pruned_at > PRUNE_SECONDS:
            return f"no prune has succeeded for {(now - self._upkeep.pruned_at) / 3600:.0f} hours"
        return None

    def look(self) -> None:
        """Check what has progressed since the last call."""
        now, recorded = self._clock.monotonic(), self._store.recorded
        if self._store.on_file >= self._due[0]:
            self._due = (recorded, now)
        if not self._store.waiting or recorded != self._moved[0]:
            self._moved = (recorded, now)
