"""The diagnosis of an entry whose link does not hold, or that is missing: edited, deleted, inserted, reordered.

An entry's stored hash fits one place only: right after the hash that was before it, with its own number. So an entry
that does not fit where it stands is tried at other places, and the entry that would fit there is looked for elsewhere:
nearby with every neighbouring hash before it, far away with the hash that is stored there or next to it. What cannot
be found was edited, put in, or is gone; the entries around tell which.

    the entry fits an earlier place            those before it were put in
    the right one stands further on            what stands here was put in, or they were moved
    the right one is nowhere, the next fits
      with its number one (or more) higher     entries are gone, and those behind them were renumbered
    otherwise                                  edited

Pure: it is given the entries of a recording through `Entries`, few at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from recorder.core.chain import GENESIS, link_content

NEAR = 24
"""How many entries on either side are tried with every hash among them."""
FAR = 100_000
"""How far numbers are followed where entries have none that holds: renumbered ones, and those without a hash."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry where it stands.

    Args:
        seq: The number it has.
        content: `links.content_of` it.
        hash: What is stored as its hash.
    """

    seq: int
    content: bytes
    hash: bytes | None

    def fits(self, seq: int, previous: bytes) -> bool:
        """Return whether the entry's hash is valid at this position, after the previous hash."""
        return self.hash is not None and link_content(previous, seq, self.content) == self.hash


