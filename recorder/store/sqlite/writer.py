"""The one writer: a bounded queue in front of the database, emptied in groups.

Whatever waits is committed as one transaction, in one trip to the database's thread; the more waits the larger the
group, so throughput rises with load while a lone entry is recorded at once. The queue's bounds are not enforced here:
`is_full` tells the intake to hold its publishers back, and what was appended is never dropped.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any

from loguru import logger
from msgspec.structs import astuple

from recorder.errors import Closed, StoreError
from recorder.model.delta import Entry
from recorder.store.sqlite.database import Database
from recorder.store.sqlite.rows import WIDTH, Transaction, append_rows

GROUP_ROWS = 2048
"""The most entries of one transaction: a reader waits for its turn no longer than this takes."""


class Writer:
    """Records entries, in order.

    Args:
        database: Where; nobody else writes entries to it.
        recorded: The highest seq it has.
        on_progress: Called on the loop after each group, and once if recording fails for good.
        max_entries, max_bytes: Beyond either the queue counts as full.
        log_entries: Whether each entry gets a line in the log.
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
    ) -> None:
        self._database = database
        self._on_progress = on_progress
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._log_entries = (
            log_entries  # asked once: a line that nobody reads would cost as much as recording
        )
        self._queue: deque[Entry] = deque()  # appended, not recorded
        self._bytes = 0  # frame bytes in the queue and in the group under way
        self._under_way = 0  # entries in the group under way
        self._wake = asyncio.Event()  # set when there is something to do
        self._step = asyncio.Event()  # set after the group under way, or when recording failed; then replaced
        self._closed = False
        self.recorded = recorded  # the highest seq recorded
        self.recorded_bytes = 0  # frame bytes recorded since the start
        self.failure: str | None = None  # why recording failed, for good

    @property
    def is_full(self) -> bool:
        """Whether more waits than should."""
        return len(self._queue) + self._under_way >= self._max_entries or self._bytes >= self._max_bytes

    @property
    def waiting(self) -> int:
        """Entries appended and not recorded."""
        return len(self._queue) + self._under_way

    def append(self, entry: Entry) -> None:
        """Queue the next entry.

        Raises:
            Closed: It was closed.
            StoreError: Recording has failed.
        """
        if self._closed:
            raise Closed("the store is closed")
        if self.failure is not None:
            raise StoreError(f"nothing can be recorded: {self.failure}")
        self._queue.append(entry)
        self._bytes += len(entry.frame)
        self._wake.set()

    async def flush(self) -> None:
        """Until everything appended so far is recorded; what is appended meanwhile is not waited for.

        Raises:
            StoreError: It could not be.
        """
        target = self.recorded + self.waiting
        while self.recorded < target:
            if self.failure is not None:
                raise StoreError(f"nothing can be recorded: {self.failure}")
            await self._step.wait()

    async def run(self) -> None:
        """Record groups until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    await self._record_group()
        except Exception as error:
            # The boundary of recording, whatever went wrong. Numbers that were given out can't be recorded: nothing
            # may follow them. /readyz is red from here on, and a new start begins a new epoch.
            self.failure = f"{type(error).__name__}: {error}"
            logger.bind(error=self.failure).critical("recording failed")
            self._tell()

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True

    async def _record_group(self) -> None:
        queue = self._queue
        group = [queue.popleft() for _ in range(min(len(queue), GROUP_ROWS))]
        size = sum([len(entry.frame) for entry in group])
        self._under_way = len(group)
        await self._database.run(lambda conn: _commit(conn, group))
        self._under_way = 0
        self._bytes -= size
        self.recorded_bytes += size
        self.recorded = group[-1].seq
        if self._log_entries:
            for entry in group:
                logger.bind(session_id=entry.session_id, type=entry.type, seq=entry.seq).debug("delta saved")
        self._tell()

    def _tell(self) -> None:
        step, self._step = self._step, asyncio.Event()
        step.set()
        self._on_progress()


def _commit(conn: sqlite3.Connection, group: list[Entry]) -> None:
    values: list[Any] = []
    for entry in group:
        # An entry's fields are the columns, in their order, but for the frame at its end.
        values += astuple(entry)[:WIDTH]
    with Transaction(conn):
        append_rows(conn, values, group[0].seq, group[-1].seq)
