"""The check before signing continues: the content of a file must have been signed with this key.

Asked at each start, of the copy in memory, before anything is signed; and again while a recorder runs, as soon as
SQLite says that another program has written to the file. The last head of a key of ours must be right and be where the
file ends; the last receipt must be signed, and lead to the first entry; the states and ids kept for what was pruned must
be those that it seals; epochs, heads, receipts must be those of the seal. Links in the middle are the doctor's business.

What an older release, or a run without a key, has left unsigned is *adopted*: a signed statement says so for ever. All
else that does not hold is refused (`store_damaged`), unless the operator accepts the gap, which is signed, too.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from recorder.auth.signing import is_signed
from recorder.core.chain import GENESIS
from recorder.core.statements import Head, Signed, statement_bytes
from recorder.store.sqlite import span
from recorder.store.sqlite.receipts import (
    digest_of_bases,
    end_of,
    read_heads,
    read_receipts,
    read_seal,
    seal_of,
)
from recorder.store.sqlite.recovery.check import break_in, erased_digests
from recorder.store.sqlite.rows import get_meta


@dataclass(frozen=True, slots=True)
class Unverified:
    """The part of a file that no signature of this key covers.

    Args:
        first_seq, seq: The entries, from where to where.
        hash: The chain's hash at the last one.
        reason: Why, in words.
        is_expected: Whether an older release, or a run without a key, leaves a file like this.
    """

    first_seq: int
    seq: int
    hash: bytes | None
    reason: str
    is_expected: bool


def unverified(
    conn: sqlite3.Connection, trusted: frozenset[str], sealed: frozenset[str] = frozenset()
) -> Unverified | None:
    """Return what of a database nothing vouches for; None where all of it can be signed on.

    Args:
        conn: The database, of today's schema.
        trusted: The ids of the keys that are ours, or were.
        sealed: The epochs in which a file was sealed with our key: one of these without a seal has lost it.
    """
    seq, count, found = end_of(conn)
    if not seq:
        return None
    first = seq - count + 1
    meta = get_meta(conn)
    # An older release leaves no tenure, and no seal in any epoch. A run without a key says so.
    is_older = "tenure" not in meta and sealed.isdisjoint(_epochs(conn))
    is_lenient = is_older or ("tenure" in meta and meta.get("unsigned") == "1")
    head = _last_own_head(conn, trusted)
    if head is None:
        return Unverified(first, seq, found, "no signed head of a key that is known here", True)
    damage = _head_damage(conn, head, (seq, found)) or _receipt_damage(conn, trusted)
    if damage is not None:
        return Unverified(first, seq, found, damage, False)
    after = max(first, head.payload.seq + 1)
    if (head.payload.seq, head.payload.seq - head.payload.count) != (seq, seq - count):
        says = f"the last signed head says {head.payload.seq}, with {head.payload.count} kept"
        reason = f"{says}; it ends at {seq}, with {count}"
        return Unverified(min(after, seq), seq, found, reason, is_lenient)
    unsealed = _unsealed(conn, trusted, is_older=is_older)
    return None if unsealed is None else Unverified(first, seq, found, unsealed, is_lenient)


def _epochs(conn: sqlite3.Connection) -> set[str]:
    """Return the epochs that the file names, in its table and in its heads."""
    named = {str(epoch) for (epoch,) in conn.execute("SELECT epoch FROM epochs")}
    return named | {head.payload.epoch for head in read_heads(conn)}


def _last_own_head(conn: sqlite3.Connection, trusted: frozenset[str]) -> Signed[Head] | None:
    for head in reversed(read_heads(conn)):
        if head.by is not None and head.by.key_id in trusted:
            return head
    return None


def _head_damage(conn: sqlite3.Connection, head: Signed[Head], end: tuple[int, bytes | None]) -> str | None:
    """Return how the last head of ours does not hold, or contradicts the entries."""
    by, said = head.by, head.payload
    if by is None or not is_signed(by.key_id, statement_bytes(said), by.signature):
        return f"the last signed head (seq {said.seq}) is not what was signed"
    if said.seq > end[0]:
        return f"the last signed head says {said.seq}, and it ends at {end[0]}"
    row = span.stored_hash(conn, said.seq)
    if said.seq and row is not None and row[0] != said.hash:
        return f"the last signed head has another hash at seq {said.seq}: what is there was rewritten"
    if conn.execute("SELECT 1 FROM epochs WHERE epoch = ?", (said.epoch,)).fetchone() is None:
        return f"the last signed head is of epoch {said.epoch}, which the table of epochs does not have"
    return None


def _receipt_damage(conn: sqlite3.Connection, trusted: frozenset[str]) -> str | None:
    """Return how the last receipt does not hold, or does not lead to what is there."""
    receipts = read_receipts(conn)
    if not receipts:
        kept = conn.execute("SELECT (SELECT count(*) FROM session_bases) + (SELECT count(*) FROM pruned_ids)")
        return (
            "states or ids are kept for what was pruned, and no receipt says so"
            if kept.fetchone()[0]
            else None
        )
    last = receipts[-1]
    if last.by is not None:
        if last.by.key_id in trusted and not is_signed(
            last.by.key_id, statement_bytes(last.payload), last.by.signature
        ):
            return "the last receipt of a prune is not what was signed"
        if last.payload.bases_digest is not None and last.payload.bases_digest != digest_of_bases(conn):
            return "the states or ids kept of what was pruned are not those that the last receipt sealed"
    row = span.rows(conn, 0, 1).fetchone()
    if row is None:
        return None
    erased = erased_digests(conn, last.payload.last_seq)
    return break_in((row,), last.payload.last_seq, last.payload.last_hash or GENESIS, erased)


def _unsealed(conn: sqlite3.Connection, trusted: frozenset[str], *, is_older: bool) -> str | None:
    """Return what beside the entries is not as it was sealed; None where it is, or where older releases left it so."""
    seal = read_seal(conn)
    if seal is None:
        if not is_older:
            return "the seal of the file is gone"
        unsigned = conn.execute("SELECT count(*) FROM prunes WHERE signature IS NULL").fetchone()[0]
        return f"{unsigned} receipt(s) of prunes are not signed" if unsigned else None
    by = seal.by
    if (
        by is None
        or by.key_id not in trusted
        or not is_signed(by.key_id, statement_bytes(seal.payload), by.signature)
    ):
        return "the seal of the file is not what was signed"
    now = seal_of(conn)
    for name in ("recording", "epochs", "heads", "receipts", "adoptions"):
        if getattr(now, name) != getattr(seal.payload, name):
            return f"the {name} in the file are not those that were sealed"
    return None
