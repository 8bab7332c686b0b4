"""The log: one contiguous run of entries, and every question that is about its order.

Invariant: seq follows seq, from the one behind the last that retention removed to the last that was given. Whoever asks
for the head, the first entry, the hash at a place, the next rows, or removes some, asks here: the assumption that there
is a row for every number is this module's alone.

Rows go in by multi-row INSERTs of a few fixed sizes: `executemany` would take and drop the interpreter's lock for every
row, and beside a busy event loop that is a hundred times slower.

Left out: which entries match a filter (`history`), and what is kept of those that are removed (`retention`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from msgspec.structs import astuple

from recorder.core.chain import GENESIS
from recorder.core.delta import DELTA_TYPES, Entry
from recorder.store.sqlite.schema import COLUMNS

TABLE = "session_deltas"
"""Where entries are. Elsewhere it is named by this alone, and only where entries are looked for by a filter."""
NAMES = ",".join(COLUMNS)
"""All columns, as a row has them."""
SLICE_BYTES = 1 << 20
"""Bytes of states after which a slice of the log takes no further row."""
SIZE = "ifnull(length(CAST(before_state AS BLOB)), 0) + ifnull(length(CAST(after_state AS BLOB)), 0)"
"""SQL: bytes of a row's states. As blobs: the length of a text would be counted character by character."""

LARGEST = 512
"""Rows of the largest statement; the others are its halves, so any count takes few statements."""

WIDTH = len(COLUMNS)
_RARE = {"delta_id", "id_digest", "lineage"}
_COMMON = tuple(name for name in COLUMNS if name not in _RARE)


def _inserts(columns: Sequence[str]) -> dict[int, str]:
    """Return the INSERT statements for these columns, by their number of rows."""
    row = "(" + ",".join("?" * len(columns)) + ")"
    return {
        size: f"INSERT INTO {TABLE}({','.join(columns)}) VALUES {','.join([row] * size)}"
        for size in (1 << power for power in range(LARGEST.bit_length()))
    }


_INSERTS, _COMMON_INSERTS = _inserts(COLUMNS), _inserts(_COMMON)

_TEXT, _BYTES = str | None, bytes | None
_KINDS = (int, str, str, _TEXT, _TEXT, str, str, _TEXT, _BYTES, int, _TEXT, _BYTES)

# The bare columns come from the row that has the maximum (SQLite, "bare columns in an aggregate query").
_TOUCH_STATES = f"""
INSERT INTO session_states(session_id, seq, recorded_at, count, deleted)
SELECT session_id, max(id), created_at, count(*), delta_type = 'deleted'
FROM {TABLE} WHERE id BETWEEN ? AND ? GROUP BY session_id
ON CONFLICT(session_id) DO UPDATE SET
  seq = excluded.seq, recorded_at = excluded.recorded_at,
  count = count + excluded.count, deleted = excluded.deleted
"""


_GIVEN = f"SELECT max(seq) FROM sqlite_sequence WHERE name = '{TABLE}'"
_BLOBS = tuple(index for index, name in enumerate(COLUMNS) if name in ("id_digest", "hash"))
_SLICE_END = f"""
SELECT max(id) FROM (
  SELECT id, sum({SIZE}) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
  FROM {TABLE} WHERE id > ? AND id <= ? ORDER BY id LIMIT ?) WHERE ifnull(before, 0) < {SLICE_BYTES}
"""
_EXPORT = (
    "SELECT json_group_array(json_array("
    + ",".join(f"hex({name})" if index in _BLOBS else name for index, name in enumerate(COLUMNS))
    + f")) FROM (SELECT * FROM {TABLE} WHERE id > ? AND id <= ? ORDER BY id)"
)


class LogBroken(Exception):
    """Entries are missing from the log in memory: no file may say that it has them."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The first and last seq and the number of entries of a log.

    Args:
        count: How many entries.
        first, last: The seqs of the first and the last of them; 0 where there is none.
    """

    count: int
    first: int
    last: int


# Where it begins and ends.


def pruned_through(conn: sqlite3.Connection) -> int:
    """Return the highest seq that retention removed; 0 for none."""
    row = conn.execute("SELECT last_seq FROM prunes ORDER BY id DESC LIMIT 1").fetchone()
    return 0 if row is None else int(row[0])


def given(conn: sqlite3.Connection) -> int:
    """Return the highest seq that a database has ever had, whether it is still there or not; 0 for none."""
    row = conn.execute(_GIVEN).fetchone()
    return int(row[0] or 0)


