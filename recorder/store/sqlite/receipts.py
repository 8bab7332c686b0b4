"""The signed statements in a database: receipts of prunes, and heads.

Signed on the file alone, in the transaction that makes it true; the database in memory gets the signatures afterwards,
so that they can be asked for. A head says where the file ends, a receipt what was taken from it. The states and ids that
are kept of what was pruned (`session_bases`, `pruned_ids`) are sealed by the last receipt: its `bases_digest` covers
them all, and is made with each slice of a prune.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any

from recorder.core.statements import (
    Adoption,
    ErasureReceipt,
    Head,
    PruneReceipt,
    Seal,
    Signature,
    Signed,
    Statement,
    bases_digest,
    rows_digest,
    statement_bytes,
)
from recorder.store.contract import Receipts
from recorder.store.sqlite import span
from recorder.store.sqlite.rows import set_meta

KEPT_HEADS = 1000
"""How many heads a database keeps; the oldest are forgotten."""


class Signer:
    """Signs statements.

    Args:
        key_id: The key's id.
        sign: Signs bytes with it.
        known: The ids of the keys whose signatures are believed, beside it.
        sealed: The epochs in which a file was sealed with the key.
        note_sealed: Adds an epoch to these, for later starts.
    """

    def __init__(
        self,
        key_id: str,
        sign: Callable[[bytes], bytes],
        known: frozenset[str],
        sealed: frozenset[str] = frozenset(),
        note_sealed: Callable[[str], None] = lambda epoch: None,
    ) -> None:
        self._key_id = key_id
        self._sign = sign
        self.trusted = known | {key_id}  # the keys that are ours, or were
        self.sealed = sealed
        self.note_sealed = note_sealed

    def __call__(self, statement: Statement) -> Signature:
        """Sign a statement."""
        return Signature(self._key_id, self._sign(statement_bytes(statement)))


Sign = Signer
"""Signs a statement."""

_RECEIPT = "id, first_seq, last_seq, count, first_hash, last_hash, last_recorded_at, policy, pruned_at"


def signer(
    key_id: str,
    sign: Callable[[bytes], bytes],
    known: frozenset[str] = frozenset(),
    sealed: frozenset[str] = frozenset(),
    note_sealed: Callable[[str], None] = lambda epoch: None,
) -> Signer:
    """Return what signs statements; the arguments are those of `Signer`."""
    return Signer(key_id, sign, known, sealed, note_sealed)


def digest_of_bases(conn: sqlite3.Connection) -> bytes:
    """Return the `statements.bases_digest` of the states and ids that are kept of pruned entries."""
    erased = "state_digest" if _has_column(conn, "session_bases", "state_digest") else "NULL"
    rows = conn.execute(
        f"SELECT session_id, seq, recorded_at, CAST(state AS BLOB), {erased} FROM session_bases ORDER BY session_id"
    )
    return bases_digest(
        (
            (session, seq, at, digest if state is None else sha256(state).digest())
            for session, seq, at, state, digest in rows
        ),
        conn.execute("SELECT delta_id, seq, id_digest FROM pruned_ids ORDER BY delta_id"),
    )


def sign_receipt(conn: sqlite3.Connection, number: int, sign: Sign) -> None:
    """Sign a receipt as it is now, with the bases as they are. Inside the caller's transaction.

    Args:
        conn: The database.
        number: The row of `prunes`.
        sign: The signer.
    """
    bases = digest_of_bases(conn)
    conn.execute("UPDATE prunes SET bases_digest = ? WHERE id = ?", (bases, number))
    row = conn.execute(f"SELECT {_RECEIPT}, bases_digest FROM prunes WHERE id = ?", (number,)).fetchone()
    signature = sign(PruneReceipt(*row))
    conn.execute(
        "UPDATE prunes SET key_id = ?, signature = ? WHERE id = ?",
        (signature.key_id, signature.signature, number),
    )


def seal_bases(conn: sqlite3.Connection, sign: Sign) -> None:
    """Sign the last receipt anew, where there is one: the bases have changed. Inside the caller's transaction."""
    last = conn.execute("SELECT max(id) FROM prunes").fetchone()[0]
    if last is not None:
        sign_receipt(conn, last, sign)


def add_head(conn: sqlite3.Connection, epoch: str, time: str, sign: Sign) -> None:
    """Write down and sign where a file ends. Inside the caller's transaction, which ends with all of it on disk."""
    seq, count, found = end_of(conn)
    signature = sign(Head(epoch, seq, count, found, time, seq))
    conn.execute(
        "INSERT INTO heads(epoch, seq, count, hash, at, key_id, signature) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (epoch, seq, count, found, time, signature.key_id, signature.signature),
    )
    conn.execute("DELETE FROM heads WHERE id <= (SELECT max(id) FROM heads) - ?", (KEPT_HEADS,))


