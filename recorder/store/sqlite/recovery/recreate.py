"""A new database file out of the memory, where somebody has removed the old one while we run.

The new file has the receipts, the bases and all other small tables as they are in memory, is whole before it gets its
name, and is numbered as if everything that retention removed had been in it: the snapshot that follows appends
the log as it always does. Nothing may be pruned from memory meanwhile; the caller sees to that.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from recorder.store.sqlite import schema, span
from recorder.store.sqlite.connection import Database
from recorder.store.sqlite.files import DIRECTORY_MODE, publish
from recorder.store.sqlite.identity import FileIdentity
from recorder.store.sqlite.rows import Transaction, rebuild_states

SLICE_ROWS = 1000
"""Read from memory at once: recording waits for it."""

_TABLES = tuple(name for name in schema.SMALL_TABLES if name != "meta")
"""Facts are written apart: the new file has some of its own."""

Tables = dict[str, list[tuple[Any, ...]]]


async def small_tables(memory: Database) -> Tables:
    """Read everything in memory except the log, the tables derived from it, and the metadata written by each
    snapshot.
    """
    found: Tables = {}
    for table in _TABLES:
        rows: list[tuple[Any, ...]] = []
        last = 0
        while piece := await memory.run(lambda conn: _piece(conn, table, last)):  # noqa: B023
            last = piece[-1][0]
            rows += [row[1:] for row in piece]
        found[table] = rows
    return found


def recreate(path: Path, tables: Tables, meta: dict[str, str], identity: FileIdentity) -> None:
    """Create the file, on the file's thread.

    Args:
        path: Where; nothing is there.
        tables: As from `small_tables`.
        meta: The small facts in memory.
        identity: Of the file that was there; the new one gets it.

    Raises:
        sqlite3.Error, OSError: The disk said no; nothing is there.
    """

    def fill(conn: sqlite3.Connection) -> None:
        conn.execute("PRAGMA synchronous = OFF")  # synced as a whole, before the rename
        with Transaction(conn):
            for table, rows in tables.items():
                for row in rows:
                    conn.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)
            rebuild_states(conn)
            span.set_given(conn, span.pruned_through(conn))
            identity.stamp(conn, meta)

    # The directory may have gone with it, and a journal have stayed: it is not the new file's.
    path.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
    journal = path.with_name(f"{path.name}-journal")
    publish(path, fill, before=lambda: journal.unlink(missing_ok=True), lock=identity.lock.take)


def _piece(conn: sqlite3.Connection, table: str, after: int) -> list[tuple[Any, ...]]:
    return conn.execute(
        f"SELECT rowid, * FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT {SLICE_ROWS}", (after,)
    ).fetchall()
