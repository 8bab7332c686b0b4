"""A SQLite database behind one connection and one thread, for an event loop.

An aiosqlite connection with one thing added: `run` executes a whole function on the connection's thread, so that a
transaction of many statements is one trip and nothing of anybody else's gets between its statements.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite

from recorder.core.errors import Closed, OutOfMemory

Result = TypeVar("Result")

CACHED_STATEMENTS = 256
FILE_CACHE_KIB = 16_384
"""Pages of the file kept in memory: with the default of 2 MiB, pruning a large file takes three times as long."""

_FREE_MEMORY = "give the process more, or try again later; MAX_MEMORY bounds what the recording may take"
_OVERWRITE = "PRAGMA secure_delete = ON"
"""What is deleted is overwritten with zeros, in memory and on disk."""


class Database(aiosqlite.Connection):
    """One connection and its thread. Use it in `async with`: a forgotten one keeps the process from exiting.

    Args:
        connector: Makes the connection, on the thread.
    """

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._shut = False  # nothing is taken any more
        self._closing = asyncio.Lock()  # aiosqlite waits for ever where two close at once

    async def __aenter__(self) -> Self:
        try:
            await super().__aenter__()
        except sqlite3.Error:
            # Its thread ends by itself, and tells the loop so: which may be closed by then, unless we wait.
            self._thread.join()
            raise
        return self

    async def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Execute `work(connection)` on the connection's thread, in turn with everybody else's.

        A cancelled caller does not stop it: what has begun in the thread is carried out.

        Raises:
            Closed: It was closed.
            OutOfMemory: There was not enough memory for it; a transaction was rolled back.
        """
        if self._shut:
            raise Closed("the database is closed")
        try:
            result: Result = await self._execute(lambda: work(self._conn))  # type: ignore[no-untyped-call]
        except (MemoryError, sqlite3.OperationalError) as error:
            # SQLite says "disk I/O error" where its file layer found no memory.
            if (
                isinstance(error, MemoryError)
                or getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_NOMEM
            ):
                raise OutOfMemory("the database ran out of memory", hint=_FREE_MEMORY) from None
            raise
        return result

    async def reopen(self) -> None:
        """Open the connection again, in turn with all other work: the file may be another one now.

        Raises:
            Closed: It was closed.
            sqlite3.Error: It can't be opened; the old connection stays.
        """

        def work(old: sqlite3.Connection) -> None:
            self._connection = self._connector()
            old.close()

        async with self._closing:
            await self.run(work)

    async def exchange(
        self, make: Callable[[sqlite3.Connection], sqlite3.Connection | None]
    ) -> sqlite3.Connection | None:
        """Replace the connection, in turn with all other work.

        Args:
            make: Gets the connection, gives another one; None to stay with it.

        Returns:
            The connection that was replaced, which the caller is to close; None where none was.

        Raises:
            Closed: It was closed.
        """

        def work(old: sqlite3.Connection) -> sqlite3.Connection | None:
            new = make(old)
            if new is None:
                return None
            self._connection = new
            return old

        async with self._closing:
            return await self.run(work)

    async def close(self) -> None:
        """Finish queued work, then close. May be called twice."""
        self._shut = True
        async with self._closing:
            await super().close()


def open_memory() -> Database:
    """Open a new, empty database in memory."""
    return Database(connect_memory)


def connect_memory() -> sqlite3.Connection:
    """Return a connection to a new, empty database in memory."""
    conn = connect_sqlite(":memory:")
    conn.execute(_OVERWRITE)
    return conn


def open_file(path: Path, *, busy_seconds: float = 5.0) -> Database:
    """Open a database file like `connect_file`, with a thread of its own."""
    return Database(lambda: connect_file(path, busy_seconds=busy_seconds))


def connect_file(path: Path, *, busy_seconds: float = 5.0) -> sqlite3.Connection:
    """Return a writable connection to a database file. The file must exist; it is not created.

    Args:
        path: Where it is.
        busy_seconds: How long a statement waits for another process's lock.

    Raises:
        sqlite3.Error: It can't be opened, or is no database.
    """
    conn = connect_sqlite(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=busy_seconds)
    try:
        # A journal that is gone after each commit: between snapshots the file stands alone, and a copy is whole.
        conn.execute("PRAGMA journal_mode = DELETE")
        # EXTRA also syncs the directory after the journal is removed, or a power cut could undo the commit.
        conn.execute("PRAGMA synchronous = EXTRA")
        conn.execute(f"PRAGMA cache_size = -{FILE_CACHE_KIB}")
        conn.execute(_OVERWRITE)
    except sqlite3.Error:
        conn.close()
        raise
    return conn


class Connection(sqlite3.Connection):
    """A connection whose errors are SQLite's, whatever is in the file.

    What SQLite says of a damaged schema repeats bytes of it. Where these are not UTF-8, Python's module fails to make
    a message of them and raises that in place of the error.
    """

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Execute a statement; text that is not UTF-8 raises sqlite3.DatabaseError (SQLITE_CORRUPT), not
        UnicodeDecodeError.
        """
        try:
            return super().execute(sql, parameters)
        except UnicodeDecodeError as error:
            said = bytes(error.object).decode(errors="backslashreplace")
            damage = sqlite3.DatabaseError(said)
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage from None


def connect_sqlite(database: str, **options: Any) -> sqlite3.Connection:
    """Return a connection without implicit transactions, to be used by one thread at a time."""
    # Loading copies from one connection's thread into the other's; each is used by one thread at a time.
    conn: sqlite3.Connection = sqlite3.connect(
        database,
        factory=Connection,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
        **options,
    )
    return conn
