"""Verifying as it comes: each delta's link of the chain, recomputed from the bytes that were received.

A hash covers the hash before it, so a delta can be verified where that one is known: from the delta before, from the
position that the subscription began or resumed at, from `live`, or because it is the first of all. Where it is not
known, that delta's own hash is taken as it stands, and what follows it is verified against it.

Invariant: what counts as linked was computed, and equal. Nothing here reads a clock or a socket. Left out: `state`
events, which no link covers, and who made the chain: a recorder that lies from the first delta on is caught only by a
signed head kept elsewhere.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256

from recorder.client.decode import Violation
from recorder.client.events import ChainBroken, Delta
from recorder.core.chain import GENESIS, link
from recorder.core.delta import DELTA_TYPES
from recorder.core.position import Position

_TIME_LENGTH = len("2026-11-20T12:00:00.000Z")


class Proof(StrEnum):
    """The result of checking a delta's hash. Only the first two are proofs."""

    LINKED = "linked"
    """It follows from the hash before it and from all that was received."""
    BY_DIGEST = "linked by digest"
    """The same, but the states were erased: their digests stand for them."""
    CHAIN_OFF = "the chain is off"
    """It has no hash."""
    FILTERED = "the delta before was not sent"
    """The filter keeps it away."""
    START = "the hash before the start is not known"
    """Nothing had been received before it, and the position to begin at had no hash."""
    RESET = "the hash after the reset is not known"
    """The server said `reset`; what was known before it no longer counts."""
    SKIPPED = "the delta before was left out"
    """The server said `conflated`, and no hash where that ends."""

    @property
    def is_proof(self) -> bool:
        """Return whether the delta was verified."""
        return self in (Proof.LINKED, Proof.BY_DIGEST)


class Verifier:
    """Follows the chain of one subscription.

    Args:
        start: Where it begins, as far as that is known.
    """

    def __init__(self, start: Position | None) -> None:
        self._unknown = (
            Proof.START
        )  # why the hash before the next delta is not known, while there is no place
        self._place: tuple[int, bytes] | None = None  # a seq, and what the link of the next one covers
        if start is not None and start.hash is not None:
            self._place = start.seq, bytes.fromhex(start.hash)

    def reset(self) -> None:
        """Forget the last verified hash."""
        self._place, self._unknown = None, Proof.RESET

    def skip(self) -> None:
        """Register that deltas were left out."""
        self._place, self._unknown = None, Proof.SKIPPED

    def live(self, seq: int, found: str | None) -> None:
        """Register the position at which history ends.

        Args:
            seq: There.
            found: The hash there, where it says one.

        Raises:
            ChainBroken: The delta received last has another one.
            Violation: It is no hash.
        """
        if found is None:
            return
        value = _bytes(found)
        if self._place is not None and self._place[0] == seq and self._place[1] != value:
            raise ChainBroken(seq, self._place[1].hex(), found)
        self._place = seq, value

    def check(self, delta: Delta) -> Proof:
        """Verify the next delta.

        Raises:
            ChainBroken: Its hash is not what follows from the one before it.
            Violation: It cannot be a recorder's.
        """
        previous = self._before(delta.seq)
        if delta.hash is None:
            self._place = delta.seq, GENESIS  # after it the chain begins again
            return Proof.CHAIN_OFF
        found = _bytes(delta.hash)
        was_known, self._place = self._place is not None, (delta.seq, found)
        if previous is None:
            return Proof.FILTERED if was_known else self._unknown
        computed = _link(previous, delta)
        if computed != found:
            raise ChainBroken(delta.seq, computed.hex(), delta.hash)
        return Proof.LINKED if delta.erased is None else Proof.BY_DIGEST

    def _before(self, seq: int) -> bytes | None:
        if seq == 1:
            return GENESIS
        return self._place[1] if self._place is not None and self._place[0] == seq - 1 else None


def _link(previous: bytes, delta: Delta) -> bytes:
    times = delta.timestamp, delta.recorded_at
    if delta.type not in DELTA_TYPES or {len(time) for time in times} != {_TIME_LENGTH}:
        raise Violation(f"delta {delta.seq} has a type or a time that there is not")
    erased = delta.erased
    digests = (
        _digest(delta.before_raw, None if erased is None else erased.before),
        _digest(delta.after_raw, None if erased is None else erased.after),
    )
    id_digest = None if delta.id_digest is None else _bytes(delta.id_digest)
    extras = delta.id, id_digest, delta.before_filled, delta.lineage
    return link(previous, delta.seq, (delta.session_id, delta.type), digests, times, extras)


def _digest(state: bytes | None, erased: str | None) -> bytes | None:
    if state is not None:
        return sha256(state).digest()
    return None if erased is None else _bytes(erased)


def _bytes(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32 or text != value.hex():
        raise Violation(f"{text[:80]!r} is no SHA-256")
    return value
