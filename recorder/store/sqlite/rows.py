"""Transactions, small facts and the sessions' states: the same for the database in memory and for the file."""

from __future__ import annotations

import sqlite3

from recorder.store.sqlite import span


def rebuild_states(conn: sqlite3.Connection) -> int:
    """Rebuild the states from the log and the bases, inside the caller's transaction; return their number."""
    conn.execute("DELETE FROM session_states")
    conn.execute(
        "INSERT INTO session_states(session_id, seq, recorded_at, count, deleted)"
        " SELECT session_id, seq, recorded_at, 0, 0 FROM session_bases"
    )
    span.touch_states(conn, 0, 2**63 - 1)
    count = int(conn.execute("SELECT count(*) FROM session_states").fetchone()[0])
    # The triggers have counted, but from what was there.
    conn.execute("INSERT OR REPLACE INTO counters VALUES ('sessions', ?)", (count,))
    return count


def get_meta(conn: sqlite3.Connection) -> dict[str, str]:
    """Return all metadata."""
    return dict(conn.execute("SELECT key, value FROM meta").fetchall())


def set_meta(conn: sqlite3.Connection, **facts: str) -> None:
    """Keep some of them."""
    for key, value in facts.items():
        conn.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = ?", (key, value, value)
        )


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
