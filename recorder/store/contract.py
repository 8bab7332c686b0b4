"""What a store promises, whatever it is made of. Every implementation passes `tests/contract/`.

Two kinds:

* `EventStore`: append-only and authoritative. What it says was recorded was recorded; entries leave it only by
  retention, oldest first, without a gap between those that stay.
* `StateStore`: the sessions as of now. A cache: everything in it follows from the events that are kept and from the
  states kept for what was pruned, and `rebuild` makes it anew from these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from recorder.core.delta import Entry
from recorder.core.session_filter import Sessions


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What an implementation promises, in words that operators read.

    Args:
        order: In what order entries come back.
        durability: When an entry survives a crash.
        loss_window_ms: How much acked time a crash can cost, at most.
        rebuilds: For a cache: what it is rebuilt from; empty for an authority.
    """

    order: str
    durability: str
    loss_window_ms: int
    rebuilds: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether it works.

    Args:
        ok: Whether it does.
        reason: Why not, in one line.
        details: Figures for people.
    """

    ok: bool
    reason: str = ""
    details: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Query:
    """Which entries, in which order.

    Args:
        sessions: Which sessions, None for all.
        types: Delta types, None for all.
        after: Only seqs greater than this.
        before: Only seqs less than this; None for no bound.
        since: Only what was recorded at or after this time (fixed-width form).
        until: Only what was recorded at or before this time (fixed-width form).
        happened_since, happened_until: The same for the time of happening.
        lineage: `"broken"`: only those.
        descending: Newest first.
    """

    sessions: Sessions = None
    types: frozenset[str] | None = None
    after: int = 0
    before: int | None = None
    since: str | None = None
    until: str | None = None
    happened_since: str | None = None
    happened_until: str | None = None
    lineage: str | None = None
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of the answer to a query.

    Args:
        items: Item texts (`protocol.events.item_text`) as UTF-8, in the query's order.
        through: The seq up to which everything has been looked at, in the query's direction.
        done: Whether that was all.
    """

    items: Sequence[bytes]
    through: int
    done: bool


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as of now.

    Args:
        session_id: Its id.
        seq: Its last delta.
        recorded_at: When that was recorded.
        count: How many of its deltas are kept.
        deleted: Whether the last one deleted it.
    """

    session_id: str
    seq: int
    recorded_at: str
    count: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class StateRow:
    """A session's state as of some point.

    Args:
        session_id: Its id.
        seq: The delta that made it.
        state: JSON text, None where it is deleted.
        deleted: Whether it is deleted.
    """

    session_id: str
    seq: int
    state: str | None
    deleted: bool


@runtime_checkable
class EventStore(Protocol):
    """Append-only, authoritative."""

    @property
    def guarantee(self) -> Guarantee:
        """What it promises."""
        ...

    @property
    def recorded(self) -> int:
        """The highest seq that reads will return."""
        ...

    @property
    def durable(self) -> int:
        """The highest seq that survives a crash."""
        ...

    @property
    def oldest(self) -> int:
        """The first seq kept; one more than the last given where none is."""
        ...

    @property
    def count(self) -> int:
        """How many entries are kept."""
        ...

    def extend(self, entries: Sequence[Entry]) -> None:
        """Queue entries; seqs must be gapless. Raises `Closed`."""
        ...

    async def flush(self) -> None:
        """Until everything appended before is recorded. Raises `StoreError`."""
        ...

    async def read(self, query: Query, limit: int) -> Piece:
        """At most `limit` (1 to 1000) matches, in bounded time; go on from `through` until `done`."""
        ...

    async def prune(self, through: int, policy: str) -> int:
        """Remove everything up to a seq, keeping the states as of there; how many were removed."""
        ...

    async def health_check(self) -> Health:
        """Whether it works now; not, once it is closed."""
        ...

    async def close(self) -> None:
        """Record what is queued and give everything back; what is asked later raises `Closed`. Twice is fine."""
        ...


@runtime_checkable
class StateStore(Protocol):
    """A cache of the sessions as of now, and the states as of any point."""

    @property
    def guarantee(self) -> Guarantee:
        """What it promises, and what it is rebuilt from."""
        ...

    async def sessions(
        self, before: int | None, limit: int, after: int = 0, among: Sessions = None
    ) -> list[SessionRow]:
        """Sessions by their last seq, latest first, those below `before` and above `after`, of some or all."""
        ...

    async def state(self, session_id: str, at: int | None = None) -> StateRow | None:
        """A session's state now, or as of a seq; None where it is unknown or had not begun. Raises `Pruned`."""
        ...

    async def rebuild(self) -> int:
        """Make the cache anew from what is authoritative; how many sessions it has."""
        ...

    async def health_check(self) -> Health:
        """Whether it works now and agrees with the events."""
        ...
