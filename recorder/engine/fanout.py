"""Deliver each entry to every subscriber whose filter it matches: encoded once, one write per subscriber and loop tick.

Subscribers with the same filter form an audience. Entries published during one tick of the event loop are collected; at
its end the frames that match an audience are joined into one `bytes`, and each of its subscribers writes that same
object. So a subscriber costs one write per tick, whatever the number of deltas. A subscriber that is paused, because it
is too slow, costs nothing: the deltas it misses are counted once for all paused members.

A long publish is cut into pieces, which are delivered over several ticks: nothing else could be done while megabytes are
joined and written. What is published behind it waits for its last piece. `flush` delivers all that waits.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from recorder.core.delta import Entry
from recorder.core.errors import RecorderError, Unavailable
from recorder.core.metrics import Metrics
from recorder.core.observers import report_failure
from recorder.core.session_filter import Scope, Sessions
from recorder.engine.tail import Tail
from recorder.wire import sse
from recorder.wire.deflate import packed_frame
from recorder.wire.events import entry_without_hash
from recorder.wire.subscribe import Subscription

Filter = tuple[Sessions, frozenset[str] | None, bool]
"""Sessions, types, and whether hashes are shown."""


PIECE_BYTES = 512 << 10
"""A publish whose frames are longer than this is delivered in pieces of about this length."""
MOST_TICKS = 16
"""Over about how many ticks the pieces that wait are delivered: the more wait, the more of them each tick delivers."""


class Batch:
    """Entries of one tick that match one audience, in order; never empty."""

    __slots__ = ("_messages", "_packed", "_packs", "entries", "last_seq", "wire")

    def __init__(self, entries: list[Entry], packs: dict[int, bytes] | None = None) -> None:
        # Frames compressed already, by seq: shared by the audiences of one tick.
        self._packs = {} if packs is None else packs
        self._packed = b""  # `wire` compressed, from the first who wants it on
        self.entries = entries
        self.last_seq = entries[-1].seq
        self.wire = b"".join([entry.frame for entry in entries])
        self._messages = b""  # the same as Server-Sent Events, encoded at first use

    def messages(self, epoch: str) -> bytes:
        """Return the entries as Server-Sent Events."""
        if not self._messages:
            self._messages = sse.entries(self.entries, epoch)
        return self._messages

    @property
    def packed(self) -> bytes:
        """The entries' frames, compressed."""
        if not self._packed:
            packs = self._packs
            for entry in self.entries:
                if entry.seq not in packs:
                    packs[entry.seq] = packed_frame(entry.frame)
            self._packed = b"".join([packs[entry.seq] for entry in self.entries])
        return self._packed


def batch_without_hashes(entries: list[Entry]) -> Batch:
    """Return a batch for readers without access to the chain."""
    return Batch([entry_without_hash(entry) for entry in entries])


class Receiver(Protocol):
    """A receiver of batches. It must not block, and it may leave its audience during delivery."""

    def deliver(self, batch: Batch) -> None:
        """Take the next entries; their seqs are greater than all before."""
        ...

    def failed(self, error: RecorderError) -> None:
        """End the subscription: a batch could not be delivered."""
        ...


class Skipped:
    """The deltas that paused members of an audience have missed: how many, and of which sessions.

    One for all of them, so that however many there are, an entry costs one note.
    """

    def __init__(self) -> None:
        self.count = 0  # entries
        self.seq = 0  # of the last one
        # Session → the last seq, and whether it deleted; in the order of these seqs.
        self._latest: OrderedDict[str, tuple[int, bool]] = OrderedDict()

    def add(self, entries: Sequence[Entry]) -> None:
        """Add entries, at least one."""
        self.count += len(entries)
        self.seq = entries[-1].seq
        for entry in entries:
            self._latest[entry.session_id] = entry.seq, entry.type == "deleted"
            self._latest.move_to_end(entry.session_id)

    def touched(self, after: int) -> dict[str, tuple[int, bool]]:
        """Return the sessions that had entries after a seq: the last seq of each, and whether it was a
        deletion.
        """
        found: dict[str, tuple[int, bool]] = {}
        for session_id in reversed(self._latest):
            last = self._latest[session_id]
            if last[0] <= after:
                break
            found[session_id] = last
        return found


