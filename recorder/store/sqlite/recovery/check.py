"""Is a database sound? Asked at each start, of the copy in memory, before anything is written.

Four questions, each cheaper than the loading itself: are the pages a database (`quick_check`), are the tables and
triggers ours, is the log gapless from the last receipt to the last number given, and do the last `TAIL` links hold.
What the whole chain, the receipts and every digest say is the doctor's business: it takes longer.

More tables and indexes than ours do no harm and are let be; triggers would change what is written, and are not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from recorder.core.chain import GENESIS, digest, link
from recorder.core.errors import StoreDamaged
from recorder.store.sqlite import migrations, schema, span

TAIL = 1000
"""How many of the last entries have their links checked."""

Erased = dict[int, tuple[bytes | None, bytes | None]]
"""The digests of states that were erased: before and after, by seq."""


def check(conn: sqlite3.Connection) -> None:
    """Check a database, which may have an older version of the schema.

    Raises:
        StoreDamaged: What is wrong first.
        sqlite3.Error: It can't be read.
    """
    damage = _pages(conn) or _definitions(conn) or span.gap(conn) or _tail(conn)
    if damage is not None:
        raise StoreDamaged(damage)


def states_fit(conn: sqlite3.Connection) -> bool:
    """Return whether the cached states can match the log, by their counts; if not, they can be rebuilt."""
    counted, seq = conn.execute(
        "SELECT ifnull(sum(count), 0), ifnull(max(seq), 0) FROM session_states"
    ).fetchone()
    has = span.extent(conn)
    sessions = conn.execute("SELECT count(*) FROM session_states").fetchone()
    told = conn.execute("SELECT value FROM counters WHERE name = 'sessions'").fetchone()
    return bool(counted == has.count and (not has.count or seq == has.last) and sessions == told)


def erased_digests(conn: sqlite3.Connection, after: int = 0) -> Erased:
    """Return the digests of erased states of entries after a seq."""
    if schema.version(conn) < 2:  # there was no erasing
        return {}
    rows = conn.execute("SELECT seq, before_digest, after_digest FROM erased_states WHERE seq > ?", (after,))
    return {seq: (before, after) for seq, before, after in rows}


def break_in(rows: Iterable[Sequence[Any]], head: int, previous: bytes, erased: Erased) -> str | None:
    """Return a description of the first place where rows (all columns, in order) do not continue the chain;
    None if they do.

    Args:
        rows: Of the log.
        head, previous: The seq before the first, and the chain's hash there.
        erased: The digests of states that are not there any more.
    """
    for row in rows:
        seq, found = row[0], row[-1]
        if seq != head + 1:
            return f"entries {head + 1} to {seq - 1} are missing"
        if found is not None and not _is_linked(row, previous, erased):
            return f"entry {seq} is not what its hash says"
        head, previous = seq, found or GENESIS
    return None


def expected_hash(row: Sequence[Any], previous: bytes, erased: Erased) -> bytes:
    """Return the hash that an entry should have after the previous hash."""
    seq, session, kind, before, after, happened, recorded, delta_id, id_digest, filled, lineage, _ = row
    digests = (None if before is None else digest(before), None if after is None else digest(after))
    if seq in erased:
        kept = erased[seq]
        digests = (digests[0] or kept[0], digests[1] or kept[1])
    return link(
        previous,
        seq,
        (session, kind),
        digests,
        (happened, recorded),
        (delta_id, id_digest, bool(filled), lineage),
    )


def _is_linked(row: Sequence[Any], previous: bytes, erased: Erased) -> bool:
    """Return whether a row's hash is the expected one."""
    try:
        return bool(row[-1] == expected_hash(row, previous, erased))
    except (AttributeError, TypeError, ValueError):
        # A value of another type than is ever stored, as a flipped bit makes of a text: no hash stands for it.
        return False


def _pages(conn: sqlite3.Connection) -> str | None:
    found = str(conn.execute("PRAGMA quick_check(1)").fetchone()[0])
    return None if found == "ok" else " ".join(found.replace("*** in database main ***", "").split())


def _definitions(conn: sqlite3.Connection) -> str | None:
    expected = migrations.definitions(schema.version(conn))
    found = migrations.definitions_of(conn)
    for name, text in expected.items():
        if name not in found:
            return f"no such table: {name}" if text.startswith("CREATE TABLE") else f"{name} is missing"
        if found[name] != text:
            return f"{name} is not defined as it should be"
    more = migrations.triggers_of(conn) - expected.keys()
    return f"there is a trigger that is not ours: {min(more)}" if more else None


def _tail(conn: sqlite3.Connection) -> str | None:
    head = max(span.bounds(conn)[1] - TAIL, span.pruned_through(conn))
    previous = span.hash_at(conn, head) or GENESIS
    return break_in(span.rows(conn, head), head, previous, erased_digests(conn, head))
