"""Forgeries: what somebody who may write to a database file, and has no key, could make of it.

Each mends what can be mended without a key: hashes, counters, the cache of the states.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from recorder.core.chain import GENESIS, digest, link
from recorder.store.sqlite.rows import rebuild_states
from recorder.store.sqlite.schema import COLUMNS

LIE = '{"n":0,"forged":true}'


def _rewrite(conn: sqlite3.Connection) -> None:
    """Change a state, and make every hash behind it anew."""
    seq, previous = conn.execute(
        "SELECT id, hash FROM session_deltas ORDER BY id LIMIT 1 OFFSET 10"
    ).fetchone()
    conn.execute("UPDATE session_deltas SET after_state = ? WHERE id = ?", (LIE, seq + 1))
    columns = ",".join(COLUMNS)
    rows = conn.execute(f"SELECT {columns} FROM session_deltas WHERE id > ? ORDER BY id", (seq,)).fetchall()
    for number, session, kind, before, after, happened, recorded, *extras, _ in rows:
        delta_id, id_digest, filled, lineage = extras
        digests = (None if before is None else digest(before), None if after is None else digest(after))
        times = (happened, recorded)
        more = (delta_id, id_digest, bool(filled), lineage)
        previous = link(previous or GENESIS, number, (session, kind), digests, times, more)
        conn.execute("UPDATE session_deltas SET hash = ? WHERE id = ?", (previous, number))
    rebuild_states(conn)


def _rewrite_without_heads(conn: sqlite3.Connection) -> None:
    """Do the same, and delete every signed statement about the end."""
    _rewrite(conn)
    conn.execute("DELETE FROM heads")
    conn.execute("DELETE FROM meta WHERE key = 'seal'")


def _insert_receipt(conn: sqlite3.Connection) -> None:
    """Delete the oldest entries that are kept, and say in a receipt that retention did."""
    columns = "id, hash, created_at"
    rows = conn.execute(f"SELECT {columns} FROM session_deltas ORDER BY id LIMIT 10").fetchall()
    (first, first_hash, _), (last, last_hash, at) = rows[0], rows[-1]
    conn.execute("DELETE FROM session_deltas WHERE id <= ?", (last,))
    conn.execute(
        "INSERT INTO prunes(first_seq, last_seq, count, first_hash, last_hash, last_recorded_at, policy, pruned_at)"
        " VALUES (?, ?, ?, ?, ?, ?, '40 deltas', ?)",
        (first, last, last - first + 1, first_hash, last_hash, at, at),
    )
    rebuild_states(conn)


def _edit_base(conn: sqlite3.Connection) -> None:
    """Change a state that is kept for what was pruned."""
    conn.execute("UPDATE session_bases SET state = ?", (LIE,))
    rebuild_states(conn)


def _edit_receipt(conn: sqlite3.Connection) -> None:
    """Say that more was pruned than was, under another rule."""
    conn.execute(
        "UPDATE prunes SET policy = 'none', count = count + 1 WHERE id = (SELECT max(id) FROM prunes)"
    )


def _edit_epochs(conn: sqlite3.Connection) -> None:
    conn.execute("UPDATE epochs SET cause = 'none'")


def _on(work: Callable[[sqlite3.Connection], None]) -> Callable[[Path], None]:
    """Return `work` in a transaction on a file that nobody has open."""

    def forge(database: Path) -> None:
        with closing(sqlite3.connect(database)) as conn, conn:
            work(conn)

    return forge


FORGERIES: dict[str, Callable[[Path], None]] = {
    "entry": _on(_rewrite),
    "entry-without-heads": _on(_rewrite_without_heads),
    "new-receipt": _on(_insert_receipt),
    "kept-state": _on(_edit_base),
    "receipt": _on(_edit_receipt),
    "epochs": _on(_edit_epochs),
}
"""What is forged, by name."""
