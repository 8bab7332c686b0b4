"""Room in memory: nothing more is taken while the database is larger than it may be.

The last defence before the kernel ends the process. With the policy `prune` it stands behind pruning, which begins a
little above the limit: it acts only where pruning cannot keep up, or cannot work because the disk says no. With `refuse`
it is all there is, and acts at the limit. What a look at the database costs is paid once for each hundredth of the limit
that is recorded, and once a second while there is no room; between looks the size is reckoned.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from loguru import logger

from recorder.core.errors import StorageFull

PRUNING_MARGIN = 0.15
"""How far beyond the limit the database may grow while pruning works, as a fraction."""
LOOKS = 100
"""How often its size is looked at while it grows to the limit."""
LOOK_AGAIN_SECONDS = 1.0


class Sized(Protocol):
    """What is watched."""

    @property
    def recorded_bytes(self) -> int:
        """Bytes recorded since the start."""
        ...

    async def used_bytes(self) -> int:
        """Bytes of the database in memory."""
        ...


class Room:
    """See the module. Made by `watch`.

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

    @classmethod
    @asynccontextmanager
    async def watch(cls, store: Sized, limit: int | None, *, prunes: bool) -> AsyncIterator[Room]:
        """Watch until the block is left."""
        room = cls(store, limit, prunes=prunes)
        await room.look()
        watching = asyncio.create_task(room._watch(), name="jobs-room")
        try:
            yield room
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
        """Whether nothing more may be taken."""
        return self._most is not None and self.used > self._most

    def refusal(self) -> StorageFull | None:
        """Why nothing is taken, if so."""
        if not self.is_full:
            return None
        return StorageFull(
            f"the recording takes {self.used} bytes of memory, and {self._limit} are allowed",
            hint="prune it or raise MAX_MEMORY; MEMORY_FULL_POLICY says what gives way",
        )

    def on_progress(self) -> None:
        """The store calls this when more is recorded."""
        if self._limit is None:
            return
        if self.is_full or (self._store.recorded_bytes - self._recorded_then) * LOOKS > self._limit:
            self._due.set()

    async def look(self) -> None:
        """See how large it is."""
        if self._limit is None:
            return
        recorded = self._store.recorded_bytes
        self._used, self._recorded_then = await self._store.used_bytes(), recorded
        if self.is_full != self._was_full:
            self._was_full = self.is_full
            log = logger.bind(used=self.used, limit=self._limit)
            if self._was_full:
                log.error("no room in memory: publishers are refused")
            else:
                log.info("there is room in memory again")

    async def _watch(self) -> None:
        while True:
            if self.is_full:
                # Nobody publishes meanwhile, so nobody tells when there is room again.
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
            else:
                await self._due.wait()
            self._due.clear()
            try:
                await self.look()
            except Exception:
                # The database may be busy or out of memory now: who stops looking would never see room again.
                logger.exception("the size of the database cannot be read")
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