class Audience:
    """Everyone who is live with one and the same filter."""

    __slots__ = ("aside", "members", "pending", "sessions", "skipped", "types", "with_hashes")

    def __init__(self, key: Filter) -> None:
        self.sessions, self.types, self.with_hashes = key
        self.members: dict[Receiver, None] = {}  # ordered, so that service is fair and repeatable
        self.aside: dict[Receiver, None] = {}  # paused members
        self.skipped = Skipped()  # what those have missed, and those before them since there were none
        self.pending: list[Entry] = []  # matched in the tick that is being flushed

    def wants(self, entry: Entry) -> bool:
        """Return whether an entry matches the filter."""
        return (self.sessions is None or entry.session_id in self.sessions) and (
            self.types is None or entry.type in self.types
        )

    def deliver(self, packs: dict[int, bytes], metrics: Metrics) -> Batch | None:
        """Deliver the pending entries to every member; `packs` as in `Batch`, for members who are shown
        hashes.
        """
        if self.aside:
            # First: a member that is paused while receiving this batch counts it itself.
            self.skipped.add(self.pending)
        if not self.members:
            self.pending = []
            return None
        batch = Batch(self.pending, packs) if self.with_hashes else batch_without_hashes(self.pending)
        self.pending = []
        for member in list(self.members):
            try:
                member.deliver(batch)
            except Exception:
                # It has missed something, and the others must not: it is ended, and resumes.
                report_failure("subscriber", metrics)
                self.members.pop(member, None)
                _end(member, metrics)
        return batch


