"""The sessions as of now, and the states as of any point: a cache of the log, and the log itself for the past."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from recorder.core.errors import Pruned, RecorderError
from recorder.core.session_filter import Sessions
from recorder.store.contract import Guarantee, Health, SessionRow, StateRow
from recorder.store.sqlite import span
from recorder.store.sqlite.connection import Database
from recorder.store.sqlite.history import is_among
from recorder.store.sqlite.rows import Transaction, rebuild_states

LOAD_ROWS = 2000


class SqliteStateStore:
    """`StateStore` on the database that the writer fills.

    Args:
        database: Which.
        recorded: Tells the highest seq recorded.
    """

    def __init__(self, database: Database, recorded: Callable[[], int]) -> None:
        self._database = database
        self._recorded = recorded

    @property
    def guarantee(self) -> Guarantee:
        """The guarantee of the store."""
        return Guarantee(
            order="sessions by their last seq, latest first",
            durability="that of the events it is made from",
            loss_window_ms=0,
            rebuilds=f"{span.TABLE} and session_bases",
        )

    async def sessions(
        self, before: int | None, limit: int, after: int = 0, among: Sessions = None
    ) -> list[SessionRow]:
        """Return sessions by their last seq, latest first.

        Args:
            before: Only those whose last seq is less than this; None for all.
            limit: How many at most.
            after: Only those whose last seq is greater than this.
            among: Only these; None for all.
        """
        bound = 2**63 - 1 if before is None else before
        where, values = _among(among)
        rows = await self._database.run(
            lambda conn: conn.execute(
                "SELECT session_id, seq, recorded_at, count, deleted FROM session_states"
                f" WHERE {where} AND seq > ? AND seq < ? ORDER BY seq DESC LIMIT ?",
                (*values, after, bound, limit),
            ).fetchall()
        )
        return [SessionRow(name, seq, at, count, bool(deleted)) for name, seq, at, count, deleted in rows]

    async def count(self) -> int:
        """Return the number of known sessions."""
        row = await self._database.run(
            lambda conn: conn.execute("SELECT value FROM counters WHERE name = 'sessions'").fetchone()
        )
        return int(row[0])

    async def counts(self, among: Sessions) -> tuple[int, int]:
        """Return how many of these sessions are known, and how many of their deltas are kept."""
        where, values = _among(among)
        row = await self._database.run(
            lambda conn: conn.execute(
                f"SELECT count(*), ifnull(sum(count), 0) FROM session_states WHERE {where}", values
            ).fetchone()
        )
        return int(row[0]), int(row[1])

    async def known(self, session_id: str) -> bool:
        """Return whether anything of a session is recorded."""
        row = await self._database.run(
            lambda conn: conn.execute(
                "SELECT 1 FROM session_states WHERE session_id = ?", (session_id,)
            ).fetchone()
        )
        return row is not None

    async def state(self, session_id: str, at: int | None = None) -> StateRow | None:
        """Return a session's state.

        Args:
            session_id: Which.
            at: As of this seq; None for now.

        Returns:
            None where the session is unknown, or had not begun.

        Raises:
            Pruned: What was so long ago has been pruned.
        """
        point = self._recorded() if at is None else at
        return await self._database.run(lambda conn: _state(conn, session_id, point))

    async def rebuild(self) -> int:
        """Rebuild the cache; return the number of sessions."""

        def work(conn: sqlite3.Connection) -> int:
            with Transaction(conn):
                return rebuild_states(conn)

        return await self._database.run(work)

    async def health_check(self) -> Health:
        """Check whether the cache ends where the log ends."""

        def work(conn: sqlite3.Connection) -> tuple[int, int]:
            return span.bounds(conn)[1], conn.execute("SELECT max(seq) FROM session_states").fetchone()[
                0
            ] or 0

        try:
            log, states = await self._database.run(work)
        except (sqlite3.Error, RecorderError) as error:
            return Health(False, f"{type(error).__name__}: {error}")
        # A deleted session leaves the cache when its last entry is pruned, so the cache may be empty, but never ahead.
        ok = states == log or (log == 0)
        return Health(ok, "" if ok else f"the states end at {states}, the log at {log}", {"seq": states})

    async def living(self, after: str) -> list[tuple[str, int, str]]:
        """Return (session id, seq, state) of sessions that are not deleted, after a session id in order; at
        most 2000.

        Those whose state was erased are left out: nobody knows it any more.
        """
        return await self._database.run(
            lambda conn: conn.execute(
                "SELECT s.session_id, s.seq, coalesce(d.after_state, b.state) AS latest FROM session_states s"
                f" LEFT JOIN {span.TABLE} d ON d.id = s.seq"
                " LEFT JOIN session_bases b ON b.session_id = s.session_id"
                " WHERE s.session_id > ? AND s.deleted = 0 AND latest IS NOT NULL ORDER BY s.session_id LIMIT ?",
                (after, LOAD_ROWS),
            ).fetchall()
        )


def _among(sessions: Sessions) -> tuple[str, list[object]]:
    return ("1", []) if sessions is None else is_among(sessions, "session_id")


def _state(conn: sqlite3.Connection, session_id: str, at: int) -> StateRow | None:
    gone = span.pruned_through(conn)
    if at < gone:
        raise Pruned(f"what was at seq {at} has been pruned", hint=f"states are known from seq {gone} on")
    row = conn.execute(
        f"SELECT id, after_state, delta_type FROM {span.TABLE} WHERE session_id = ? AND id <= ?"
        " ORDER BY id DESC LIMIT 1",
        (session_id, at),
    ).fetchone()
    if row is not None:
        return StateRow(session_id, row[0], row[1], row[2] == "deleted")
    base = conn.execute("SELECT seq, state FROM session_bases WHERE session_id = ?", (session_id,)).fetchone()
    return None if base is None else StateRow(session_id, base[0], base[1], False)
