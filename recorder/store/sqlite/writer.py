"""The one writer: a bounded queue in front of the database, emptied in groups.

Whatever waits is committed as one transaction, in one trip to the database's thread; the more waits the larger the
group, so throughput rises with load while a lone entry is recorded at once. The queue's bounds are not enforced here:
`capacity` tells ingest to hold its publishers back, and what was appended is never dropped.

With a commit log a group is on disk before it goes into the database. Where the write fails, everything that waits
is rolled back, since no subscriber has seen it yet; deltas are refused until the log is recovered, which is tried for
ever. Where the bytes that were written can't be cut off, the publisher is told that the outcome is unknown.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from loguru import logger

from recorder.core.delta import Entry
from recorder.core.errors import Closed, OutOfMemory, StoreError
from recorder.store.sqlite.commit_log import CommitLog, NotCut
from recorder.store.sqlite.connection import Database
from recorder.store.sqlite.rows import Transaction
from recorder.store.sqlite.span import append_entries

GROUP_ROWS = 2048
"""The most entries of one transaction: a reader waits for its turn no longer than this takes."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two tries to recover the commit log: doubled from the one up to the other."""
MEMORY_TRIES = 8
"""How often a group is tried again that found no memory, with the same pauses, before recording fails."""


class Writer:
    """Records entries, in order.

    Args:
        database: Where; nobody else writes entries to it.
        recorded: The highest seq it has.
        on_progress: Called on the loop after each group, when recording fails, and when it is recovered.
        max_entries, max_bytes: Beyond either the queue counts as full.
        log_entries: Whether each entry gets a line in the log.
        commits: Where a group goes first; None for nowhere.
        on_rolled_back: Called on the loop when everything that waits has been rolled back, with the reason, and whether
            nobody knows if some of it is on disk all the same.
        recover: Makes the commit log work again. Raises OSError or StoreError as long as it does not.
        check: Called before a group goes to the commit log. Raises OSError where that would not make it durable.
    """

    def __init__(
        self,
        database: Database,
        recorded: int,
        on_progress: Callable[[], None],
        *,
        max_entries: int,
        max_bytes: int,
        log_entries: bool = False,
        commits: CommitLog | None = None,
        on_rolled_back: Callable[[str, bool], None] = lambda reason, unknown: None,
        recover: Callable[[], Awaitable[None]] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._on_progress = on_progress
        self._commits = commits
        self._on_rolled_back = on_rolled_back
        self._recover = recover
        self._check_disk = check
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._log_entries = (
            log_entries  # asked once: a line that nobody reads would cost as much as recording
        )
        self._queue: deque[Entry] = deque()  # appended, not recorded
        self._last = recorded  # the highest seq appended
        self._bytes = 0  # frame bytes in the queue and in the groups under way
        self._under_way = 0  # entries in the groups under way
        self._insertion: asyncio.Task[None] | None = (
            None  # a group on its way from the commit log into the database
        )
        self._wake = asyncio.Event()  # set when there is something to do
        self._step = asyncio.Event()  # set after the group under way, or when recording failed; then replaced
        self._closed = False
        self.recorded = recorded  # the highest seq recorded
        self.recorded_bytes = 0  # frame bytes recorded since the start
        self.fatal_error: str | None = None  # why recording failed, for good
        self.disk_error: str | None = None  # why the commit log takes nothing at the moment

    @property
    def capacity(self) -> int:
        """The number of entries that may be appended before the queue is full; 0 when it is."""
        return max(0, self._max_entries - self.waiting) if self._bytes < self._max_bytes else 0

    @property
    def waiting(self) -> int:
        """Entries appended and not recorded."""
        return len(self._queue) + self._under_way

    def extend(self, entries: Sequence[Entry]) -> None:
        """Queue the next entries, all or none.

        Raises:
            Closed: It was closed.
            StoreError: Recording has failed, or fails now, since these do not follow what was appended before.
        """
        if self._closed:
            raise Closed("the store is closed")
        self._check()
        first, last = entries[0].seq, entries[-1].seq
        if first != self._last + 1 or last - first + 1 != len(entries):
            self.fail(f"seqs {first} to {last} ({len(entries)} entries) do not follow seq {self._last}")
            self._check()
        queue, size = self._queue, sum([len(entry.frame) for entry in entries])
        waiting = len(queue)
        try:
            queue.extend(entries)
        except BaseException:
            # Out of memory in the middle: none of them, or what comes next would follow a part of them.
            while len(queue) > waiting:
                queue.pop()
            raise
        self._bytes += size
        self._last = last
        self._wake.set()

    def resume(self, recorded: int) -> None:
        """Continue after this seq, before anything is appended."""
        self.recorded = self._last = recorded

    def fail(self, reason: str) -> None:
        """Take nothing more, for good: numbers that were given out can't be recorded, and nothing may follow them.

        /readyz is red from here on, and a new start begins a new epoch.
        """
        if self.fatal_error is None:
            self.fatal_error = reason
            logger.bind(error=reason).critical("recording failed")
            self._tell()

    async def flush(self) -> None:
        """Wait until everything appended so far is recorded; later appends are not waited for.

        Raises:
            StoreError: It could not be.
        """
        target = self.recorded + self.waiting
        while self.recorded < target:
            self._check()
            await self._step.wait()

    async def run(self) -> None:
        """Record groups until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue or self._insertion is not None:
                    await (self._record_group() if self._queue else self._inserted())
                    if self.disk_error is not None:
                        await self._until_recovered()
        except Exception as error:
            # The boundary of recording, whatever went wrong.
            self.fail(f"{type(error).__name__}: {error}")
        finally:
            if self._insertion is not None:
                self._insertion.cancel()

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True

    async def _record_group(self) -> None:
        queue = self._queue
        group = [queue.popleft() for _ in range(min(len(queue), GROUP_ROWS))]
        self._under_way += len(group)
        if self._commits is None:
            await self._insert(group)
            return
        try:
            self._check_disk()
            await self._commits.append(group)
        except OSError as error:
            # The group before is on disk, and on its way: it is to be seen before anything is rolled back.
            await self._inserted()
            self._roll_back(error)
            return
        await self._inserted()
        # While this one goes into the database the next one can go to disk.
        self._insertion = asyncio.create_task(self._insert(group), name="store-insert")

    async def _inserted(self) -> None:
        """Wait until the group on its way into the database has been inserted."""
        if self._insertion is not None:
            try:
                await self._insertion
            finally:
                self._insertion = None

    async def _insert(self, group: list[Entry]) -> None:
        await self._commit(group)
        size = sum([len(entry.frame) for entry in group])
        self._under_way -= len(group)
        self._bytes -= size
        self.recorded_bytes += size
        self.recorded = group[-1].seq
        if self._log_entries:
            for entry in group:
                logger.bind(session_id=entry.session_id, type=entry.type, seq=entry.seq).debug("delta saved")
        self._tell()

    async def _commit(self, group: list[Entry]) -> None:
        """Write a group to the database. Where memory is short, wait for some: nothing is lost meanwhile."""
        pause = FIRST_PAUSE
        for _ in range(MEMORY_TRIES):
            try:
                return await self._database.run(lambda conn: _commit(conn, group))
            except OutOfMemory as error:
                logger.bind(entries=len(group), seconds=pause, error=error.message).warning(
                    "out of memory while recording; it is tried again"
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        await self._database.run(lambda conn: _commit(conn, group))

    def _roll_back(self, error: OSError) -> None:
        """Roll back everything that waits: it follows what the disk rejected."""
        self.disk_error, unknown = error.strerror or str(error), isinstance(error, NotCut)
        logger.bind(error=self.disk_error, rolled_back=self.waiting, unknown=unknown).error(
            "the commit log cannot be written"
        )
        self._queue.clear()
        self._last = self.recorded
        self._bytes = self._under_way = 0
        self._on_rolled_back(self.disk_error, unknown)
        self._tell()

    async def _until_recovered(self) -> None:
        pause = FIRST_PAUSE
        while self.disk_error is not None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                if self._recover is not None:
                    await self._recover()
            except (OSError, StoreError) as error:
                self.disk_error = getattr(error, "strerror", None) or str(error)
            else:
                self.disk_error = None
                logger.info("the commit log can be written again")
            self._tell()

    def _check(self) -> None:
        if self.fatal_error is not None:
            raise StoreError(f"nothing can be recorded: {self.fatal_error}")
        if self.disk_error is not None:
            raise StoreError(f"nothing can be put on disk: {self.disk_error}")

    def _tell(self) -> None:
        step, self._step = self._step, asyncio.Event()
        step.set()
        self._on_progress()


def _commit(conn: sqlite3.Connection, entries: list[Entry]) -> None:
    with Transaction(conn):
        append_entries(conn, entries)
