"""The states of all living sessions as of one head, listed once and shared by everybody who begins with them.

A hundred readers that come back after a crash would otherwise list a hundred thousand sessions each: seconds in which
nothing else is served, and gigabytes. The listing holds references to the states, not copies; it is brought into the
order of the seqs in slices; a reader has a cursor into it. It is let go of with its last reader.

A new reader may be given a listing that is a little old, since everything after its head is replayed to it. Content that
was erased meanwhile is left out of it.
"""

from __future__ import annotations

import asyncio
import weakref
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Protocol

from recorder.core.session_filter import Sessions

State = tuple[int, str, str]
"""seq, session id, state."""

SLICE_STATES = 500
"""How many states one reader is given at once, at most."""
SLICE_LOOKS = 5_000
"""How many states are looked at for that: a filter may pass over many."""
BUCKET_STATES = 10_000
"""How many states are brought into order at once, roughly: a few milliseconds."""


class StateLike(Protocol):
    """A session's state; never changed in place."""

    @property
    def seq(self) -> int:
        """The delta that made it."""
        ...

    @property
    def text(self) -> str:
        """Its JSON text."""
        ...


class Listing:
    """States as of a head. Ordered by `order`; read by `read`.

    Args:
        head: The seq that they are as of.
        names: The sessions' ids.
        states: Their states, in the same order.
    """

    def __init__(self, head: int, names: Sequence[str], states: Sequence[StateLike]) -> None:
        self.head = head
        self._names = names
        self._states = states
        self._order: list[int] = []  # places in these, by seq; filled by `order`
        self._erased: dict[str, int] = {}  # session id → through which seq its content was erased

    def __len__(self) -> int:
        return len(self._names)

    async def order(self) -> None:
        """Sort by seq, giving way to others after every bucket."""
        states = self._states
        if len(states) <= BUCKET_STATES:
            self._order = sorted(range(len(states)), key=lambda place: states[place].seq)
            return
        # Buckets of about the same size, by the seqs of a sample.
        step = max(1, len(states) // 1_000)
        sample = sorted(states[place].seq for place in range(0, len(states), step))
        bounds = sample[:: max(1, len(sample) * BUCKET_STATES // len(states))][1:]
        buckets: list[list[int]] = [[] for _ in range(len(bounds) + 1)]
        for start in range(0, len(states), BUCKET_STATES):
            for place in range(start, min(start + BUCKET_STATES, len(states))):
                buckets[bisect_right(bounds, states[place].seq)].append(place)
            await asyncio.sleep(0)
        for bucket in buckets:
            bucket.sort(key=lambda place: states[place].seq)
            self._order += bucket
            await asyncio.sleep(0)

    def erase(self, session_id: str, through: int) -> None:
        """Omit a session's state, unless a delta after a seq has set it."""
        self._erased[session_id] = through

    def read(self, start: int, sessions: Sessions, max_bytes: int) -> tuple[list[State], int]:
        """Return the next states that match, at least one if there is one near, and where to go on.

        Args:
            start: Where to begin: 0, or what the last call returned.
            sessions: Which ones; None for all.
            max_bytes: Of their texts together, beside the first.
        """
        found: list[State] = []
        size, place = 0, start
        for place in range(start, min(start + SLICE_LOOKS, len(self._order))):
            name, state = self._names[self._order[place]], self._states[self._order[place]]
            if sessions is not None and name not in sessions:
                continue
            if self._erased and state.seq <= self._erased.get(name, 0):
                continue
            size += len(state.text)
            if found and (size > max_bytes or len(found) == SLICE_STATES):
                return found, place
            found.append((state.seq, name, state.text))
        return found, min(start + SLICE_LOOKS, len(self._order))


class Listings:
    """Gives out listings, one for as many readers as possible.

    Args:
        snapshot: Makes one of now, not ordered; of all sessions, or of those named.
        may_replay: Whether everything after a seq is held in memory, to be replayed.
    """

    def __init__(
        self, snapshot: Callable[[frozenset[str] | None], Listing], may_replay: Callable[[int], bool]
    ) -> None:
        self._snapshot = snapshot
        self._may_replay = may_replay
        self._alive: weakref.WeakSet[Listing] = weakref.WeakSet()  # all that somebody reads, for erasures
        self._newest: weakref.ref[Listing] | None = None  # that of all sessions
        self._lock = asyncio.Lock()  # one is made at a time

    async def get(self, sessions: Sessions, head: int) -> Listing:
        """Return a listing for a reader; as of now, or of a little before where it is long and shared.

        Args:
            sessions: What it will be read with. Few names get a listing of their own.
            head: The highest seq given.
        """
        if isinstance(sessions, frozenset):
            listing = self._snapshot(sessions)
            self._alive.add(listing)
            await listing.order()
            return listing
        async with self._lock:
            newest = None if self._newest is None else self._newest()
            if newest is not None and self._is_new_enough(newest, head):
                return newest
            newest = self._snapshot(None)
            self._alive.add(newest)
            await newest.order()
            self._newest = weakref.ref(newest)
            return newest

    def erase(self, session_id: str, through: int) -> None:
        """Omit a session's state from every listing that is being read."""
        for listing in self._alive:
            listing.erase(session_id, through)

    def _is_new_enough(self, listing: Listing, head: int) -> bool:
        # Replaying a quarter as many deltas as there are states costs less than listing the states again.
        return head - listing.head <= len(listing) // 4 and self._may_replay(listing.head)
