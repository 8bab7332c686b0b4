"""The statements that the recorder signs: heads and receipts, each as one unambiguous string of bytes.

    statement = field(TAG) ‖ field(value) ‖ field(value) ‖ …

`field` is that of the chain: the length in four bytes, big endian, then the bytes; NULL is 0xFFFFFFFF and nothing else.
Texts are UTF-8, numbers decimal ASCII, hashes and digests their bytes. The values are the dataclass's, in its order.
A signature is Ed25519 over the statement; the key's id is the public key itself, as 64 hex digits, so whoever holds a
statement can check it, and only has to know which keys to believe.

A head says: at this time the log of this epoch ended here, so many entries were kept, and everything up to `durable`
was on disk. A receipt says what was taken away. Pure: who signs, and where the key is, is not said here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from itertools import chain
from typing import ClassVar, Generic, TypeVar

from recorder.core.chain import field

Value = str | int | bytes | None


def _encoded(value: Value) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return str(value).encode()


@dataclass(frozen=True, slots=True)
class Head:
    """The position at which the log ended.

    Args:
        epoch: The epoch.
        seq: The last entry's number; 0 before the first.
        count: How many entries were kept: those up to `seq - count` had been pruned.
        hash: The chain's hash at `seq`; None where the chain was off, or nothing had been recorded.
        time: When this was said, fixed-width form.
        durable: Everything up to this seq was on disk.
    """

    tag: ClassVar[str] = "recorder/head/1"

    epoch: str
    seq: int
    count: int
    hash: bytes | None
    time: str
    durable: int


@dataclass(frozen=True, slots=True)
class PruneReceipt:
    """The entries that retention has removed: a row of the table `prunes`.

    Args:
        id: The row's number.
        first_seq, last_seq: From where to where.
        count: How many entries.
        first_hash, last_hash: The chain's hashes at both ends.
        last_recorded_at: When the last of them had been recorded.
        policy: The rule, with its value.
        pruned_at: When.
        bases_digest: `bases_digest` of what is kept of what was pruned so far; None until the run is over.
    """

    tag: ClassVar[str] = "recorder/prune/1"

    id: int
    first_seq: int
    last_seq: int
    count: int
    first_hash: bytes | None
    last_hash: bytes | None
    last_recorded_at: str
    policy: str
    pruned_at: str
    bases_digest: bytes | None


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """The session whose content was erased: a row of the table `erasures`.

    Args:
        id: The row's number.
        session_id: The session.
        first_seq, last_seq: The first and the last of its entries whose states were erased.
        count: How many entries.
        head_seq: Where the log ended then.
        reason: Why, in the operator's words.
        erased_at: When.
        digest: `erased_digest` of what was erased.
    """

    tag: ClassVar[str] = "recorder/erasure/1"

    id: int
    session_id: str
    first_seq: int
    last_seq: int
    count: int
    head_seq: int
    reason: str
    erased_at: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Adoption:
    """The entries that were adopted without verification. From here on they are signed.

    Args:
        kind: `adopt`, where nothing could be verified; `gap`, where something did not hold and that was accepted.
        first_seq, seq: From where to where nothing vouches for the entries.
        hash: The chain's hash at `seq`.
        at: When.
        reason: What could not be verified, or did not hold.
    """

    tag: ClassVar[str] = "recorder/adopt/1"

    kind: str
    first_seq: int
    seq: int
    hash: bytes | None
    at: str
    reason: str


@dataclass(frozen=True, slots=True)
class Seal:
    """The content of a file beside its entries, as of one transaction.

    Args:
        recording: Which recording it is.
        epochs, heads, receipts, adoptions: Digests of all rows of each kind: of the heads as one text, `id:signature`
            (in upper case hex) by id, with commas between them.
    """

    tag: ClassVar[str] = "recorder/seal/1"

    recording: str
    epochs: bytes
    heads: bytes
    receipts: bytes
    adoptions: bytes


Statement = Head | PruneReceipt | ErasureReceipt | Adoption | Seal


def statement_bytes(statement: Statement) -> bytes:
    """Return the bytes that are signed."""
    return b"".join([field(_encoded(value)) for value in (statement.tag, *astuple(statement))])


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, and the key that made it.

    Args:
        key_id: The public key, 64 hex digits.
        signature: 64 bytes.
    """

    key_id: str
    signature: bytes


Payload = TypeVar("Payload", bound=Statement, covariant=True)


@dataclass(frozen=True, slots=True)
class Signed(Generic[Payload]):
    """A statement, and who has signed it; None where nobody has."""

    payload: Payload
    by: Signature | None


def bases_digest(
    bases: Iterable[tuple[str, int, str, bytes]], ids: Iterable[tuple[str, int, bytes]] = ()
) -> bytes:
    """Return the digest of the states and the ids that are kept of pruned entries.

    Args:
        bases: (session_id, seq, recorded_at, SHA-256 of the state's text) of each, in the order of the session ids'
            UTF-8.
        ids: (delta_id, seq, id_digest) of each, in the order of the ids' UTF-8.

    Returns:
        SHA-256 over all values, each as a `field`; in front of each id's there is a NULL, which no base begins with.
    """
    return _digest(chain(bases, ((None, *row) for row in ids)))


def erased_digest(states: Iterable[tuple[int, bytes | None, bytes | None]]) -> bytes:
    """Return the digest of the states that an erasure removed.

    Args:
        states: (seq, SHA-256 of before, SHA-256 of after) of each entry, by seq; None where there was no state.

    Returns:
        SHA-256 over all values, each as a `field`.
    """
    return _digest(states)


def rows_digest(rows: Iterable[tuple[Value, ...]]) -> bytes:
    """Return SHA-256 over all values of all rows, each as a `field`."""
    return _digest(rows)


def _digest(rows: Iterable[tuple[Value, ...]]) -> bytes:
    hasher = hashlib.sha256()
    for row in rows:
        hasher.update(b"".join([field(_encoded(value)) for value in row]))
    return hasher.digest()
