"""Reading what is recorded, in slices that never hold up recording for more than milliseconds.

A slice is one statement that returns one row: SQLite itself builds the items' JSON text and joins it, so that the
interpreter's lock is taken once a slice and not once a row. A slice is bounded in rows (1000), in bytes (no further
row once the states have 1 MiB) and, where no index serves the filter, in the rows it looks at.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter

from recorder.core.errors import Pruned
from recorder.core.metrics import Metrics
from recorder.core.session_filter import Scope
from recorder.store.contract import Piece, Query
from recorder.store.sqlite import span
from recorder.store.sqlite.connection import Database
from recorder.store.sqlite.span import SIZE, SLICE_BYTES, TABLE
from recorder.wire.events import SEPARATOR

SLICE_ROWS = 1000
SCAN_ROWS = 20_000
"""Rows looked at in one turn where a filter has no index."""
MERGED_SESSIONS = 50
"""Up to this many sessions are each read by the index and merged; more are looked for row by row."""

ITEM = """printf('{"seq":%d,"recordedAt":"%s"'
||'%s%s%s%s%s,"delta":{"type":"%s","sessionId":%s%s%s%s%s,"timestamp":"%s"%s}}',
id, created_at,
CASE WHEN hash IS NULL THEN '' ELSE ',"hash":"' END, lower(hex(hash)), CASE WHEN hash IS NULL THEN '' ELSE '"' END,
CASE WHEN coalesce(lineage, id_digest) IS NULL AND NOT before_filled THEN ''
ELSE CASE WHEN lineage IS NULL THEN '' ELSE ',"lineage":"'||lineage||'"' END
||CASE WHEN before_filled THEN ',"beforeFilled":true' ELSE '' END
||CASE WHEN id_digest IS NULL THEN '' ELSE ',"idDigest":"'||lower(hex(id_digest))||'"' END END,
CASE WHEN before_state IS NULL AND after_state IS NULL THEN (
SELECT ',"erased":{'||CASE WHEN before_digest IS NULL THEN '' ELSE '"before":"'||lower(hex(before_digest))||'"' END
||CASE WHEN before_digest IS NULL OR after_digest IS NULL THEN '' ELSE ',' END
||CASE WHEN after_digest IS NULL THEN '' ELSE '"after":"'||lower(hex(after_digest))||'"' END||'}'
FROM erased_states WHERE seq = id) ELSE '' END,
delta_type, json_quote(session_id),
CASE WHEN before_state IS NULL THEN '' ELSE ',"before":' END, before_state,
CASE WHEN after_state IS NULL THEN '' ELSE ',"after":' END, after_state,
timestamp, CASE WHEN delta_id IS NULL THEN '' ELSE ',"id":'||json_quote(delta_id) END)"""
"""SQL: the same text that `protocol.events.item_text` makes of a live entry; FROM the table of entries.