class Fanout:
    """Collects what is published and hands it out at the end of the loop tick.

    Args:
        tail: Gets every entry, for those who join later.
        metrics: Counts deliveries.
        schedule: Runs a callback at the end of the tick; the running loop's `call_soon` by default.
    """

    def __init__(
        self, tail: Tail, metrics: Metrics, schedule: Callable[[Callable[[], None]], object] | None = None
    ) -> None:
        self._tail = tail
        self._metrics = metrics
        self._schedule = schedule or asyncio.get_running_loop().call_soon
        self._tick: list[Entry] = []  # published since the last flush, behind the pieces
        self._pieces: deque[list[Entry]] = deque()  # of long publishes, not delivered yet
        self._delivering = False  # whether entries are being delivered
        self._scheduled = False  # whether a flush is on its way
        self._audiences: dict[Filter, Audience] = {}  # all of them, by filter
        self._everything: list[Audience] = []  # those that name no session
        self._scoped: list[Audience] = []  # those that name beginnings of sessions
        self._by_session: dict[str, dict[Audience, None]] = {}  # those that do, under each name

    @property
    def receivers(self) -> int:
        """The number of receivers that are live and not paused."""
        return sum(len(audience.members) for audience in self._audiences.values())

    @property
    def is_behind(self) -> bool:
        """Return whether pieces of a long publish wait for the next ticks."""
        return bool(self._pieces)

    def publish(self, entries: Sequence[Entry]) -> None:
        """Queue the next entries, at least one, for delivery at the end of this tick; a long publish in pieces."""
        size = self._tail.extend(entries)
        if size > PIECE_BYTES:
            if self._tick:
                self._pieces.append(self._tick)
                self._tick = []
            self._pieces.extend(_cut(entries))
        else:
            self._tick.extend(entries)
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self._on_tick)

    def join(self, receiver: Receiver, subscription: Subscription) -> None:
        """Serve a receiver from the next entry on. What was published before now must have been flushed."""
        key = _filter(subscription)
        audience = self._audiences.get(key)
        if audience is None:
            audience = self._audiences[key] = Audience(key)
            if audience.sessions is None:
                self._everything.append(audience)
            elif isinstance(audience.sessions, Scope):
                self._scoped.append(audience)
            else:
                for session in audience.sessions:
                    self._by_session.setdefault(session, {})[audience] = None
        audience.members[receiver] = None

    def leave(self, receiver: Receiver, subscription: Subscription) -> None:
        """Serve a receiver no longer. Harmless if it is not served."""
        key = _filter(subscription)
        audience = self._audiences.get(key)
        if audience is None:
            return
        audience.members.pop(receiver, None)
        self._back(audience, receiver)
        if not audience.members and not audience.aside:
            self._drop(key, audience)

    def pause(self, receiver: Receiver, subscription: Subscription) -> Skipped | None:
        """Pause delivery to a receiver until `resume`. Returns None if it is not served.

        Returns:
            Where to see what it misses. If it is being handed a batch now, that one is not counted there.
        """
        audience = self._audiences.get(_filter(subscription))
        if audience is None or receiver not in audience.members:
            return None
        del audience.members[receiver]
        audience.aside[receiver] = None
        return audience.skipped

    def resume(self, receiver: Receiver, subscription: Subscription) -> None:
        """Serve a receiver again that was set aside. What was published before now must have been flushed."""
        audience = self._audiences.get(_filter(subscription))
        if audience is not None and receiver in audience.aside:
            self._back(audience, receiver)
            audience.members[receiver] = None

    @staticmethod
    def _back(audience: Audience, receiver: Receiver) -> None:
        if receiver in audience.aside:
            del audience.aside[receiver]
            if not audience.aside:
                audience.skipped = Skipped()

    def flush(self) -> None:
        """Deliver now all that waits. Does nothing while something is being delivered."""
        if self._delivering:
            return  # what waits comes behind that
        entries, self._tick = self._tick, []
        if self._pieces:
            entries = [entry for piece in self._pieces for entry in piece] + entries
            self._pieces.clear()
        self._deliver(entries)

    def _on_tick(self) -> None:
        self._scheduled = False
        if not self._pieces:
            self.flush()
            return
        pieces = self._pieces
        count = -(-len(pieces) // MOST_TICKS)
        self._deliver([entry for _ in range(count) for entry in pieces.popleft()])
        if (pieces or self._tick) and not self._scheduled:
            self._scheduled = True
            self._schedule(self._on_tick)

    def _deliver(self, entries: list[Entry]) -> None:
        if not entries:
            return
        packs: dict[int, bytes] = {}
        self._delivering = True
        try:
            for audience in self._match(entries):
                members = len(audience.members)
                batch = audience.deliver(packs, self._metrics)
                if batch is not None:
                    self._metrics.delivered(len(batch.entries) * members, len(batch.wire) * members)
        except Exception:
            # No memory for a batch, say. Nobody knows who has missed what: everybody is ended, and resumes.
            report_failure("subscriber", self._metrics)
            self._end_all()
        finally:
            self._delivering = False

    def _end_all(self) -> None:
        for audience in list(self._audiences.values()):
            for receiver in [*audience.members, *audience.aside]:
                _end(receiver, self._metrics)

    def _match(self, entries: list[Entry]) -> Iterable[Audience]:
        matched: dict[Audience, None] = {}
        for audience in self._everything:
            types = audience.types
            audience.pending = entries if types is None else [e for e in entries if e.type in types]
            if audience.pending:
                matched[audience] = None
        for audience in self._scoped:
            audience.pending = [entry for entry in entries if audience.wants(entry)]
            if audience.pending:
                matched[audience] = None
        if self._by_session:
            for entry in entries:
                for audience in self._by_session.get(entry.session_id, ()):
                    if audience.types is None or entry.type in audience.types:
                        audience.pending.append(entry)
                        matched[audience] = None
        return matched

    def _drop(self, key: Filter, audience: Audience) -> None:
        del self._audiences[key]
        if audience.sessions is None:
            self._everything.remove(audience)
        elif isinstance(audience.sessions, Scope):
            self._scoped.remove(audience)
        else:
            for session in audience.sessions:
                named = self._by_session[session]
                del named[audience]
                if not named:
                    del self._by_session[session]


def _cut(entries: Sequence[Entry]) -> Iterable[list[Entry]]:
    """Cut entries into pieces of about `PIECE_BYTES`, of at least one entry each."""
    piece: list[Entry] = []
    size = 0
    for entry in entries:
        piece.append(entry)
        size += len(entry.frame)
        if size >= PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _end(receiver: Receiver, metrics: Metrics) -> None:
    try:
        receiver.failed(Unavailable("a delta could not be delivered", hint="resume in a moment"))
    except Exception:
        report_failure("subscriber", metrics)


def _filter(subscription: Subscription) -> Filter:
    return subscription.sessions, subscription.types, subscription.with_hashes
