"""Writing rows: the same statements for the database in memory and for the file.

Rows go in by multi-row INSERTs of a few fixed sizes: `executemany` would take and drop the interpreter's lock for every
row, and beside a busy event loop that is a hundred times slower.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import astuple

from recorder.core.delta import DELTA_TYPES, Entry
from recorder.store.sqlite.schema import COLUMNS

LARGEST = 512
"""Rows of the largest statement; the others are its halves, so any count takes few statements."""

WIDTH = len(COLUMNS)
_RARE = {"delta_id", "id_digest", "lineage"}
_COMMON = tuple(name for name in COLUMNS if name not in _RARE)


def _inserts(columns: Sequence[str]) -> dict[int, str]:
    """The statements for these columns, by their number of rows."""
    row = "(" + ",".join("?" * len(columns)) + ")"
    return {
        size: f"INSERT INTO session_deltas({','.join(columns)}) VALUES {','.join([row] * size)}"
        for size in (1 << power for power in range(LARGEST.bit_length()))
    }


_INSERTS, _COMMON_INSERTS = _inserts(COLUMNS), _inserts(_COMMON)

_TEXT, _BYTES = str | None, bytes | None
_KINDS = (int, str, str, _TEXT, _TEXT, str, str, _TEXT, _BYTES, int, _TEXT, _BYTES)

# The bare columns come from the row that has the maximum (SQLite, "bare columns in an aggregate query").
_TOUCH_STATES = """
INSERT INTO session_states(session_id, seq, recorded_at, count, deleted)
SELECT session_id, max(id), created_at, count(*), delta_type = 'deleted'
FROM session_deltas WHERE id BETWEEN ? AND ? GROUP BY session_id
ON CONFLICT(session_id) DO UPDATE SET
  seq = excluded.seq, recorded_at = excluded.recorded_at,
  count = count + excluded.count, deleted = excluded.deleted
"""


def flat(entries: Sequence[Entry]) -> list[Any]:
    """The columns of entries, one row after the other: what `append_rows` and the commit log take."""
    values: list[Any] = []
    for entry in entries:
        # An entry's fields are the columns, in their order, but for the frame at its end.
        values += astuple(entry)[:WIDTH]
    return values


def is_row(values: Sequence[Any]) -> bool:
    """Whether values are of the types that the columns of a row have, as recorders write them."""
    # A file may hold anything; what has a type of its own would fail where it is hashed or written.
    return (
        len(values) == WIDTH
        and all(map(isinstance, values, _KINDS))
        and values[2] in DELTA_TYPES
        and values[9] in (0, 1)
    )


def append_rows(conn: sqlite3.Connection, values: Sequence[Any], first: int, last: int) -> None:
    """Insert rows and bring the sessions' states up to date. Inside the caller's transaction.

    Args:
        conn: The database.
        values: The columns of all rows, one row after the other.
        first, last: Their seqs.
    """
    _insert(conn, _INSERTS, WIDTH, values)
    conn.execute(_TOUCH_STATES, (first, last))


def append_entries(conn: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """The same for entries, at least one."""
    if any(entry.id is not None or entry.lineage is not None for entry in entries):
        _insert(conn, _INSERTS, WIDTH, flat(entries))
    else:
        # Most have no more than the common columns, and to bind a NULL costs as much as to bind a value.
        values: list[Any] = []
        for each in entries:
            values += (
                each.seq, each.session_id, each.type, each.before, each.after, each.timestamp,
                each.recorded_at, each.before_filled, each.hash,
            )  # fmt: skip
        _insert(conn, _COMMON_INSERTS, len(_COMMON), values)
    conn.execute(_TOUCH_STATES, (entries[0].seq, entries[-1].seq))


def _insert(
    conn: sqlite3.Connection, statements: Mapping[int, str], width: int, values: Sequence[Any]
) -> None:
    start, left, size = 0, len(values) // width, LARGEST
    while left:
        while size > left:
            size >>= 1
        end = start + size * width
        conn.execute(statements[size], values[start:end])
        start, left = end, left - size


def rebuild_states(conn: sqlite3.Connection) -> int:
    """Make the states anew from the log and the bases. Inside the caller's transaction; how many there are."""
    conn.execute("DELETE FROM session_states")
    conn.execute(
        "INSERT INTO session_states(session_id, seq, recorded_at, count, deleted)"
        " SELECT session_id, seq, recorded_at, 0, 0 FROM session_bases"
    )
    conn.execute(_TOUCH_STATES, (0, 2**63 - 1))
    count = int(conn.execute("SELECT count(*) FROM session_states").fetchone()[0])
    # The triggers have counted, but from what was there.
    conn.execute("INSERT OR REPLACE INTO counters VALUES ('sessions', ?)", (count,))
    return count


def get_meta(conn: sqlite3.Connection) -> dict[str, str]:
    """All of the small facts kept beside the data."""
    return dict(conn.execute("SELECT key, value FROM meta").fetchall())


def set_meta(conn: sqlite3.Connection, **facts: str) -> None:
    """Keep some of them."""
    for key, value in facts.items():
        conn.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = ?", (key, value, value)
        )


def end_of_log(conn: sqlite3.Connection) -> tuple[int, bytes | None]:
    """Return the last seq that a database has, or had before it was pruned, and the hash there; (0, None) for none."""
    last = conn.execute("SELECT id, hash FROM session_deltas ORDER BY id DESC LIMIT 1").fetchone()
    if last is None:
        last = conn.execute("SELECT last_seq, last_hash FROM prunes ORDER BY id DESC LIMIT 1").fetchone()
    return (int(last[0]), last[1]) if last is not None else (0, None)


class Transaction:
    """`with Transaction(conn):` commits, or rolls back when an error leaves it.

    Inside a transaction that is open already it is a part of that one, which its owner ends.

    Args:
        conn: A connection in autocommit mode.
    """

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        self._is_part = False  # of a transaction that was open before

    def __enter__(self) -> sqlite3.Connection:
        self._is_part = self._conn.in_transaction
        if not self._is_part:
            self._conn.execute("BEGIN IMMEDIATE")
        return self._conn

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._is_part:
            return
        if kind is None:
            try:
                self._conn.execute("COMMIT")
            except BaseException:
                self._rollback()
                raise
        else:
            self._rollback()

    def _rollback(self) -> None:
        # SQLite has already rolled back by itself after some errors (a full disk, an I/O error).
        if self._conn.in_transaction:
            self._conn.execute("ROLLBACK")
