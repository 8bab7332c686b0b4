"""Which ids were used lately, for what content, and at which seq: the memory behind idempotent publishing."""

from __future__ import annotations

from collections.abc import Iterable

from recorder.errors import Conflict


class RecentIds:
    """The last ids, bounded; the oldest is forgotten first.

    Args:
        limit: How many are remembered (`DEDUPE_IDS`); 0 remembers none.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ids: dict[str, tuple[int, bytes]] = {}  # id → (seq, digest of the content), oldest first

    def load(self, rows: Iterable[tuple[str, int, bytes]]) -> None:
        """Take over (id, seq, digest) rows from the store, ascending by seq."""
        for delta_id, seq, content in rows:
            self.add(delta_id, seq, content)

    def find(self, delta_id: str, content: bytes) -> int | None:
        """The seq that this id with this content has, or None where the id is not known.

        Raises:
            Conflict: The id is known with other content.
        """
        known = self._ids.get(delta_id)
        if known is None:
            return None
        if known[1] != content:
            raise Conflict(
                f"id {delta_id!r} was used at seq {known[0]} with other content",
                hint="an id names one delta for ever; give a new delta a new id",
                place="id",
            )
        return known[0]

    def add(self, delta_id: str, seq: int, content: bytes) -> None:
        """Remember an id."""
        if self._limit:
            self._ids.pop(delta_id, None)
            self._ids[delta_id] = (seq, content)
            if len(self._ids) > self._limit:
                del self._ids[next(iter(self._ids))]
