"""The ids that were used, each with the digest of its content and its seq: the memory behind idempotent publishing.

A cache of what the store keeps with each delta, filled from it at start. An id counts from when it was used first;
using it again does not make it younger, so that what is remembered is the same after a restart.

The last ids are held whole. Beyond them each id that the store still keeps has 24 bytes in an index: a second import of
a log that is longer than the window would find each id forgotten right before it is asked for, and double everything.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from itertools import compress
from struct import Struct

BUCKETS = 4096
"""Parts of the index, so that inserting moves few bytes: with a million ids, 2 kB."""
SMALLEST_SWEEP = 64
"""A part of the index is not looked through for what is kept no longer before it has this many ids."""


class RecentIds:
    """The last ids, bounded, and an index of those before them.

    Args:
        limit: How many are held whole (`DEDUPE_IDS`); 0 remembers none at all.
        oldest: Tells the first seq that the store keeps: up to there ids beyond the limit are known. None, where nothing
            is recorded, forgets them.
    """

    def __init__(self, limit: int, oldest: Callable[[], int] | None = None) -> None:
        self._limit = limit  # ids beyond it go to the index
        self._index = None if oldest is None else IdIndex(oldest)
        # Id → (seq, digest of the content), oldest first. In a plain dict each removal at the front would make the
        # next one search longer, past all that were removed before it.
        self._ids: OrderedDict[str, tuple[int, bytes]] = OrderedDict()

    def load(self, rows: Iterable[tuple[str, int, bytes]]) -> None:
        """Take over (id, seq, digest) rows from the store, ascending by seq."""
        for delta_id, seq, content in rows:
            self.add(delta_id, seq, content)

    def find(self, delta_id: str, content: bytes) -> tuple[int, bool] | None:
        """Look an id up.

        Args:
            delta_id: The id.
            content: The digest of the content that it comes with now.

        Returns:
            The seq that it was given, and whether it was for the same content; None where it is not known.
        """
        found = self._ids.get(delta_id)
        if found is not None:
            return found[0], found[1] == content
        return None if self._index is None else self._index.find(delta_id, content)

    def forget(self, delta_id: str) -> None:
        """Forget an id: what it was used for was rolled back."""
        if self._ids.pop(delta_id, None) is None and self._index is not None:
            self._index.remove(delta_id)

    def add(self, delta_id: str, seq: int, content: bytes) -> None:
        """Remember an id, and keep to the limit."""
        if not self._limit:
            return
        ids = self._ids
        ids[delta_id] = (seq, content)
        ids.move_to_end(delta_id)
        if len(ids) > self._limit:
            self.trim(2)  # one more than came: what `add_all` added beyond the limit goes bit by bit

    def add_all(self, ids: Mapping[str, tuple[int, bytes]]) -> None:
        """Remember ids that are not known, even beyond the limit; `trim` is to follow.

        Args:
            ids: Of each its seq and the digest of its content.
        """
        if self._limit:
            self._ids.update(ids)

    def trim(self, most: int) -> bool:
        """Move the oldest ids beyond the limit to the index.

        Args:
            most: How many at most.

        Returns:
            Whether there are more to move.
        """
        ids, index = self._ids, self._index
        try:
            for _ in range(min(most, len(ids) - self._limit)):
                if index is not None:
                    first = next(iter(ids))
                    index.add(first, *ids[first])
                ids.popitem(last=False)
        except MemoryError:
            return False  # it stays where it is until there is memory
        return len(ids) > self._limit


class IdIndex:
    """Ids by their hash: 64 bits of it, the seq, and 64 bits of the content's digest.

    Two ids with one hash are taken for one: among a million ids the odds are one to thirty million. Where their contents
    differ the second is refused as a conflict, so nothing is lost silently.

    Args:
        oldest: Tells the first seq that counts; what was used for an earlier one is not known.
    """

    def __init__(self, oldest: Callable[[], int]) -> None:
        self._oldest = oldest
        self._buckets = [_Bucket() for _ in range(BUCKETS)]

    def __len__(self) -> int:
        return sum(len(bucket.hashes) for bucket in self._buckets)

    def add(self, delta_id: str, seq: int, content: bytes) -> None:
        """Remember an id that is not known."""
        key = hash(delta_id)
        bucket = self._buckets[key % BUCKETS]
        hashes = bucket.hashes
        if len(hashes) >= bucket.sweep_at:
            bucket.sweep(self._oldest())
            hashes = bucket.hashes
        at = bisect_left(hashes, key)
        short = _short(content)[0]
        hashes.insert(at, key)
        try:
            bucket.seqs.insert(at, seq)
            bucket.digests.insert(at, short)
        except BaseException:
            # The columns stay in step, whatever memory there is.
            del bucket.seqs[at : at + len(bucket.seqs) - len(bucket.digests)], hashes[at]
            raise

    def find(self, delta_id: str, content: bytes) -> tuple[int, bool] | None:
        """Look an id up, as `RecentIds.find` does."""
        key = hash(delta_id)
        bucket = self._buckets[key % BUCKETS]
        hashes = bucket.hashes
        at = bisect_left(hashes, key)
        found = None
        while at < len(hashes) and hashes[at] == key:
            if bucket.seqs[at] >= self._oldest():
                found = bucket.seqs[at], bucket.digests[at] == _short(content)[0]
                if found[1]:
                    break
            at += 1
        return found

    def remove(self, delta_id: str) -> None:
        """Forget an id, where it is known."""
        key = hash(delta_id)
        bucket = self._buckets[key % BUCKETS]
        at = bisect_left(bucket.hashes, key)
        if at < len(bucket.hashes) and bucket.hashes[at] == key:
            del bucket.hashes[at], bucket.seqs[at], bucket.digests[at]


class _Bucket:
    """Ids of which the hashes end alike: three columns in step, ascending by hash."""

    __slots__ = ("digests", "hashes", "seqs", "sweep_at")

    def __init__(self) -> None:
        self.hashes = array("q")
        self.seqs = array("q")
        self.digests = array("q")
        self.sweep_at = SMALLEST_SWEEP  # at this length it is looked through

    def sweep(self, oldest: int) -> None:
        """Drop what the store keeps no longer; look again when there is twice as much."""
        kept = [seq >= oldest for seq in self.seqs]
        self.hashes, self.seqs, self.digests = (
            array("q", compress(column, kept)) for column in (self.hashes, self.seqs, self.digests)
        )
        self.sweep_at = max(SMALLEST_SWEEP, 2 * len(self.hashes))


_short = Struct("q").unpack_from
"""The first 64 bits of a digest, in a tuple."""