def read_adoptions(conn: sqlite3.Connection) -> list[Signed[Adoption]]:
    """Return what was taken over without having been verified, in order; what cannot be read is left out."""
    found = []
    for item in _facts_list(conn, "adoptions"):
        try:
            kind, first, seq, hash_, at, reason, key_id, signature = item
            said = Adoption(kind, first, seq, None if hash_ is None else bytes.fromhex(hash_), at, reason)
            found.append(Signed(said, Signature(key_id, bytes.fromhex(signature))))
        except (ValueError, TypeError):
            continue
    return found


def add_adoption(conn: sqlite3.Connection, said: Adoption, sign: Sign) -> None:
    """Sign what is taken over, and the bases with it; it is kept for ever. Inside the caller's transaction."""
    by = sign(said)
    item = [said.kind, said.first_seq, said.seq, said.hash and said.hash.hex(), said.at, said.reason]
    found = [*_facts_list(conn, "adoptions"), [*item, by.key_id, by.signature.hex()]]
    set_meta(conn, adoptions=json.dumps(found))
    seal_bases(conn, sign)


def read_seal(conn: sqlite3.Connection) -> Signed[Seal] | None:
    """Return the seal of a file; None where it has none that can be read."""
    try:
        recording, *digests, key_id, signature = _facts_list(conn, "seal")
        epochs, heads, receipts, adoptions = map(bytes.fromhex, digests)
        return Signed(
            Seal(recording, epochs, heads, receipts, adoptions), Signature(key_id, bytes.fromhex(signature))
        )
    except (ValueError, TypeError):
        return None


def seal_of(conn: sqlite3.Connection) -> Seal:
    """Return what a seal of a file as it is now says."""
    recording = conn.execute("SELECT value FROM meta WHERE key = 'recording'").fetchone()
    adoptions = conn.execute("SELECT value FROM meta WHERE key = 'adoptions'").fetchone()
    rows = conn.execute
    return Seal(
        "" if recording is None else text_of(recording[0]),
        rows_digest(_plain(rows("SELECT * FROM epochs ORDER BY epoch"))),
        # As one text that SQLite makes: there are many, they are sealed with each transaction, and the event loop must
        # not wait for it.
        rows_digest(
            _plain(
                rows(
                    "SELECT group_concat(id || ':' || hex(signature), ',')"
                    " FROM (SELECT id, signature FROM heads ORDER BY id)"
                )
            )
        ),
        rows_digest(
            _plain(
                rows(
                    "SELECT 'p', id, first_seq, last_seq, last_hash, signature FROM prunes UNION ALL"
                    " SELECT 'e', id, first_seq, last_seq, digest, signature FROM erasures ORDER BY 1, 2"
                )
            )
        ),
        rows_digest(_plain([] if adoptions is None else [adoptions])),
    )


def write_seal(conn: sqlite3.Connection, sign: Sign) -> None:
    """Seal what stands beside the entries. Inside the caller's transaction, as its last step but the turn."""
    said = seal_of(conn)
    by = sign(said)
    digests = [said.epochs.hex(), said.heads.hex(), said.receipts.hex(), said.adoptions.hex()]
    set_meta(conn, seal=json.dumps([said.recording, *digests, by.key_id, by.signature.hex()]))


class Attestor:
    """Signs, in each transaction on a file, where the file ends then, and what stands beside the entries.

    A file always ends at its head. Of the transactions of one snapshot only the last head stays.

    Args:
        sign: The signer.
        now: The time, fixed-width form.
    """

    def __init__(self, sign: Sign, now: Callable[[], str]) -> None:
        self._sign = sign
        self._now = now
        self._passing: int | None = None  # the head that the next one replaces
        self._is_last = False

    def keep(self) -> None:
        """Keep the head of the transaction in progress."""
        self._is_last = True

    def attest(self, conn: sqlite3.Connection) -> None:
        """Add a head and seal the rest. Inside the caller's transaction, as its last step but the turn."""
        (epoch,) = conn.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        if self._passing is not None:
            conn.execute(
                "DELETE FROM heads WHERE id = ? AND id = (SELECT max(id) FROM heads)", (self._passing,)
            )
        add_head(conn, epoch, self._now(), self._sign)
        self._passing = None if self._is_last else conn.execute("SELECT max(id) FROM heads").fetchone()[0]
        self._is_last = False
        write_seal(conn, self._sign)


def _facts_list(conn: sqlite3.Connection, key: str) -> list[Any]:
    row = conn.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    found = [] if row is None else json.loads(text_of(row[0]))
    return found if isinstance(found, list) else []


