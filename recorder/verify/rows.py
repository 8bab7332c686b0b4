"""The entries of a database file, as verification reads them: read-only, in parts, by several processes.

Texts are read as the bytes that are stored, so nothing is decoded on the way to the hash, and a text that is no UTF-8
is a wrong hash and not an error. What bytes alone would hide, that a column holds a value of another type than a
recorder writes, SQLite is asked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path

from recorder.core.chain import GENESIS
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.schema import COLUMNS
from recorder.verify.chain import Erased, Stored, Tally, check, content_of
from recorder.verify.diagnosis import Placed

BUSY_SECONDS = 30.0
PART_ROWS = 20_000
"""Entries that one process takes at once."""
FETCHED_ROWS = 2000
CACHE_KIB = 32_768
ALONE_ROWS = 150_000
"""Up to this many entries one process is faster than starting more."""

_SELECT = f"SELECT {','.join(COLUMNS)} FROM session_deltas WHERE id BETWEEN ? AND ? ORDER BY id"
_TYPES = {
    "session_id": "'text'", "delta_type": "'text'", "before_state": "'text','null'", "after_state": "'text','null'",
    "timestamp": "'text'", "created_at": "'text'", "delta_id": "'text','null'", "id_digest": "'blob','null'",
    "lineage": "'text','null'", "hash": "'blob','null'",
}  # fmt: skip
_MISTYPED = (
    "SELECT id FROM session_deltas WHERE id BETWEEN ? AND ? AND NOT ("
    + " AND ".join(f"typeof({name}) IN ({kinds})" for name, kinds in _TYPES.items())
    + " AND typeof(before_filled) = 'integer' AND before_filled IN (0, 1))"
)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database file read-only; text columns are returned as bytes."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(connect_sqlite(uri, uri=True, timeout=BUSY_SECONDS)) as conn:
        conn.text_factory = bytes
        # A part is read twice, first by SQLite for types: the second time it should be in memory.
        conn.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        yield conn


def check_part(path: Path, first: int, last: int, start: tuple[int, bytes | None]) -> Tally:
    """Check the entries of a file from one number to another.

    Args:
        path: The file.
        first, last: From where to where.
        start: What the very first entry of the file follows: its number less one, and the hash there; None where that
            is not known.
    """
    with opened(path) as conn:
        before = conn.execute(
            "SELECT id, hash FROM session_deltas WHERE id < ? ORDER BY id DESC LIMIT 1", (first,)
        ).fetchone()
        tally = Tally(*start) if before is None else Tally(before[0], _as_previous(before[1]))
        erased = erased_between(conn, first, last)
        try:
            mistyped = frozenset(seq for (seq,) in conn.execute(_MISTYPED, (first, last)))
            _check(conn, tally, first, last, FETCHED_ROWS, erased, mistyped)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            _find_damage(conn, tally, last, erased)
    return tally


def check_file(
    path: Path, first: int, last: int, start: tuple[int, bytes | None], on_progress: Callable[[int], None]
) -> Tally:
    """Check all entries of a file from one number to another, by as many processes as there are processors.

    Args:
        path, first, last, start: As for `check_part`.
        on_progress: Gets how many more have been looked at.
    """
    tally = Tally(*start)
    with opened(path) as conn:
        count = int(conn.execute("SELECT count(*) FROM session_deltas").fetchone()[0])
    if last - first > 2 * count + PART_ROWS:
        # A number was changed to one far away: parts of what lies between would be more than any memory holds.
        tally.add(check_part(path, first, last, start))
        on_progress(count)
        return tally
    parts = [(low, min(low + PART_ROWS - 1, last)) for low in range(first, last + 1, PART_ROWS)]
    workers = cpu_count() or 1
    if last - first < ALONE_ROWS or workers == 1:
        for low, high in parts:
            tally.add(check_part(path, low, high, start))
            on_progress(high - low + 1)
        return tally
    # A fresh interpreter each: this one has threads, and a fork would take their locks along.
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        futures = [pool.submit(check_part, path, low, high, start) for low, high in parts]
        for (low, high), future in zip(parts, futures, strict=True):
            tally.add(future.result())
            on_progress(high - low + 1)
    return tally


def erased_between(conn: sqlite3.Connection, first: int, last: int) -> Erased:
    """Return the kept digests of erased content, by seq."""
    if not has_table(conn, "erased_states"):
        return {}
    rows = conn.execute(
        "SELECT seq, before_digest, after_digest FROM erased_states WHERE seq BETWEEN ? AND ?", (first, last)
    )
    return {seq: (before, after) for seq, before, after in rows}


def has_table(conn: sqlite3.Connection, name: str) -> bool:
    """Return whether a table exists: files of older schemas do not have all of them."""
    sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return conn.execute(sql, (name,)).fetchone() is not None


_BESIDE = {
    "epochs": {"first_seq": "'integer'"},
    "prunes": dict.fromkeys(("first_seq", "last_seq", "count"), "'integer'")
    | dict.fromkeys(("first_hash", "last_hash", "bases_digest"), "'blob','null'"),
    "erasures": dict.fromkeys(("first_seq", "last_seq", "count", "head_seq"), "'integer'")
    | {"digest": "'blob'"},
    "erased_states": {"erasure": "'integer'"}
    | dict.fromkeys(("before_digest", "after_digest"), "'blob','null'"),
    "heads": dict.fromkeys(("seq", "count"), "'integer'") | {"hash": "'blob','null'"},
    "session_bases": {"seq": "'integer'"},
    "session_states": dict.fromkeys(("seq", "count", "deleted"), "'integer'"),
}
"""Of the tables beside the entries: columns that are reckoned with, and the types of what a recorder writes there."""


def mistyped_beside(conn: sqlite3.Connection) -> str | None:
    """Return the table and column that hold a value of a type no recorder writes; None if there is none."""
    for table, columns in _BESIDE.items():
        known = {text for (text,) in conn.execute("SELECT name FROM pragma_table_info(?)", (table,))}
        for column, kinds in columns.items():
            # Files of older schemas do not have all.
            if column.encode() not in known:
                continue
            sql = f"SELECT 1 FROM {table} WHERE typeof({column}) NOT IN ({kinds}) LIMIT 1"
            if conn.execute(sql).fetchone() is not None:
                return f"{table}.{column}"
    return None


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Return whether SQLite reports that the file itself is damaged."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT


class FileEntries:
    """`diagnosis.Entries` of a file, and of what stands in its commit log.

    Args:
        conn: The file.
        beyond: Entries that are not in the file yet, by seq.
    """

    def __init__(self, conn: sqlite3.Connection, beyond: dict[int, Placed]) -> None:
        self._conn = conn
        self._beyond = beyond

    def between(self, first: int, last: int) -> list[Placed]:
        """Return the entries with these numbers, except those with a value of a wrong type."""
        erased = erased_between(self._conn, first, last)
        mistyped = {seq for (seq,) in self._conn.execute(_MISTYPED, (first, last))}
        rows = self._conn.execute(_SELECT, (first, last))
        found = [placed(row, erased) for row in rows if row[0] not in mistyped]
        return found + [entry for seq, entry in self._beyond.items() if first <= seq <= last]

    def hashes(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield number and stored hash of all entries, in order."""
        for seq, found in self._conn.execute("SELECT id, hash FROM session_deltas ORDER BY id"):
            yield seq, found if isinstance(found, bytes) else None
        yield from ((seq, entry.hash) for seq, entry in self._beyond.items())

    def hash_at(self, seq: int) -> bytes | None:
        """Return the stored hash of an entry that exists."""
        if seq in self._beyond:
            return self._beyond[seq].hash
        row = self._conn.execute("SELECT hash FROM session_deltas WHERE id = ?", (seq,)).fetchone()
        return None if row is None or not isinstance(row[0], bytes) else row[0]


def placed(row: Stored, erased: Erased) -> Placed:
    """Return a stored entry with its position."""
    return Placed(row[0], content_of(row, erased), row[11])


def _as_previous(found: object) -> bytes | None:
    """Return the previous hash for the next link, given the hash stored before it; None if it is not a hash."""
    if found is None:
        return GENESIS
    return found if isinstance(found, bytes) and len(found) == 32 else None


def _check(
    conn: sqlite3.Connection,
    tally: Tally,
    first: int,
    last: int,
    at_once: int,
    erased: Erased,
    mistyped: frozenset[int],
) -> None:
    cursor = conn.execute(_SELECT, (first, last))
    while rows := list(islice(cursor, at_once)):
        check(tally, rows, erased, mistyped)


def _find_damage(conn: sqlite3.Connection, tally: Tally, last: int, erased: Erased) -> None:
    """Read entry by entry up to the first that cannot be read."""
    try:
        _check(conn, tally, tally.seq + 1, last, 1, erased, frozenset())
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
    tally.unreadable = tally.seq + 1