By `printf`, for which NULL is an empty text: it writes into one buffer, where a chain of `||` makes a text for each.
"""
_UNUSUAL = frozenset(("created", "deleted"))
"""The types that have an index."""
Check = Callable[[sqlite3.Connection], None]


@dataclass(frozen=True, slots=True)
class _Range:
    """Seqs from `low` to `high`, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows to return: SQL that tells them, its parameters, how many they are, and bytes of their states."""

    where: str
    params: tuple[object, ...]
    count: int
    size: int


class HistoryReader:
    """Answers queries on one database.

    Args:
        database: Which.
        metrics: Gets the time each slice took.
        average_bytes: What an item takes, roughly; learned from then on.
    """

    def __init__(self, database: Database, metrics: Metrics, average_bytes: float = 1000.0) -> None:
        self._database = database
        self._metrics = metrics
        self._average = average_bytes  # bytes an item took lately

    async def read(self, query: Query, limit: int, recorded: int, check: Check = lambda conn: None) -> Piece:
        """Return at most `limit` matches among seqs up to `recorded`.

        Args:
            query: Which, in what order.
            limit: 1 to 1000.
            recorded: The highest seq to look at.
            check: Called on the database's thread right before the read; may raise.
        """

        def work(conn: sqlite3.Connection) -> tuple[Piece, int]:
            check(conn)
            return _read(conn, query, wanted, recorded)

        wanted = min(limit, SLICE_ROWS, max(1, int(SLICE_BYTES / self._average)))
        begin = perf_counter()
        piece, size = await self._database.run(work)
        self._metrics.history_seconds.observe(perf_counter() - begin)
        if piece.items:
            # Falls slowly and rises at once: one slice of large states makes the next one small.
            self._average = max(size / len(piece.items), self._average * 0.7, 64.0)
        return piece

    async def read_on(self, query: Query, recorded: int) -> Piece:
        """Return the next slice of an ascending query; raise `Pruned` if what follows `after` was removed."""

        def work(conn: sqlite3.Connection) -> None:
            check_not_pruned(conn, query.after)

        return await self.read(query, SLICE_ROWS, recorded, check=work)

    async def hash_at(self, seq: int) -> bytes | None:
        """Return the hash that the entry after a seq links to; None if that seq was pruned or never existed."""
        return await self._database.run(lambda conn: span.hash_at(conn, seq))

    async def seq_at(self, time: str, recorded: int) -> int:
        """Return the first seq recorded at or after `time`; `recorded` + 1 if there is none."""
        found = await self._database.run(lambda conn: span.first_at(conn, time))
        return recorded + 1 if found is None else found

    async def last_at(self, time: str) -> int:
        """Return the last seq recorded at or before `time`; 0 if there is none.

        Raises:
            Pruned: It was removed together with what followed it, so that nobody can tell.
        """
        return await self._database.run(lambda conn: _as_of(conn, time))


def check_not_pruned(conn: sqlite3.Connection, after: int) -> None:
    """Raise Pruned where entries right after a seq are gone. On the database's thread, beside the read itself."""
    gone = span.pruned_through(conn)
    if after < gone:
        raise Pruned(f"what follows seq {after} was pruned", hint=f"the oldest kept is {gone + 1}")


def _as_of(conn: sqlite3.Connection, time: str) -> int:
    kept = span.last_at(conn, time)
    if kept:
        return kept
    cut = conn.execute(
        "SELECT last_seq, last_recorded_at FROM prunes ORDER BY last_seq DESC LIMIT 1"
    ).fetchone()
    if cut is None:
        return 0
    if time < cut[1]:
        raise Pruned(f"what was at {time} has been pruned", hint=f"it is known from {cut[1]} on")
    return int(cut[0])


def _read(conn: sqlite3.Connection, query: Query, limit: int, recorded: int) -> tuple[Piece, int]:
    bounds = _bounds(conn, query, recorded)
    if bounds.low > bounds.high:
        # Never back: who goes on from here must not meet again what it has had.
        return Piece((), bounds.low if query.descending else max(bounds.high, query.after), True), 0
    by_time = _is_served_by_time(conn, query)
    window = bounds if by_time else _window(query, bounds)
    rows = (
        _run(conn, query, window, limit)
        if _is_whole(query)
        else _matches(conn, query, window, limit, by_time)
    )
    fitting = rows.count if rows.size <= SLICE_BYTES else _fitting(conn, query, rows)
    data, lowest, highest = _items(conn, query, rows, fitting) if rows.count else (b"", 0, 0)
    if fitting < rows.count or rows.count == limit:
        through = lowest if query.descending else highest
    else:
        through = window.low if query.descending else window.high
    done = through <= bounds.low if query.descending else through >= bounds.high
    items = data.split(SEPARATOR.encode()) if data else ()
    return Piece(items, through, done), len(data)


def _is_whole(query: Query) -> bool:
    """Return whether every entry within the query's bounds matches."""
    return (
        query.sessions is None
        and query.types is None
        and query.lineage is None
        and query.happened_since is None
        and query.happened_until is None
    )