class Entries(Protocol):
    """The entries of a recording."""

    def between(self, first: int, last: int) -> list[Placed]:
        """Return the entries with these numbers that exist and whose columns have the right types, in order."""
        ...

    def hashes(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield number and stored hash of all entries, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """The kind and place of a fault in the chain.

    Args:
        kind: `edited`, `deleted`, `inserted` or `reordered`.
        seq: The first entry it concerns.
        through: The last one.
        text: In words.
    """

    kind: str
    seq: int
    through: int
    text: str


def diagnose(entries: Entries, seq: int, previous: bytes) -> Fault:
    """Return what is wrong with an entry whose hash does not match.

    Args:
        entries: The recording.
        seq: The entry; the links of all before it hold.
        previous: The hash before it.
    """
    near = _Neighbourhood(entries, seq, previous)
    here = near.at(seq)
    if here is None:
        return Fault("edited", seq, seq, f"entry {seq} holds a value of a type that no recorder writes")
    place = near.place_of(here)
    right = near.fitting(seq, previous)
    original = None if place is None else near.at(place)
    if original is not None and original.hash == here.hash:
        if right is not None:
            return _inserted(seq, right.seq - 1)
        return Fault("edited", seq, seq, f"entry {seq} was overwritten with a copy of entry {place}")
    if place is not None and place < seq:
        return _inserted(place, seq - 1)
    if right is not None:
        if place is None and near.is_shifted(right, seq):
            return _inserted(seq, right.seq - 1)
        where = "" if place is None else f", and what stands there belongs at {place}"
        return Fault("reordered", seq, right.seq, f"entry {seq} stands at {right.seq}{where}")
    if near.follows(here, here.hash):
        return Fault("edited", seq, seq, f"entry {seq} is not what was recorded")
    if near.follows(here, link_content(previous, seq, here.content)):
        text = f"the hash of entry {seq} is not the one that was recorded; its content is"
        return Fault("edited", seq, seq, text)
    missing = (place or near.renumbered(here) or seq) - seq
    if missing:
        return _deleted(seq, seq + missing - 1, "; those behind were renumbered")
    text = f"entry {seq} is not what was recorded (or entry {seq - 1} was changed together with its hash)"
    return Fault("edited", seq, seq, text)


def diagnose_gap(entries: Entries, first: int, last: int, previous: bytes | None) -> Fault:
    """Return the reason why entries are missing.

    Args:
        entries: The recording.
        first, last: Their numbers.
        previous: The hash before them, where it is known.
    """
    if previous is not None:
        right = _Neighbourhood(entries, first, previous).fitting(first, previous)
        if right is not None:
            return Fault("reordered", first, right.seq, f"entry {first} stands at {right.seq}")
    return _deleted(first, last)


def diagnose_unhashed(entries: Entries, first: int, seq: int, before: bytes) -> Fault | None:
    """Return a fault if the entries without a hash had one originally; None if they did not.

    They had one if the entry after them continues the chain through them instead of starting a new one.

    Args:
        entries: The recording.
        first: The first entry without a hash.
        seq: The first entry behind them, whose link does not hold.
        before: The hash before the first.

    Returns:
        None where that does not explain it.
    """
    previous = before
    for low in range(first, min(seq, first + FAR), 1000):
        for entry in entries.between(low, min(low + 999, seq - 1)):
            previous = link_content(previous, entry.seq, entry.content)
    here = next(iter(entries.between(seq, seq)), None)
    if here is None or not here.fits(seq, previous):
        return None
    what = (
        f"the hash of entry {first} was" if first == seq - 1 else f"the hashes of {first} to {seq - 1} were"
    )
    return Fault("edited", first, seq - 1, f"{what} taken away")


def _inserted(first: int, last: int) -> Fault:
    what = f"entry {first} was" if first == last else f"entries {first} to {last} were"
    return Fault("inserted", first, last, f"{what} inserted; the recorder did not record it")


def _deleted(first: int, last: int, more: str = "") -> Fault:
    what = f"entry {first} is" if first == last else f"entries {first} to {last} are"
    return Fault("deleted", first, last, f"{what} gone, and no receipt says why{more}")


class _Neighbourhood:
    """The entries around a place, and the search for where one belongs.

    Args:
        entries: The recording.
        seq: The place.
        previous: The hash before it.
    """

    def __init__(self, entries: Entries, seq: int, previous: bytes) -> None:
        self._entries = entries
        self._near: Mapping[int, Placed] = {  # those around the place, by number
            placed.seq: placed for placed in entries.between(max(seq - NEAR, 1), seq + NEAR)
        }
        self._previous = {previous, GENESIS} | {p.hash for p in self._near.values() if p.hash is not None}

    def at(self, seq: int) -> Placed | None:
        """Return the entry stored at a number, or None."""
        if seq not in self._near:
            return next(iter(self._entries.between(seq, seq)), None)
        return self._near[seq]

    def place_of(self, entry: Placed) -> int | None:
        """Return the number at which an entry belongs; None if it cannot be found."""
        for seq in sorted(
            range(max(entry.seq - NEAR, 1), entry.seq + NEAR + 1), key=lambda s: abs(s - entry.seq)
        ):
            if any(entry.fits(seq, previous) for previous in self._previous):
                return seq
        # Where one was moved, those that it has passed have moved by one: the hash before its place did, too.
        before = GENESIS
        for seq, found in self._entries.hashes():
            for place, previous in ((seq, before), (seq, found), (seq + 1, found), (seq + 1, before)):
                if entry.fits(place, previous or GENESIS):
                    return place
            before = found or GENESIS
        return None

    def fitting(self, seq: int, previous: bytes) -> Placed | None:
        """Return the entry that belongs at a number, wherever it is stored; None if there is none."""
        for entry in self._near.values():
            if entry.fits(seq, previous):
                return entry
        return self._search(seq, previous)

    def is_shifted(self, right: Placed, seq: int) -> bool:
        """Return whether the entry after `right` has moved by the same distance as `right`, which belongs at
        `seq`.
        """
        following = self.at(right.seq + 1)
        return following is None or following.fits(seq + 1, right.hash or GENESIS)

    def follows(self, here: Placed, link: bytes | None) -> bool:
        """Return whether the next entry continues from a hash, or there is no next entry."""
        following = self.at(here.seq + 1)
        return following is None or link is None or following.fits(following.seq, link)

    def renumbered(self, here: Placed) -> int | None:
        """Return the original number of this entry, derived from the next one; None if the next one is in
        its place.
        """
        following = self.at(here.seq + 1)
        if following is None or here.hash is None:
            return None
        for distance in range(1, FAR + 1):
            if following.fits(following.seq + distance, here.hash):
                return here.seq + distance
        return None

    def _search(self, seq: int, previous: bytes) -> Placed | None:
        # By the numbers that are there: what lies between them may be as far as numbers go.
        numbers = sorted(number for number, _ in self._entries.hashes())
        for at in range(0, len(numbers), 1000):
            piece = numbers[at : at + 1000]
            for entry in self._entries.between(piece[0], piece[-1]):
                if entry.fits(seq, previous):
                    return entry
        return None
