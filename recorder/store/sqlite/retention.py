"""Removing the oldest, in slices, without losing what the living sessions' states are.

Entries leave in order: everything up to a seq, so what stays is one gapless run. Each slice is one transaction that
first keeps, in `session_bases`, the state of every session that lives at the cut. The same function prunes the
database in memory and the file, so both agree on what went.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from recorder.store.sqlite import span
from recorder.store.sqlite.receipts import Sign, sign_receipt
from recorder.store.sqlite.rows import Transaction

VACUUM_PAGES = 2000
_LAST = (
    "SELECT max(id) AS id, session_id, created_at, after_state, delta_type"
    f" FROM {span.TABLE} WHERE id BETWEEN ? AND ? GROUP BY session_id"
)
_KEEP_BASES = f"""
INSERT INTO session_bases(session_id, seq, recorded_at, state, state_digest)
SELECT session_id, id, created_at, after_state, after_digest
FROM ({_LAST}) LEFT JOIN erased_states ON seq = id WHERE delta_type <> 'deleted'
ON CONFLICT(session_id) DO UPDATE SET
  seq = excluded.seq, recorded_at = excluded.recorded_at,
  state = excluded.state, state_digest = excluded.state_digest
"""
_DROP_BASES = f"""
DELETE FROM session_bases WHERE session_id IN (SELECT session_id FROM ({_LAST}) WHERE delta_type = 'deleted')
"""
_KEEP_IDS = f"""
INSERT OR REPLACE INTO pruned_ids(delta_id, seq, id_digest)
SELECT delta_id, id, id_digest FROM {span.TABLE} WHERE id BETWEEN ? AND ? AND delta_id IS NOT NULL
"""
_COUNT_DOWN = f"""
UPDATE session_states SET count = session_states.count - gone.count FROM (
  SELECT session_id, count(*) AS count FROM {span.TABLE} WHERE id BETWEEN ? AND ? GROUP BY session_id
) AS gone WHERE gone.session_id = session_states.session_id
"""
_FORGET_DELETED = f"""
DELETE FROM session_states WHERE deleted = 1 AND count = 0 AND session_id IN (
  SELECT session_id FROM {span.TABLE} WHERE id BETWEEN ? AND ?)
"""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receipt for what one rule has removed; a row of the table `prunes`.

    Args:
        number: The row's id.
        policy: The rule, with its value: "30 days", "1000 deltas".
        pruned_at: When the last run of it began (fixed-width form).
    """

    number: int
    policy: str
    pruned_at: str


@dataclass(frozen=True, slots=True)
class Slice:
    """The limits on what one transaction removes.

    Args:
        rows: Entries.
        size: Bytes, reckoned by what an entry takes on average.
    """

    rows: int
    size: int


MEMORY_SLICE = Slice(250, 1 << 20)
"""In memory recording waits for a slice: one to three milliseconds. Larger ones would hardly save any work."""
FILE_SLICE = Slice(20_000, 64 << 20)
"""On disk nobody waits, and each transaction costs several fsyncs."""


def new_receipt(conn: sqlite3.Connection, policy: str, pruned_at: str, closed: int = 0) -> Receipt:
    """Return the receipt for a run that begins.

    A run by the same rule as the one before goes on with its receipt: a limit that is passed every few seconds would
    fill the table otherwise. Not so with one that was not signed when the recorder started: what it says is not ours.

    Args:
        conn: The database.
        policy: The rule.
        pruned_at: When the run begins.
        closed: The number of the last receipt that no run may go on with.
    """
    last = conn.execute("SELECT id, policy FROM prunes ORDER BY id DESC LIMIT 1").fetchone() or (0, None)
    return Receipt(last[0] if last[1] == policy and last[0] > closed else last[0] + 1, policy, pruned_at)


def receipts_after(conn: sqlite3.Connection, seq: int) -> list[tuple[Receipt, int]]:
    """Return the receipts of what was removed after a seq, in order, each with the last seq that it covers."""
    rows = conn.execute(
        "SELECT id, policy, pruned_at, last_seq FROM prunes WHERE last_seq > ? ORDER BY id", (seq,)
    ).fetchall()
    return [(Receipt(number, policy, pruned_at), last) for number, policy, pruned_at, last in rows]


def prune_slice(
    conn: sqlite3.Connection,
    through: int,
    receipt: Receipt,
    keep_ids: int,
    most: Slice,
    sign: Sign | None = None,
) -> tuple[int, int]:
    """Remove the next slice of entries up to a seq, in one transaction.

    Args:
        conn: The database.
        through: The highest seq that may go.
        receipt: The run it belongs to.
        keep_ids: How many ids of removed deltas are remembered.
        most: How much at once.
        sign: Signs the receipt and the bases as they are after the slice. None leaves it unsigned.

    Returns:
        How many entries it removed, and the highest seq removed now (0 if none).
    """
    first, head = span.bounds(conn)
    if not first or first > through:
        return 0, 0
    rows = min(most.rows, most.size * (head - first + 1) // used_bytes(conn))
    last = min(through, head, first + max(rows, 1) - 1)
    removed = (first, last)
    with Transaction(conn):
        conn.execute(_KEEP_BASES, removed)
        conn.execute(_DROP_BASES, removed)
        conn.execute(_KEEP_IDS, removed)
        conn.execute(
            "DELETE FROM pruned_ids WHERE seq <= (SELECT seq FROM pruned_ids ORDER BY seq DESC LIMIT 1 OFFSET ?)",
            (keep_ids,),
        )
        conn.execute(_COUNT_DOWN, removed)
        conn.execute(_FORGET_DELETED, removed)
        _note(conn, first, last, receipt)
        if sign is not None:
            sign_receipt(conn, receipt.number, sign)
        conn.execute("DELETE FROM erased_states WHERE seq BETWEEN ? AND ?", removed)
        count = span.delete(conn, first, last)
    return count, last


def _note(conn: sqlite3.Connection, first: int, last: int, receipt: Receipt) -> None:
    """Write the slice into the run's receipt: with it the chain can be verified on from the cut.

    What was signed before said less than the receipt says now, so the signature goes.
    """
    conn.execute(
        "INSERT INTO prunes(id, first_seq, last_seq, count, first_hash, last_hash, last_recorded_at, policy, pruned_at)"
        " SELECT ?, ?, ?, ?, a.hash, b.hash, b.created_at, ?, ?"
        f" FROM {span.TABLE} a, {span.TABLE} b WHERE a.id = ? AND b.id = ?"
        " ON CONFLICT(id) DO UPDATE SET last_seq = excluded.last_seq, count = count + excluded.count,"
        " last_hash = excluded.last_hash, last_recorded_at = excluded.last_recorded_at,"
        " pruned_at = excluded.pruned_at, bases_digest = NULL, key_id = NULL, signature = NULL",
        (receipt.number, first, last, last - first + 1, receipt.policy, receipt.pruned_at, first, last),
    )


def vacuum_slice(conn: sqlite3.Connection) -> int:
    """Release some free pages of a file to the file system, in one transaction; return how many are left."""
    # Not `execute`: it takes a single step of a statement that has no columns, which frees a single page.
    conn.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
    return int(conn.execute("PRAGMA freelist_count").fetchone()[0])


def used_bytes(conn: sqlite3.Connection) -> int:
    """Return the bytes in use of a database."""
    pages, free, size = (
        conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
