"""The memory guard: publishes are rejected while the database in memory exceeds its limit.

It is the last defence before the kernel kills the process. With the policy `prune` it backs up pruning, which begins a
little above the limit: it acts only if pruning cannot keep up, or fails because of the disk. With `reject` it is the
only measure, and acts at the limit. The size is read once for each hundredth of the limit that is recorded, and once a
second while the limit is reached; in between it is estimated.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from loguru import logger

from recorder.core.errors import StorageFull

PRUNING_MARGIN = 0.15
"""How far beyond the limit the database may grow while pruning works, as a fraction."""
LOOKS = 100
"""How often its size is looked at while it grows to the limit."""
LOOK_AGAIN_SECONDS = 1.0


class Sized(Protocol):
    """The part of a store whose memory is watched."""

    @property
    def recorded_bytes(self) -> int:
        """Bytes recorded since the start."""
        ...

    async def used_bytes(self) -> int:
        """Return the bytes of the database in memory."""
        ...


class MemoryGuard:
    """A limit on the memory of the recording, created by `watch`.

    Args:
        store: What is watched.
        limit: Bytes it may take; None for no limit.
        prunes: Whether pruning keeps to the limit, too.
    """

    def __init__(self, store: Sized, limit: int | None, *, prunes: bool) -> None:
        self._store = store
        self._limit = limit
        self._most = None if limit is None else round(limit * (1 + PRUNING_MARGIN * prunes))
        self._used = 0  # bytes at the last look
        self._recorded_then = 0  # bytes recorded until then
        self._due = asyncio.Event()  # set when it is time to look
        self._was_full = False  # at the last look
        self.tasks: list[asyncio.Task[None]] = []  # that run as long as this does

    @classmethod
    @asynccontextmanager
    async def watch(cls, store: Sized, limit: int | None, *, prunes: bool) -> AsyncIterator[MemoryGuard]:
        """Watch until the block is left."""
        guard = cls(store, limit, prunes=prunes)
        await guard.look()
        watching = asyncio.create_task(guard._watch(), name="jobs-memory-guard")
        guard.tasks.append(watching)
        try:
            yield guard
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    @property
    def limit(self) -> int | None:
        """Bytes the database may take."""
        return self._limit

    @property
    def used(self) -> int:
        """Bytes it takes, as far as is known without looking."""
        # What travels is a little more than what is kept of it.
        return self._used + self._store.recorded_bytes - self._recorded_then

    @property
    def is_full(self) -> bool:
        """Return whether memory is full, so that no more data is accepted."""
        return self._most is not None and self.used > self._most

    def rejection(self) -> StorageFull | None:
        """Return why publishes are rejected; None where they are taken."""
        if not self.is_full:
            return None
        return StorageFull(
            f"the recording takes {self.used} bytes of memory, and {self._limit} are allowed",
            hint="prune it or raise MAX_MEMORY; MEMORY_FULL_POLICY says what happens at the limit",
        )

    def on_progress(self) -> None:
        """Check the size when enough has been recorded. The store calls this when more is."""
        if self._limit is None:
            return
        if self.is_full or (self._store.recorded_bytes - self._recorded_then) * LOOKS > self._limit:
            self._due.set()

    async def look(self) -> None:
        """Read the size."""
        if self._limit is None:
            return
        recorded = self._store.recorded_bytes
        self._used, self._recorded_then = await self._store.used_bytes(), recorded
        if self.is_full != self._was_full:
            self._was_full = self.is_full
            log = logger.bind(used=self.used, limit=self._limit)
            if self._was_full:
                log.error("the memory limit is reached: publishes are rejected")
            else:
                log.info("memory is below its limit again: publishes are accepted")

    async def _watch(self) -> None:
        while True:
            if self.is_full:
                # Nobody publishes meanwhile, so nobody tells when memory was freed.
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
            else:
                await self._due.wait()
            self._due.clear()
            try:
                await self.look()
            except Exception:
                # The database may be busy or out of memory now: who stops looking would never see that it was freed.
                logger.exception("the size of the database cannot be read")
                await asyncio.sleep(LOOK_AGAIN_SECONDS)


CGROUP_FILES = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def available_memory(files: Iterable[Path] = CGROUP_FILES) -> int | None:
    """Return the bytes this process may use: what the machine has or its container is given, whichever is less.

    What others use of it now is not counted, since it changes.

    Args:
        files: Where a container's limit stands (cgroup v2, then v1).

    Returns:
        None where the system does not say.
    """
    found = [size for path in files if (size := _limit(path)) is not None]
    if (machine := _machine()) is not None:
        found.append(machine)
    return min(found, default=None)


def _limit(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    # v2 says "max", v1 a number near 2**63, where there is no limit.
    return int(text) if text.isdigit() and int(text) > 0 else None


def _machine() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None  # Windows has no sysconf, and others have no such name