def _plain(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Yield rows with values of the types that a digest is made of, however they were read."""
    for row in rows:
        yield tuple(value if value is None or isinstance(value, int | bytes) else str(value) for value in row)


def end_of(conn: sqlite3.Connection) -> tuple[int, int, bytes | None]:
    """Return the last seq of a database, the number of its entries, and the last hash."""
    seq, found, _ = span.end(conn)
    return seq, seq - span.pruned_through(conn), found


def unsigned_from(conn: sqlite3.Connection) -> int | None:
    """Return the id of the first unsigned receipt; None if all are signed."""
    number: int | None = conn.execute("SELECT min(id) FROM prunes WHERE signature IS NULL").fetchone()[0]
    return number


def last_unsigned(conn: sqlite3.Connection) -> int:
    """Return the number of the last receipt that is not signed; 0 where all are."""
    number = conn.execute("SELECT max(id) FROM prunes WHERE signature IS NULL").fetchone()[0]
    return int(number or 0)


def signed_receipts(conn: sqlite3.Connection, first: int) -> list[tuple[int, int, bytes | None, str, bytes]]:
    """Return (id, last_seq, bases_digest, key_id, signature) of the signed receipts from a number on."""
    return conn.execute(
        "SELECT id, last_seq, bases_digest, key_id, signature FROM prunes WHERE id >= ? AND signature IS NOT NULL"
        " ORDER BY id",
        (first,),
    ).fetchall()


def take_signatures(
    conn: sqlite3.Connection, signed: list[tuple[int, int, bytes | None, str, bytes]]
) -> None:
    """Take over the signatures of receipts that say the same here as there."""
    for number, last_seq, bases, key_id, signature in signed:
        conn.execute(
            "UPDATE prunes SET bases_digest = ?, key_id = ?, signature = ? WHERE id = ? AND last_seq = ?",
            (bases, key_id, signature, number, last_seq),
        )


def read_all(conn: sqlite3.Connection) -> Receipts:
    """Read everything that `Receipts` contains."""
    epochs = conn.execute("SELECT epoch, first_seq FROM epochs ORDER BY first_seq, epoch")
    named = [(text_of(name), int(first)) for name, first in epochs]
    return Receipts(named, read_receipts(conn), read_erasures(conn))


def read_receipts(conn: sqlite3.Connection) -> list[Signed[PruneReceipt]]:
    """Read the receipts of prunes, in order. This and the two functions below accept any row, whatever it
    contains.
    """
    more = (
        "bases_digest, key_id, signature" if _has_column(conn, "prunes", "signature") else "NULL, NULL, NULL"
    )
    found = []
    for row in conn.execute(f"SELECT {_RECEIPT}, {more} FROM prunes ORDER BY id"):
        number, first, last, count, first_hash, last_hash, at, policy, pruned_at, bases, *by = row
        texts = (text_of(at), text_of(policy), text_of(pruned_at))
        said = PruneReceipt(number, first, last, count, first_hash, last_hash, *texts, bases)
        found.append(Signed(said, _signature(*by)))
    return found


def read_heads(conn: sqlite3.Connection) -> list[Signed[Head]]:
    """Read the heads, in order; an empty list if the schema has none."""
    if not _has_column(conn, "heads", "seq"):
        return []
    rows = conn.execute("SELECT epoch, seq, count, hash, at, key_id, signature FROM heads ORDER BY id")
    return [
        Signed(Head(text_of(epoch), seq, count, found, text_of(at), seq), _signature(*by))
        for epoch, seq, count, found, at, *by in rows
    ]


def read_erasures(conn: sqlite3.Connection) -> list[Signed[ErasureReceipt]]:
    """Read the receipts of erasures, in order; an empty list if the schema has none."""
    if not _has_column(conn, "erasures", "id"):
        return []
    rows = conn.execute(
        "SELECT id, session_id, first_seq, last_seq, count, head_seq, reason, erased_at, digest, key_id, signature"
        " FROM erasures ORDER BY id"
    )
    found = []
    for number, session, first, last, count, head, reason, at, digest, *by in rows:
        texts = (text_of(reason), text_of(at))
        said = ErasureReceipt(number, text_of(session), first, last, count, head, *texts, digest)
        found.append(Signed(said, _signature(*by)))
    return found


def text_of(value: Any) -> str:
    """Return a text from any column value; a damaged value or another type becomes a text that no signature
    matches.
    """
    if isinstance(value, str):
        return value
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else repr(value)


def _signature(key_id: Any, signature: Any) -> Signature | None:
    if key_id is None and signature is None:
        return None
    # One of them without the other is a signature that does not hold.
    return Signature(text_of(key_id), signature if isinstance(signature, bytes) else b"")


def _has_column(conn: sqlite3.Connection, table: str, name: str) -> bool:
    sql = "SELECT 1 FROM pragma_table_info(?) WHERE name = ?"
    return conn.execute(sql, (table, name)).fetchone() is not None
