"""The hub: every subscription, and the entries on their way to it.

It owns the tail, the fan-out, the shared listings of states, the tasks of those who catch up, the announcer of signed
heads, and the task that sends heartbeats. It knows subscribers by what it tells them (`Listener`, `Local`), and nothing
of sockets: connections, their deadlines and their close codes are those of whoever serves them. `run` opens it; leaving
that ends every subscription of this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from loguru import logger

from recorder.core.clock import Clock
from recorder.core.delta import Entry
from recorder.core.errors import Closed, RecorderError
from recorder.core.metrics import Metrics
from recorder.core.observers import isolated
from recorder.core.sampled_log import SampledLog
from recorder.core.session_filter import Sessions
from recorder.core.statements import Head, Signed
from recorder.core.timestamps import format_ms
from recorder.engine.catchup import CHUNK_BYTES, History, Work
from recorder.engine.fanout import Fanout
from recorder.engine.head_announcer import HeadAnnouncer
from recorder.engine.loop_guard import LoopGuard
from recorder.engine.periodic import periodically, sweep_pause
from recorder.engine.state_listing import Listing, Listings
from recorder.engine.tail import Tail
from recorder.wire.events import PROTOCOL_VERSION, Heartbeat, event_frame

CATCHUP_BYTES = 16 << 20
"""How much is unsent, at once, of what readers that catch up are sent, roughly: each has its part of it."""
MIN_CHUNK_BYTES = 16 << 10
"""The part of each, at least."""


class Order(Protocol):
    """The part of the sequencer that the hub needs."""

    @property
    def epoch(self) -> str:
        """The current epoch."""
        ...

    @property
    def head(self) -> int:
        """The highest seq given."""
        ...

    @property
    def hash(self) -> bytes | None:
        """The chain's hash at the head; None where the chain is off."""
        ...


class States(Protocol):
    """The part of the current states that the hub needs."""

    def listing(self, sessions: Sessions = None) -> list[tuple[int, str, str]]:
        """Return (seq, session id, state) of all sessions that are not deleted, or of those named."""
        ...

    def snapshot(self, head: int, sessions: frozenset[str] | None = None) -> Listing:
        """Return the states as a listing to be shared, by reference and not sorted yet."""
        ...


class Local(Protocol):
    """A subscription in this process."""

    def failed(self, error: RecorderError) -> None:
        """End the subscription with an error."""
        ...

    def send_erased(self, session_id: str, through: int, count: int, erased_at: str) -> None:
        """Send an `erased` event in its place in the order."""
        ...

    def note_heartbeat(self, head: int) -> None:
        """Register that nothing up to the head is missing, if it is live."""
        ...


class Listener(Protocol):
    """A subscriber at the other end of a connection, of whatever kind: what the hub asks and tells it."""

    position: int  # everything that matches, up to this seq, has been handed over

    @property
    def at_own_pace(self) -> bool:
        """Return whether it is catching up."""
        ...

    @property
    def is_scoped(self) -> bool:
        """Return whether its token is restricted to some sessions."""
        ...

    @property
    def lag_bytes(self) -> int:
        """Bytes written and not yet taken."""
        ...

    def send_notice(self, frame: bytes) -> None:
        """Send an event (a WebSocket frame) that is not worth waiting for, where little is unsent."""
        ...

    def send_heartbeat(self, beat: Heartbeat) -> None:
        """Send a heartbeat, where little is unsent; move the position, where it is live."""
        ...

    def send_erased(self, session_id: str, through: int, count: int, erased_at: str) -> None:
        """Send an `erased` event in its place in the order."""
        ...