def set_given(conn: sqlite3.Connection, seq: int) -> None:
    """Register that a database has had everything up to a seq, inside the caller's transaction."""
    conn.execute(f"DELETE FROM sqlite_sequence WHERE name = '{TABLE}'")
    conn.execute(f"INSERT INTO sqlite_sequence(name, seq) VALUES ('{TABLE}', ?)", (seq,))


def bounds(conn: sqlite3.Connection) -> tuple[int, int]:
    """Return the seqs of the first and the last entry; 0 where there is none. Two searches, however long the log."""
    first, last = conn.execute(
        f"SELECT (SELECT min(id) FROM {TABLE}), (SELECT max(id) FROM {TABLE})"
    ).fetchone()
    return first or 0, last or 0


def extent(conn: sqlite3.Connection) -> Extent:
    """Return what a log has, by counting its rows."""
    count, first, last = conn.execute(f"SELECT count(*), min(id), max(id) FROM {TABLE}").fetchone()
    return Extent(count, first or 0, last or 0)


def end(conn: sqlite3.Connection) -> tuple[int, bytes | None, str]:
    """Return where a log ends, also where all of it was pruned: the seq, the hash there, the time of recording.

    It is (0, None, "") where there never was anything.
    """
    row = conn.execute(f"SELECT id, hash, created_at FROM {TABLE} ORDER BY id DESC LIMIT 1").fetchone()
    if row is None:
        row = conn.execute(
            "SELECT last_seq, last_hash, last_recorded_at FROM prunes ORDER BY id DESC LIMIT 1"
        ).fetchone()
    return (0, None, "") if row is None else (int(row[0]), row[1], row[2])


def gap(conn: sqlite3.Connection) -> str | None:
    """Return how the log is not gapless from what retention removed to the last number given; None where it is."""
    pruned, has = pruned_through(conn), extent(conn)
    first, last = (has.first, has.last) if has.count else (pruned + 1, pruned)
    if first <= pruned:
        return f"entry {first} is there, though everything up to {pruned} was pruned"
    if first > pruned + 1:
        return f"entries {pruned + 1} to {first - 1} are missing"
    if last < given(conn):
        return f"entries {last + 1} to {given(conn)} are missing"
    missing = last - pruned - has.count
    return f"{missing} entries before {last} are missing" if missing else None


# At a place in it.


def stored_hash(conn: sqlite3.Connection, seq: int) -> tuple[bytes | None] | None:
    """Return the hash of an entry as it is stored, or that of a receipt that ends there; None for neither."""
    row = conn.execute(f"SELECT hash FROM {TABLE} WHERE id = ?", (seq,)).fetchone()
    if row is None:
        # Right before the oldest that is kept: the receipt of what was pruned has it.
        row = conn.execute("SELECT last_hash FROM prunes WHERE last_seq = ?", (seq,)).fetchone()
    return None if row is None else (row[0],)


def hash_at(conn: sqlite3.Connection, seq: int) -> bytes | None:
    """Return what the link of the entry after a seq covers; None where that seq was pruned, or never was."""
    row = stored_hash(conn, seq)
    if row is None and seq:
        return None
    # It begins there again after an entry without a hash.
    return GENESIS if row is None or row[0] is None else bytes(row[0])


def first_at(conn: sqlite3.Connection, time: str) -> int | None:
    """Return the first entry recorded at or after a time; None where there is none."""
    row = conn.execute(
        f"SELECT id FROM {TABLE} WHERE created_at >= ? ORDER BY created_at, id LIMIT 1", (time,)
    ).fetchone()
    return None if row is None else int(row[0])


def last_at(conn: sqlite3.Connection, time: str) -> int:
    """Return the last entry recorded at or before a time; 0 where there is none."""
    row = conn.execute(
        f"SELECT id FROM {TABLE} WHERE created_at <= ? ORDER BY created_at DESC, id DESC LIMIT 1", (time,)
    ).fetchone()
    return 0 if row is None else int(row[0])


# Stretches of it.


def rows(conn: sqlite3.Connection, after: int, limit: int = -1) -> sqlite3.Cursor:
    """Return the next entries after a seq, in order, all columns; at most `limit`, or all."""
    return conn.execute(f"SELECT {NAMES} FROM {TABLE} WHERE id > ? ORDER BY id LIMIT ?", (after, limit))


