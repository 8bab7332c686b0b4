"""Check the chain: each entry's hash must follow from the previous hash and from every stored column.

An entry is checked against the hash that is *stored* before it, so that one bad entry does not affect the others, and
any run of entries can be checked by itself: a large file is checked in parts, by several processes. What a bad entry
means is determined elsewhere (`diagnosis.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from recorder.core import chain

Stored = tuple[Any, ...]
"""The columns of `session_deltas` as they are stored, texts as UTF-8 bytes."""

Erased = Mapping[int, tuple[bytes | None, bytes | None]]
"""Digests of (before, after) by seq, of entries whose content was erased."""

KEPT_FAULTS = 100
"""How many bad places are remembered one by one; beyond that they are counted."""


@dataclass(slots=True)
class Tally:
    """The result of checking a run of entries.

    Args:
        seq: The last seq looked at.
        hash: What is stored as its hash; None where that is not known, and the next link cannot be checked.
        checked: Entries whose link was checked.
        unchained: Entries without a hash: the chain was off.
        bad: The first seqs whose link does not hold.
        bad_count: How many there are.
        gaps: The first runs of seqs that are missing, (first, last) each.
        off: The first runs of seqs without a hash.
        unreadable: The first seq that could not be read; None where all could.
    """

    seq: int
    hash: bytes | None
    checked: int = 0
    unchained: int = 0
    bad: list[int] = field(default_factory=list)
    bad_count: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)
    off: list[tuple[int, int]] = field(default_factory=list)
    unreadable: int | None = None

    def add(self, other: Tally) -> None:
        """Take over what the run right after this one has brought."""
        self.seq, self.hash = other.seq, other.hash
        self.checked += other.checked
        self.unchained += other.unchained
        self.bad += other.bad
        self.bad_count += other.bad_count
        self.gaps += other.gaps
        self.unreadable = self.unreadable or other.unreadable
        for first, last in other.off:
            _extend(self.off, first, last)
        del self.bad[KEPT_FAULTS:], self.gaps[KEPT_FAULTS:], self.off[KEPT_FAULTS:]

    def miss(self, first: int, last: int) -> None:
        """Register missing numbers."""
        if len(self.gaps) < KEPT_FAULTS:
            self.gaps.append((first, last))

    def fail(self, seq: int) -> None:
        """Register an entry whose hash does not match."""
        self.bad_count += 1
        if len(self.bad) < KEPT_FAULTS:
            self.bad.append(seq)


def check(tally: Tally, rows: Iterable[Stored], erased: Erased, mistyped: frozenset[int]) -> None:
    """Check the entries that follow; the tally says where they begin.

    Args:
        tally: Where what comes of it is written.
        rows: In the order of their seqs.
        erased: Digests of erased content.
        mistyped: Seqs of entries with a column that holds a value of another type than it should.
    """
    previous, expected = tally.hash, tally.seq + 1
    checked = 0
    for row in rows:
        seq, found = row[0], row[11]
        if seq != expected:
            tally.miss(expected, seq - 1)
            previous = None
        expected = seq + 1
        if found is None:
            tally.unchained += 1
            _extend(tally.off, seq, seq)
            previous = chain.GENESIS
            continue
        if seq in mistyped:
            tally.fail(seq)
        elif previous is not None:
            checked += 1
            if chain.link_content(previous, seq, content_of(row, erased)) != found:
                tally.fail(seq)
        previous = found if isinstance(found, bytes) and len(found) == 32 else None
    tally.seq, tally.hash = expected - 1, previous
    tally.checked += checked


def content_of(row: Stored, erased: Erased) -> bytes:
    """Return the part of an entry that is hashed independently of its position."""
    seq, session, kind, before, after, happened, recorded, delta_id, id_digest, filled, lineage, _ = row
    before_digest = None if before is None else sha256(before).digest()
    after_digest = None if after is None else sha256(after).digest()
    if seq in erased:
        # Kept digests stand for what is gone; content that came back must not hide behind them.
        kept_before, kept_after = erased[seq]
        before_digest = kept_before if before is None else before_digest
        after_digest = kept_after if after is None else after_digest
    flag = b"1" if filled else b"0"
    return chain.content(
        (session, kind, before_digest, after_digest, happened, recorded, delta_id, id_digest, flag, lineage)
    )


def _extend(runs: list[tuple[int, int]], first: int, last: int) -> None:
    if runs and runs[-1][1] == first - 1:
        runs[-1] = (runs[-1][0], last)
    else:
        runs.append((first, last))