def _run(conn: sqlite3.Connection, query: Query, window: _Range, limit: int) -> _Rows:
    """Return the first rows of the window, in the query's direction, without a search: the log has no gaps."""
    where, params = span.stretch(window.low, window.high, limit, descending=query.descending)
    count, size = conn.execute(
        f"SELECT count(*), ifnull(sum({SIZE}), 0) FROM {TABLE} WHERE {where}", params
    ).fetchone()
    return _Rows(where, params, count, size)


def _bounds(conn: sqlite3.Connection, query: Query, recorded: int) -> _Range:
    """Return the range of seqs that can match; times of recording rise with the seq, so they bound it."""
    low, high = query.after + 1, recorded
    if query.before is not None:
        high = min(high, query.before - 1)
    if query.since is not None:
        first = span.first_at(conn, query.since)
        low = max(low, recorded + 1 if first is None else first)
    if query.until is not None:
        high = min(high, span.last_at(conn, query.until))
    return _Range(max(low, span.pruned_through(conn) + 1), high)


def _window(query: Query, bounds: _Range) -> _Range:
    """Return the part of the bounds that this slice may examine."""
    if _is_by_type(query):
        return bounds
    filtered = query.types or query.happened_since or query.happened_until
    if not filtered and (query.sessions is None or (_is_merged(query) and query.lineage is None)):
        return bounds
    if query.descending:
        return _Range(max(bounds.low, bounds.high - SCAN_ROWS + 1), bounds.high)
    return _Range(bounds.low, min(bounds.high, bounds.low + SCAN_ROWS - 1))


def _is_merged(query: Query) -> bool:
    """Return whether each session is read by its index."""
    return isinstance(query.sessions, frozenset) and len(query.sessions) <= MERGED_SESSIONS


def _is_by_type(query: Query) -> bool:
    """Return whether each type is read by its index, and nothing else is filtered."""
    types = query.types
    return types is not None and bool(types) and types <= _UNUSUAL and _is_whole(replace(query, types=None))


def _is_served_by_time(conn: sqlite3.Connection, query: Query) -> bool:
    """Return whether few enough entries happened in the period to fetch all by their index and sort them."""
    if _is_merged(query) or not (query.happened_since or query.happened_until):
        return False
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {TABLE} WHERE timestamp BETWEEN ? AND ? LIMIT ?)"
    span = (query.happened_since or "", query.happened_until or "~")
    return int(conn.execute(sql, (*span, SCAN_ROWS + 1)).fetchone()[0]) <= SCAN_ROWS