def seqs(conn: sqlite3.Connection, after: int, *, descending: bool = False) -> sqlite3.Cursor:
    """Return the seqs of the entries after a seq, as they are there, from either end."""
    order = "DESC" if descending else "ASC"
    return conn.execute(f"SELECT id FROM {TABLE} WHERE id > ? ORDER BY id {order}", (after,))


def stretch(low: int, high: int, limit: int, *, descending: bool) -> tuple[str, tuple[int, int]]:
    """Return SQL, and its parameters, for the first `limit` entries between two seqs: they need not be looked for."""
    if descending:
        return "id BETWEEN ? AND ?", (max(low, high - limit + 1), high)
    return "id BETWEEN ? AND ?", (low, min(high, low + limit - 1))


def export_slice(conn: sqlite3.Connection, after: int, through: int, limit: int) -> str:
    """Return the next entries after a seq as one JSON text for `import_slice`.

    Args:
        conn: The database.
        after, through: From where to where.
        limit: How many at most; fewer where their states take more than `SLICE_BYTES`, but one at least.

    Raises:
        LogBroken: There is none.
    """
    last = conn.execute(_SLICE_END, (after, through, limit)).fetchone()[0]
    if last is None:
        raise LogBroken(f"entries {after + 1} to {through} are missing from memory")
    return str(conn.execute(_EXPORT, (after, last)).fetchone()[0])


def import_slice(conn: sqlite3.Connection, text: str, after: int) -> int:
    """Insert entries from `export_slice`, inside the caller's transaction; how many they are.

    Raises:
        LogBroken: They are not all that follow the seq `after`.
    """
    found = orjson.loads(text)
    if [row[0] for row in found] != list(range(after + 1, after + 1 + len(found))):
        raise LogBroken(f"entries between seq {after} and seq {found[-1][0]} are missing from memory")
    values: list[Any] = []
    for row in found:
        for index in _BLOBS:
            row[index] = bytes.fromhex(row[index]) if row[index] else None
        values += row
    append_rows(conn, values, found[0][0], found[-1][0])
    return len(found)


def ids(conn: sqlite3.Connection, after: int, limit: int) -> list[tuple[str, int, bytes]]:
    """Return (id, seq, digest of the content) of the next ids after a seq, those kept of what was pruned among them."""
    return conn.execute(
        "SELECT * FROM (SELECT * FROM (SELECT delta_id, seq, id_digest FROM pruned_ids WHERE seq > :after"
        " ORDER BY seq LIMIT :most) UNION ALL SELECT * FROM (SELECT delta_id, id, id_digest"
        f" FROM {TABLE} WHERE delta_id IS NOT NULL AND id > :after ORDER BY id LIMIT :most))"
        " ORDER BY 2 LIMIT :most",
        {"after": after, "most": limit},
    ).fetchall()


def delete(conn: sqlite3.Connection, first: int, last: int) -> int:
    """Remove the entries from one seq to another, inside the caller's transaction; how many they were."""
    return conn.execute(f"DELETE FROM {TABLE} WHERE id BETWEEN ? AND ?", (first, last)).rowcount


def touch_states(conn: sqlite3.Connection, first: int, last: int) -> None:
    """Update the sessions' states with the entries from one seq to another."""
    conn.execute(_TOUCH_STATES, (first, last))


# What goes in.


def flat(entries: Sequence[Entry]) -> list[Any]:
    """Return the columns of entries, one row after the other, for `append_rows` and the commit log."""
    values: list[Any] = []
    for entry in entries:
        # An entry's fields are the columns, in their order, but for the frame at its end.
        values += astuple(entry)[:WIDTH]
    return values


def is_row(values: Sequence[Any]) -> bool:
    """Return whether the values have the types of a row's columns as recorders write them."""
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
    touch_states(conn, first, last)


def append_entries(conn: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Append entries, at least one."""
    if any(entry.id is not None or entry.lineage is not None for entry in entries):
        _insert(conn, _INSERTS, WIDTH, flat(entries))
    else:
        # Most have only the common columns, and binding a NULL costs as much as binding a value.
        values: list[Any] = []
        for each in entries:
            values += (
                each.seq, each.session_id, each.type, each.before, each.after, each.timestamp,
                each.recorded_at, each.before_filled, each.hash,
            )  # fmt: skip
        _insert(conn, _COMMON_INSERTS, len(_COMMON), values)
    touch_states(conn, entries[0].seq, entries[-1].seq)


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
