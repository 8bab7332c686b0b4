"""Remove entries from a running store: prune the oldest, and erase the content of a session.

Invariants: one removal at a time; only what is in the database file is removed, so that a receipt never covers an entry
that a crash could bring back; the entries that stay have no gap; what is erased can't be read any more, whatever the
disk does then.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable

from recorder.core.clock import Clock
from recorder.core.errors import StoreError
from recorder.core.statements import ErasureReceipt, Signed
from recorder.core.timestamps import format_ms
from recorder.store.sqlite import erasure, files, retention
from recorder.store.sqlite.config import StoreConfig
from recorder.store.sqlite.connection import Database
from recorder.store.sqlite.snapshot import Snapshotter


class Removal:
    """Remove entries from the database in memory, and erase them in the file, too.

    Args:
        config: The configuration of the store.
        file, memory: The two databases, open.
        snapshotter: Knows what is in the file, and rewrites it.
        clock: For the times of receipts.
        save: Takes a snapshot.
        flush: Waits until everything that was appended is recorded.
    """

    def __init__(
        self,
        config: StoreConfig,
        file: Database,
        memory: Database,
        snapshotter: Snapshotter,
        clock: Clock,
        save: Callable[[], Awaitable[object]],
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        self._config = config
        self._file = file
        self._memory = memory
        self._snapshotter = snapshotter
        self._clock = clock
        self._save = save
        self._flush = flush
        self._pruning = asyncio.Lock()  # one prune at a time: a receipt belongs to one run
        self.pruned = 0  # the highest seq removed from memory
        self.closed_receipts = 0  # no prune goes on with a receipt up to this number

    async def prune(self, through: int, policy: str) -> int:
        """Remove everything up to a seq from memory, in slices; the next snapshot removes it from the file.

        Args:
            through: The highest seq to go. What is not in the file yet stays.
            policy: Why, for the receipt.

        Returns:
            How many entries it removed.
        """
        async with self._pruning:
            bound = min(through, self._snapshotter.durable)
            if bound <= self.pruned:
                return 0
            now, closed = format_ms(self._clock.now_ms()), self.closed_receipts
            try:
                receipt = await self._memory.run(
                    lambda conn: retention.new_receipt(conn, policy, now, closed)
                )
                return await self._prune(bound, receipt)
            except sqlite3.Error as error:
                raise StoreError(f"pruning failed: {error}") from error

    async def erase(
        self,
        session_id: str,
        reason: str,
        forget: Callable[[], int],
        tell: Callable[[ErasureReceipt], None] = lambda receipt: None,
    ) -> Signed[ErasureReceipt] | None:
        """Erase what a session's states say, in the file and in the database in memory; their digests stay.

        Args:
            session_id: Whose.
            reason: Why, for the receipt.
            forget: Makes those who make entries forget the session's state; gives the last entry that may hold it.
            tell: Called once it is erased, and can be read no more; cleaning up may still fail.

        Returns:
            The receipt; None where there was nothing to erase.

        Raises:
            StoreError: The disk said no. Where it has been erased already, it is cleaned up at the next try or start.
        """
        async with self._pruning:
            # The bulk first: so little is left to be brought to disk between forgetting and erasing.
            await self._save()
            head = forget()
            await self._flush()
            await self._save()
            if self._snapshotter.durable < head:
                raise StoreError(f"seq {head} is not on disk", hint="try again when /readyz is green")
            try:
                async with self._snapshotter.exclusive():
                    return await self._erase(session_id, head, reason, tell)
            except (sqlite3.Error, OSError) as error:
                raise files.disk_failed(self._config.path, error) from error

    async def _prune(self, bound: int, receipt: retention.Receipt) -> int:
        def work(conn: sqlite3.Connection) -> int:
            removed, last = retention.prune_slice(
                conn, bound, receipt, self._config.keep_ids, retention.MEMORY_SLICE
            )
            # Noted here, on the thread: a caller who is cancelled would not learn that it was carried out.
            self.pruned = last or bound
            return removed

        total = 0
        # Where the file has been removed meanwhile it is recreated from memory.
        while self.pruned < min(bound, self._snapshotter.durable):
            total += await self._memory.run(work)
        return total

    async def _erase(
        self, session_id: str, head: int, reason: str, tell: Callable[[ErasureReceipt], None]
    ) -> Signed[ErasureReceipt] | None:
        at, sign = format_ms(self._clock.now_ms()), self._config.sign
        receipt = await self._snapshotter.erase(
            lambda conn: erasure.erase(conn, session_id, head, reason, at, sign),
        )
        if receipt is None and not await self._file.run(erasure.is_unclean):
            return None
        try:
            await self._snapshotter.rewrite()
        finally:
            # Whatever the disk says, nobody shall read it any more.
            await erasure.refill(self._memory, self._file)
            if receipt is not None:
                tell(receipt.payload)
        return receipt