def _fitting(conn: sqlite3.Connection, query: Query, rows: _Rows) -> int:
    """Return how many of these rows fit into a slice; at least one."""
    before = (
        f"sum({SIZE}) OVER (ORDER BY id {_order(query)} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    )
    sql = (
        f"SELECT count(*) FROM (SELECT {before} AS size FROM {TABLE}"
        f" WHERE {rows.where}) WHERE ifnull(size, 0) < {SLICE_BYTES}"
    )
    return int(conn.execute(sql, rows.params).fetchone()[0])


def _items(conn: sqlite3.Connection, query: Query, rows: _Rows, count: int) -> tuple[bytes, int, int]:
    """Return the items of the first `count` of these rows, joined, and their lowest and highest id."""
    # As a blob: a text would be decoded on its way here, only to be encoded again.
    sql = (
        f"SELECT CAST(group_concat(item, char({ord(SEPARATOR)})) AS BLOB), min(id), max(id) FROM ("
        f"SELECT id, {ITEM} AS item FROM {TABLE} WHERE {rows.where} ORDER BY id {_order(query)} LIMIT ?)"
    )
    text, lowest, highest = conn.execute(sql, (*rows.params, count)).fetchone()
    if not text.isascii():
        text.decode()  # what is not UTF-8 must not get on the wire
    return text, lowest, highest


def _order(query: Query) -> str:
    return "DESC" if query.descending else "ASC"


def _matches(
    conn: sqlite3.Connection, query: Query, window: _Range, limit: int, by_time: bool = False
) -> _Rows:
    """Return the first `limit` matches within the window."""
    sql, params = _candidates(query, window, limit, by_time)
    ids, count, size = conn.execute(sql, params).fetchone()
    return _Rows("id IN (SELECT value FROM json_each(?))", (ids,), count, size)


def _candidates(query: Query, window: _Range, limit: int, by_time: bool) -> tuple[str, list[object]]:
    """Return the SQL for the first `limit` matches, and its parameters; it gives ids as a JSON array, their
    count, their bytes.
    """
    order = _order(query)
    where, values = _conditions(query, window)
    table = f"{TABLE} INDEXED BY {TABLE}_timestamp" if by_time else TABLE
    if query.types is not None and _is_by_type(query):
        inner, params = _by_type(sorted(query.types), window, order, limit)
    elif query.sessions is None:
        inner, params = f"SELECT id FROM {table} WHERE {where}", values
    elif isinstance(query.sessions, frozenset) and _is_merged(query):
        sessions = sorted(query.sessions)
        # Each session's next rows by its index, then the first of all: never a sort of whole histories.
        part = (
            f"SELECT id FROM (SELECT id FROM {TABLE} WHERE session_id = ? AND {where}"
            f" ORDER BY id {order} LIMIT {limit})"
        )
        # A token may be for no session at all.
        inner = " UNION ALL ".join([part] * len(sessions)) or f"SELECT id FROM {TABLE} WHERE 0"
        params = [value for session in sessions for value in (session, *values)]
    else:
        # The unary plus keeps the planner on the primary key: in order, no sort.
        among, params = is_among(query.sessions, "+session_id")
        inner = f"SELECT id FROM {table} WHERE {among} AND {where}"
        params += values
    sql = (
        f"SELECT '['||group_concat(id)||']', count(*), ifnull(sum(size), 0) FROM ("
        f"SELECT id, {SIZE} AS size FROM {TABLE}"
        f" WHERE id IN (SELECT id FROM ({inner}) ORDER BY id {order} LIMIT {limit}))"
    )
    return sql, params


def _by_type(types: list[str], window: _Range, order: str, limit: int) -> tuple[str, list[object]]:
    """Return the SQL for the next rows of each type, by its index, and its parameters."""
    # The index's own condition stands there in its words, or SQLite would not take it.
    part = (
        f"SELECT id FROM (SELECT id FROM {TABLE} INDEXED BY {TABLE}_type"
        " WHERE delta_type <> 'updated' AND delta_type = ? AND id BETWEEN ? AND ?"
        f" ORDER BY id {order} LIMIT {limit})"
    )
    params: list[object] = [value for kind in types for value in (kind, window.low, window.high)]
    return " UNION ALL ".join([part] * len(types)), params


def _conditions(query: Query, window: _Range) -> tuple[str, list[object]]:
    parts, values = ["id BETWEEN ? AND ?"], [window.low, window.high]
    conditions: list[object] = list(values)
    if query.types is not None:
        kinds = sorted(query.types)
        parts.append(f"delta_type IN ({','.join('?' * len(kinds))})")
        conditions += kinds
    if query.lineage is not None:
        parts.append("lineage = ?")
        conditions.append(query.lineage)
    if query.happened_since is not None:
        parts.append("timestamp >= ?")
        conditions.append(query.happened_since)
    if query.happened_until is not None:
        parts.append("timestamp <= ?")
        conditions.append(query.happened_until)
    return " AND ".join(parts), conditions


def is_among(sessions: frozenset[str] | Scope, column: str) -> tuple[str, list[object]]:
    """Return the SQL for whether a column names one of these sessions, and its parameters."""
    names = sorted(sessions.names if isinstance(sessions, Scope) else sessions)
    prefixes = sessions.prefixes if isinstance(sessions, Scope) else ()
    parts = [f"{column} IN ({','.join('?' * len(names))})"]
    # Not LIKE: it has wildcards, and takes no notice of case.
    parts += [f"substr({column}, 1, {len(prefix)}) = ?" for prefix in prefixes]
    return f"({' OR '.join(parts)})", [*names, *prefixes]
