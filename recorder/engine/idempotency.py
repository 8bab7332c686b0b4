"""Which ids were used lately, for what content, and at which seq: the memory behind idempotent publishing.

A cache of what the store keeps with each delta, filled from it at start. An id counts from when it was used first;
using it again does not make it younger, so that what is remembered is the same after a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable


class RecentIds:
    """The last ids, bounded; the oldest is forgotten first.

    Args:
        limit: How many are remembered (`DEDUPE_IDS`); 0 remembers none.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit  # ids beyond it are forgotten
        # Id → (seq, digest of the content), oldest first. In a plain dict each removal at the front would make the
        # next one search longer, past all that were removed before it.
        self._ids: OrderedDict[str, tuple[int, bytes]] = OrderedDict()

    def load(self, rows: Iterable[tuple[str, int, bytes]]) -> None:
        """Take over (id, seq, digest) rows from the store, ascending by seq."""
        for delta_id, seq, content in rows:
            self.add(delta_id, seq, content)

    def find(self, delta_id: str) -> tuple[int, bytes] | None:
        """The seq that an id was given, and the digest of its content; None where it is not remembered."""
        return self._ids.get(delta_id)

    def forget(self, delta_id: str) -> None:
        """Forget an id: what it was used for was withdrawn."""
        self._ids.pop(delta_id, None)

    def add(self, delta_id: str, seq: int, content: bytes) -> None:
        """Remember an id."""
        if self._limit:
            self._ids[delta_id] = (seq, content)
            self._ids.move_to_end(delta_id)
            if len(self._ids) > self._limit:
                self._ids.popitem(last=False)