class Hub:
    """The subscriptions and the broadcast to them, created by `run`.

    Args:
        order: Knows the epoch and the head.
        states: The sessions' states as of the head.
        history: What is recorded; None where nothing is.
        durable: Tells the highest seq on disk.
        catchups: For how many subscribers at once a slice of history or of states is read and encoded.
        heartbeat_seconds: Between heartbeats.
        signed_head: Tells where the recording ends, signed, or None where nothing is signed.
        head_seconds: Between signed heads.
        durability, loss_window_ms: What `hello` says; a window of 0 where nothing is recorded.
        clock, metrics: As everywhere.
    """

    def __init__(
        self,
        order: Order,
        states: States,
        history: History | None,
        durable: Callable[[], int],
        *,
        catchups: int,
        heartbeat_seconds: float,
        signed_head: Callable[[], Awaitable[Signed[Head] | None]],
        head_seconds: float,
        durability: str,
        loss_window_ms: int,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._order = order
        self._states = states
        self._durable = durable
        self._heartbeat_seconds = heartbeat_seconds
        self._heartbeat_at = clock.monotonic()  # when the last one was sent
        self._announcer = HeadAnnouncer(self, signed_head, head_seconds, clock.monotonic())
        self._durability = durability  # what an ack means, in a word
        self._loss_window_ms = loss_window_ms
        self._clock = clock
        self.guard = LoopGuard("recorder")  # asked by the subscriptions of this process
        self._subscribers: dict[Listener, None] = {}  # those of /ws and of /api/stream
        self._locals: dict[Local, None] = {}  # subscriptions in this process
        self._feeds: set[asyncio.Task[None]] = set()  # catching up
        self._closed = False
        self.metrics = metrics
        self.log = SampledLog(clock)  # of what subscribers do
        self.history = history
        self.ahead = 0  # slices of history that feeds have read ahead
        self.turns = asyncio.Semaphore(catchups)  # whose slice of history is being read and encoded
        self.state_turn = asyncio.Lock()  # whose slice of states is being encoded
        self.tail = Tail(order.head, head_hash=order.hash)
        self._listings = Listings(
            lambda sessions: states.snapshot(order.head, sessions),
            lambda seq: seq >= self.tail.first_seq - 1,
        )
        self.fanout = Fanout(self.tail, metrics)

    @classmethod
    @asynccontextmanager
    async def run(cls, *args: Any, **options: Any) -> AsyncIterator[Hub]:
        """Run a hub that sends heartbeats and signed heads until the block is left; the arguments are the class's."""
        hub = cls(*args, **options)
        shortest = min(hub._heartbeat_seconds, hub._announcer.seconds)
        pause = sweep_pause(shortest)
        try:
            async with periodically("hub-keeper", hub.sweep, pause):
                yield hub
        finally:
            await hub.close()

    # What those who serve subscribers and publishers ask for.

    @property
    def epoch(self) -> str:
        """The current epoch."""
        return self._order.epoch

    @property
    def head(self) -> int:
        """The highest seq given."""
        return self._order.head

    @property
    def subscribers(self) -> int:
        """The number of subscribing connections."""
        return len(self._subscribers)

    @property
    def lag_bytes(self) -> int:
        """Unsent bytes of the slowest subscriber."""
        return max((subscriber.lag_bytes for subscriber in self._subscribers), default=0)

    @property
    def lag_deltas(self) -> int:
        """The distance in deltas between the head and the slowest subscriber that is catching up."""
        behind = [self.head - s.position for s in self._subscribers if s.at_own_pace]
        return max(behind, default=0)

    @property
    def outbox_bytes(self) -> int:
        """Unsent bytes of all subscribers."""
        return sum(subscriber.lag_bytes for subscriber in self._subscribers)

    def states(self, sessions: Sessions) -> list[tuple[int, str, str]]:
        """Return (seq, session id, state) of every session that is not deleted, as of the head."""
        return self._states.listing(sessions)

    async def listing(self, sessions: Sessions) -> Listing:
        """Return a listing of the states, as of the head or of a little before; what follows it is to be replayed."""
        return await self._listings.get(sessions, self.head)

    @property
    def catching_up(self) -> int:
        """The number of readers that are being sent history or states."""
        return len(self._feeds)

    @property
    def chunk_bytes(self) -> int:
        """The number of bytes written at once to a reader that is catching up; smaller the more such readers
        there are.
        """
        return max(MIN_CHUNK_BYTES, min(CHUNK_BYTES, CATCHUP_BYTES // max(len(self._feeds), 1)))

    def hello(self, *, is_scoped: bool = False) -> bytes:
        """Return a `hello` frame with the current head.

        Args:
            is_scoped: Whether the token is for some sessions only: then numbers are missing from what is sent.
        """
        return event_frame(
            "hello",
            protocol=PROTOCOL_VERSION,
            epoch=self.epoch,
            head=self.head,
            durable=self._durable(),
            recording=self.history is not None,
            durability=self._durability,
            lossWindowMs=self._loss_window_ms,
            **({"scoped": True} if is_scoped else {}),
        )

    def spawn(self, work: Work) -> asyncio.Task[None]:
        """Run a reader's catching up as a task of ours."""
        task = asyncio.create_task(work.run(), name="hub-feed")
        self._feeds.add(task)
        task.add_done_callback(self._feed_done)
        return task

    def add_subscriber(self, subscriber: Listener) -> None:
        """Count it, and send it heartbeats."""
        self._subscribers[subscriber] = None

    def remove_subscriber(self, subscriber: Listener) -> None:
        """Forget it."""
        self._subscribers.pop(subscriber, None)

    def add_local(self, subscription: Local) -> None:
        """Add a subscription in this process; it is told when the hub closes. Raises `Closed` after that."""
        if self._closed:
            raise Closed("the recorder has stopped")
        self._locals[subscription] = None

    def remove_local(self, subscription: Local) -> None:
        """Forget it."""
        self._locals.pop(subscription, None)

    # What ingest and erasing ask for.

    def publish(self, entries: Sequence[Entry]) -> None:
        """Deliver entries, at least one, to everyone whose filter they match, at the end of this tick."""
        self.fanout.publish(entries)
        if self.history is None:
            # It never becomes recorded; the tail must stay bounded all the same.
            self.tail.recorded(entries[-1].seq)

    def erased(self, session_id: str, through: int, count: int, erased_at: str) -> None:
        """Drop the erased content of a session up to a seq from memory, and notify readers who may have seen
        it.
        """
        self.fanout.flush()
        self.tail.erase(session_id, through)
        self._listings.erase(session_id, through)
        everybody: list[Listener | Local] = [*self._subscribers, *self._locals]
        for listener in everybody:
            with isolated("subscriber", self.metrics):
                listener.send_erased(session_id, through, count, erased_at)

    def recorded(self, seq: int) -> None:
        """Register that the store has recorded everything up to `seq`."""
        self.tail.recorded(seq)

    # Keeping.

    def sweep(self) -> None:
        """Send the heartbeat and the signed head where they are due."""
        now = self._clock.monotonic()
        if self.fanout.is_behind and now - self._heartbeat_at < 2 * self._heartbeat_seconds:
            return  # either would first deliver the rest of a long publish, all at once
        if now - self._heartbeat_at >= self._heartbeat_seconds:
            self._heartbeat_at = now
            self._send_heartbeat()
        self._announcer.sweep(now)

    async def close(self) -> None:
        """End every subscription of this process and all catching up. Harmless when it is closed."""
        self._closed = True
        self.fanout.flush()
        for subscription in list(self._locals):
            with isolated("subscriber", self.metrics):
                subscription.failed(Closed("the recorder has stopped"))
        await self._announcer.close()
        for task in list(self._feeds):
            task.cancel()
        await asyncio.gather(*self._feeds, return_exceptions=True)

    def send_all(self, frame: bytes) -> None:
        """Send an event about the whole order to everybody who may see all of it, after the deltas of this tick.

        Args:
            frame: The event, as a WebSocket frame.
        """
        # An event that names a head must not precede the deltas up to it.
        self.fanout.flush()
        for subscriber in list(self._subscribers):
            if not subscriber.is_scoped:
                with isolated("subscriber", self.metrics):
                    subscriber.send_notice(frame)

    def _send_heartbeat(self) -> None:
        # An event that names a head must not precede the deltas up to it.
        self.fanout.flush()
        head = self.head
        fields = {
            "epoch": self.epoch,
            "head": head,
            "durable": self._durable(),
            "at": format_ms(self._clock.now_ms()),
        }
        beat = Heartbeat(
            head, event_frame("heartbeat", **fields, through=head), event_frame("heartbeat", **fields)
        )
        for subscriber in list(self._subscribers):
            with isolated("subscriber", self.metrics):
                subscriber.send_heartbeat(beat)
        for local in list(self._locals):
            local.note_heartbeat(head)

    def _feed_done(self, task: asyncio.Task[None]) -> None:
        self._feeds.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # The boundary of a connection: it is closed; the others are not affected.
            logger.opt(exception=task.exception()).error("a subscriber's history failed")
