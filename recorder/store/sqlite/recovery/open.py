"""Opening of the file at start: from any content at the path to a checked database in memory.

No file is a fresh start. One that can't be used is refused and left as it is. A damaged one is refused, too, unless the
operator accepts the loss: then it is put aside, and a new file with what could be saved takes its place.

The memory is filled first and checked instead of the file: each page is read once, and nothing is written before the
verdict. An older file is migrated after it, and after somebody has seen whether what it says is what was signed.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from loguru import logger

from recorder.core.clock import Clock
from recorder.core.errors import StoreDamaged
from recorder.store.sqlite import files, migrations, schema
from recorder.store.sqlite.connection import Database, open_file
from recorder.store.sqlite.identity import FileLock
from recorder.store.sqlite.recovery import check as checking
from recorder.store.sqlite.recovery import load as loading
from recorder.store.sqlite.recovery.journal import check_at_rest, set_stray_aside
from recorder.store.sqlite.recovery.salvage import Loss, salvage
from recorder.store.sqlite.rows import Transaction, rebuild_states


class Opening:
    """One start.

    Args:
        path: The database file.
        lock: Holds it, and every file that takes its place.
        clock: For times that are written down.
        allow_data_loss: Whether to go on with what can be saved of a damaged file.
        busy_seconds: How long statements wait for another program's lock.
    """

    def __init__(
        self, path: Path, lock: FileLock, clock: Clock, *, allow_data_loss: bool, busy_seconds: float
    ) -> None:
        self._path = path
        self._lock = lock
        self._clock = clock
        self._busy_seconds = busy_seconds
        self.allow_data_loss = allow_data_loss
        self.losses: list[Loss] = []  # what was lost, and accepted
        self._states_fit = True  # whether the file's cache of the states fits its log

    @asynccontextmanager
    async def file(self) -> AsyncIterator[Database]:
        """Open the file, created if missing.

        Raises:
            StoreUnreadable: It can't be opened, or is no database of ours; it is left as it is.
        """
        set_stray_aside(self._path, self._clock.now_ms())
        files.create_if_missing(self._path, self._lock.take)
        async with AsyncExitStack() as stack:
            try:
                database = await self._enter(stack)
            except StoreDamaged as error:
                await self._salvage(error)
                database = await self._enter(stack)
            yield database

    async def read_in(
        self,
        file: Database,
        memory: Database,
        on_progress: Callable[[int, int], None],
        switch_file: Callable[[], Awaitable[None]],
    ) -> None:
        """Load the memory from the file, verified and migrated to the current schema; the file is not written to.

        Args:
            file: From here.
            memory: To here; used by nobody else meanwhile.
            on_progress: Gets pages left and pages in all, on the file's thread.
            switch_file: Called when another file has taken the place of a damaged one.

        Raises:
            StoreUnreadable: It can't be used; it is left as it is.
        """
        try:
            await self._read_in(file, memory, on_progress)
        except StoreDamaged as error:
            await self._salvage(error)
            await switch_file()
            await self._read_in(file, memory, on_progress)

    async def bring_up(self, file: Database) -> None:
        """Bring the file to what was made of it in memory: today's schema, and a cache of the states that fits.

        Args:
            file: What `read_in` has read.

        Raises:
            StoreUnreadable: It can't be written. It is whole.
        """
        path, now, newest = self._path, self._clock.now_ms(), schema.USER_VERSION
        copy: Path | None = None
        try:
            copy = await file.run(lambda conn: migrations.migrate(conn, path, newest, now))
            if not self._states_fit:
                await file.run(_rebuild_states)
        except (StoreDamaged, sqlite3.Error, OSError) as error:
            refused = files.unreadable(path, error)
            if copy is not None:
                refused.hint = f"it is at schema {newest} now; {copy} is a copy of it as it was"
            raise refused from error

    async def _enter(self, stack: AsyncExitStack) -> Database:
        await asyncio.to_thread(check_at_rest, self._path)
        try:
            return await stack.enter_async_context(open_file(self._path, busy_seconds=self._busy_seconds))
        except sqlite3.Error as error:
            raise files.unreadable(self._path, error) from error

    async def _salvage(self, error: StoreDamaged) -> None:
        # Once: what has been saved is sound, or nothing helps.
        if not self.allow_data_loss or self.losses:
            raise error
        now = self._clock.now_ms()
        self.losses.append(await asyncio.to_thread(salvage, self._path, error.message, now, self._lock.take))

    async def _read_in(
        self, file: Database, memory: Database, on_progress: Callable[[int, int], None]
    ) -> None:
        path = self._path
        try:
            await loading.copy_to_memory(file, memory, on_progress)
            await memory.run(checking.check)
            # What the memory was made from has been checked, so the same steps lead to the same as in the file.
            await memory.run(lambda conn: migrations.take_steps(conn, schema.USER_VERSION))
            self._states_fit = await memory.run(checking.states_fit)
            if not self._states_fit:
                logger.bind(db_path=str(path)).warning("the cached states do not match the log; rebuilt")
                await memory.run(_rebuild_states)
        except (StoreDamaged, sqlite3.Error, OSError) as error:
            raise files.unreadable(path, error) from error


def _rebuild_states(conn: sqlite3.Connection) -> None:
    with Transaction(conn):
        rebuild_states(conn)
