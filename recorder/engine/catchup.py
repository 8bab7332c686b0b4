"""One subscription on its way: from where it starts, through history, into live, without gap or duplicate.

The seam. Entries are broadcast before the store has them, and history comes from the store, so neither alone is whole.
The tail holds every entry that the store may not have yet. A feed reads slices from the store at its reader's pace
until its cursor lies within the tail; then, in one step without an await, it hands out the rest of the tail, says
`live` and joins the fan-out. Nothing can be published between these.

A position that cannot be honoured in full is never honoured in part: `reset`, the states as of now, and on from there.
That holds for a reader overtaken by pruning in the middle of its history, too, and for one whose position names a hash
that the order does not have at that place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from recorder.core.chain import GENESIS
from recorder.core.delta import Entry
from recorder.core.errors import Pruned, RecorderError, Unavailable
from recorder.core.metrics import Metrics
from recorder.core.sampled_log import SampledLog
from recorder.core.session_filter import Sessions
from recorder.engine.fanout import Batch, Fanout, Skipped, batch_without_hashes
from recorder.engine.state_listing import Listing
from recorder.engine.tail import Tail
from recorder.wire.events import without_hash
from recorder.wire.subscribe import Since, Subscription

CHUNK_BYTES = 256 << 10
"""What is written at once while catching up, and the mark of unsent bytes at which the next slice waits."""

MAX_STATES = 500
"""How many states are written at once, at most."""


MAX_AHEAD = 16
"""How many slices are held at once that were read ahead: a thousand slow readers must not take one each."""


class Slice(Protocol):
    """A piece of history."""

    @property
    def items(self) -> Sequence[bytes]:
        """Item texts (`events.item_text`) as UTF-8, ascending."""
        ...

    @property
    def last_seq(self) -> int:
        """Everything up to this seq has been looked at."""
        ...


class History(Protocol):
    """The part of the store that a feed needs."""

    @property
    def oldest(self) -> int:
        """The first seq still kept; head + 1 where there is none."""
        ...

    async def read_slice(self, after: int, sessions: Sessions, types: frozenset[str] | None) -> Slice:
        """Return the next matches after a seq, in order, bounded in rows, bytes and time. Raises `Pruned`."""
        ...

    async def seq_at(self, time: str) -> int | None:
        """Return the first recorded seq at or after a time; head + 1 if there is none, None if it was
        (partly) pruned.
        """
        ...

    async def hash_at(self, seq: int) -> bytes | None:
        """Return the hash that the entry after a recorded seq links to; None if that seq was pruned."""
        ...

    async def erasures_since(self, seq: int, sessions: Sessions) -> Sequence[tuple[str, int, int, str]]:
        """Return (session id, last seq then, count, time) of the erasures since the log had this seq."""
        ...


class Work(Protocol):
    """A task of a subscription: a feed, or a conflation."""

    async def run(self) -> None:
        """Run to its end."""
        ...


class Source(Protocol):
    """The part of the hub that a feed needs."""

    fanout: Fanout
    tail: Tail
    metrics: Metrics
    log: SampledLog
    history: History | None  # None where nothing is recorded
    ahead: int  # slices that were read ahead, or are being read, and are not written yet
    # Held while a slice is read and encoded, never while its reader is waited for. States need no reading: more than one
    # slice in a round of the loop would only make the round longer, and a new connection may wait for hundreds of
    # rounds: uvloop accepts one in each.
    turns: asyncio.Semaphore
    state_turn: asyncio.Lock

    @property
    def epoch(self) -> str:
        """The current epoch."""
        ...

    @property
    def head(self) -> int:
        """The highest seq given."""
        ...

    def states(self, sessions: Sessions) -> list[tuple[int, str, str]]:
        """Return (seq, session id, state) of every session that is not deleted, as of the head."""
        ...

    async def listing(self, sessions: Sessions) -> Listing:
        """Return a shared listing of the states, as of the head or of a little before."""
        ...

    @property
    def chunk_bytes(self) -> int:
        """The number of bytes written at once to a reader that is catching up."""
        ...

    def spawn(self, work: Work) -> asyncio.Task[None]:
        """Run `work.run()` as a task that the hub owns."""
        ...


class Sink(Protocol):
    """The destination of a feed's events: a WebSocket, or a queue inside this process."""

    position: int  # everything that matches, up to this seq, has been handed over

    def deliver(self, batch: Batch) -> None:
        """Send live entries."""
        ...

    def send_items(self, items: Sequence[bytes]) -> None:
        """Send deltas from history."""
        ...

    def send_states(self, states: Sequence[tuple[int, str, str]]) -> None:
        """Send the state of each (seq, session id, state)."""
        ...

    def send_event(self, event: str, **fields: Any) -> None:
        """Send another event: `live`, `reset`."""
        ...

    async def wait_writable(self) -> None:
        """Wait until most of what was handed over has been sent."""
        ...

    def failed(self, error: RecorderError) -> None:
        """End the subscription: the history could not be read."""
        ...

    def catching_up(self, yes: bool) -> None:
        """Register that sending of history begins (True) or is over (False)."""
        ...


class NullSink:
    """A sink, or a reader that is being moved on, in the place of one that is gone: nothing reaches it."""

    position = 0

    def deliver(self, batch: Batch) -> None:
        """Discard it."""

    def send_items(self, items: Sequence[bytes]) -> None:
        """Discard it."""

    def send_states(self, states: Sequence[tuple[int, str, str]]) -> None:
        """Discard it."""

    def send_event(self, event: str, **fields: Any) -> None:
        """Discard it."""

    def send_erased_now(self, session_id: str, through: int, count: int, erased_at: str) -> None:
        """Discard it."""

    def send_live(self, seq: int) -> None:
        """Discard it."""

    def pause(self) -> Skipped | None:
        """Do nothing."""
        return None

    def resume(self) -> None:
        """Do nothing."""

    async def wait_writable(self) -> None:
        """Return at once."""

    def failed(self, error: RecorderError) -> None:
        """Do nothing."""

    def catching_up(self, yes: bool) -> None:
        """Do nothing."""


NULL_SINK = NullSink()


class Feed:
    """Runs one sink's subscription; `start` again replaces it.

    Args:
        source: The hub.
        sink: Where the events go.
    """

    def __init__(self, source: Source, sink: Sink) -> None:
        self._source = source
        self._sink = sink
        self._subscription = Subscription()  # the current one
        self._task: asyncio.Task[None] | None = None  # catching up
        self._ahead: asyncio.Task[Slice] | None = None  # reading the slice that follows the one being written
        self._erasures = 0  # how many there have been
        self._joined = False  # whether the fan-out serves the sink
        self._ended = False  # whether `stop` was called since the last `start`
        self._follows = False  # whether it begins at the sink's position, and not where the subscription says
        self._instead: str | None = None  # what to resume from while there is no position to resume from

    @property
    def resume_from(self) -> str:
        """A `since` that loses nothing, for a sink that can take no more: the position, where there is one."""
        return self._instead or f"{self._source.epoch}:{self._sink.position}"

    @property
    def is_live(self) -> bool:
        """Return whether the fan-out serves the sink: every match up to the head has been handed to it."""
        return self._joined

    def start(self, subscription: Subscription) -> None:
        """Begin, or begin again with another subscription."""
        self.stop()
        self._ended = self._follows = False
        self._subscription = subscription
        if subscription.since.kind == "latest":
            self._source.metrics.resume("latest")
            self._go_live([], self._source.head)
        else:
            self._instead = subscription.since.text
            self._sink.catching_up(True)
            self._task = self._source.spawn(self)

    def stop(self) -> None:
        """End it. Harmless when it has ended."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._drop_ahead()
        if self._joined:
            self._joined = False
            self._source.fanout.leave(self._sink, self._subscription)

    def end(self) -> None:
        """Release the sink for good, after `stop`."""
        self._sink = NULL_SINK

    def fall_back(self) -> bool:
        """Return from live to history, at the sink's own pace, from its position on.

        Returns:
            False where it is not live.
        """
        if not self._joined:
            return False
        self._joined = False
        self._source.fanout.leave(self._sink, self._subscription)
        self._source.metrics.fallbacks += 1
        self._follows = True
        self._sink.catching_up(True)
        self._task = self._source.spawn(self)
        return True

    def pause(self) -> Skipped | None:
        """Pause delivery to the sink until `resume`; return what counts the skipped deltas, None if it is
        not live.
        """
        return self._source.fanout.pause(self._sink, self._subscription) if self._joined else None

    def resume(self) -> None:
        """Resume delivery to the sink."""
        if self._joined:
            self._source.fanout.resume(self._sink, self._subscription)

    def tell_live(self, head: int) -> None:
        """Send `live`: from now on deltas are sent as they happen. Call it only when everything up to the
        head was handed over.
        """
        link = self._source.tail.head_hash if self._subscription.with_hashes else None
        self._sink.send_event("live", seq=head, **({} if link is None else {"hash": link.hex()}))

    def tell_erased(self, session_id: str, through: int, count: int, erased_at: str) -> None:
        """Send an `erased` event to a reader that may have seen the content."""
        # What was read ahead, or is being read, may still have it.
        self._erasures += 1
        self._drop_ahead()
        sessions = self._subscription.sessions
        if sessions is None or session_id in sessions:
            self._sink.send_event(
                "erased", sessionId=session_id, through=through, count=count, erasedAt=erased_at
            )

    async def run(self) -> None:
        """Send everything before live; an error ends this subscription and no other."""
        try:
            await self._run()
        except RecorderError as error:
            self._sink.failed(error)
        except Exception:
            # The boundary of a subscription: it must not stay open with a gap. The hub counts and logs it.
            self._sink.failed(Unavailable("the history cannot be read", hint="resume in a moment"))
            raise
        finally:
            self._drop_ahead()

    async def _run(self) -> None:
        if not self._follows:
            await self._begin()
        while not await self._catch_up():
            await self._reset("pruned" if self._source.history is not None else "not_recording")

    async def _begin(self) -> None:
        """Move the sink to the start position that the subscription asks for."""
        since = self._subscription.since
        reason, cursor = await self._resolve(since)
        if reason is not None:
            await self._reset(reason)
        elif since.kind == "state":
            self._source.metrics.resume("states")
            await self._send_states(await self._source.listing(self._subscription.sessions))
        else:
            self._source.metrics.resume("resumed")
            if since.kind in ("position", "seq") and self._source.history is not None:
                # What it has seen up to there may have been erased while it was away.
                for told in await self._source.history.erasures_since(cursor, self._subscription.sessions):
                    self.tell_erased(*told)
            self._begin_after(cursor)

    async def _resolve(self, since: Since) -> tuple[str | None, int]:
        """Return why the start is not possible (or None), and the seq after which to continue."""
        source, history = self._source, self._source.history
        if history is None:
            return "not_recording", 0
        if since.kind == "earliest":
            return None, history.oldest - 1
        if since.kind == "state":
            return None, 0
        if since.kind == "time":
            first = source.tail.first_at(since.time) or await history.seq_at(since.time)
            # Pruned entries may still be in the tail, but must not be sent to new readers.
            return ("pruned", 0) if first is None or first < history.oldest else (None, first - 1)
        seq = since.seq
        if since.position is not None:
            if since.position.epoch != source.epoch:
                return "epoch_changed", 0
            seq = since.position.seq
        if seq > source.head:
            return "ahead", 0
        if seq < history.oldest - 1:
            return "pruned", 0
        if since.position is not None and since.position.hash is not None:
            return await self._compare(history, seq, since.position.hash), seq
        return None, seq

    async def _compare(self, history: History, seq: int, wanted: str) -> str | None:
        """Return why a position with a hash is not valid; None if the entry at that seq has that hash."""
        entry = self._source.tail.at(seq)
        # The tail has what may not be recorded yet; a chain that was off begins again after it.
        found = await history.hash_at(seq) if entry is None else entry.hash or GENESIS
        if found is None:
            return "pruned"
        return None if found.hex() == wanted else "fork"

    async def _reset(self, reason: str) -> None:
        source, history = self._source, self._source.history
        self._instead = "state"
        listing = await source.listing(self._subscription.sessions)
        source.metrics.resume(f"reset_{reason}")
        source.log.write(
            "INFO",
            "subscriber reset",
            code=reason,
            since=self._subscription.since.text,
            head=source.head,
        )
        self._sink.send_event(
            "reset",
            reason=reason,
            epoch=source.epoch,
            oldest=history.oldest if history is not None else source.head + 1,
            head=listing.head,
        )
        await self._send_states(listing)

    async def _send_states(self, listing: Listing) -> None:
        # There is no position within the states: a reader disconnected here starts over with them.
        self._instead = "state"
        source, sessions = self._source, self._subscription.sessions
        at = 0
        while at < len(listing):
            await self._sink.wait_writable()
            async with source.state_turn:
                states, at = listing.read(at, sessions, source.chunk_bytes)
                if states:
                    self._sink.send_states(states)
                # The turn is over with that of the loop: what is done in one is bounded, however many wait.
                await asyncio.sleep(0)
        # All of one instant: what follows is exactly what was published after it.
        self._begin_after(listing.head)

    def _begin_after(self, cursor: int) -> None:
        self._sink.position = cursor
        self._instead = None

    async def _catch_up(self) -> bool:
        """Follow the order from the sink's position to live; False where what follows it is gone."""
        while True:
            await self._sink.wait_writable()
            async with self._source.turns:
                outcome = await self._send_slice()
                # At least one turn of the loop per slice, however fast the reader is.
                await asyncio.sleep(0)
            if outcome is not None:
                return outcome

    async def _send_slice(self) -> bool | None:
        """Send what follows the sink's position; True where it is live then, False where that is gone, else None."""
        source, sink, history = self._source, self._sink, self._source.history
        entries = source.tail.after(sink.position)
        if entries is None:
            if history is None:
                return False  # recording is off, and the tail does not reach back far enough
            try:
                await self._send_history(history)
            except Pruned:
                return False
            return None
        chunk, size = _head_of(entries, source.chunk_bytes)
        # A single long entry is also sent at the reader's own pace, before it is live.
        if len(chunk) == len(entries) and size <= CHUNK_BYTES:
            self._go_live(entries, source.head)
            return True
        self._hand_over(chunk)
        sink.position = chunk[-1].seq
        return None

    async def _send_history(self, history: History) -> None:
        """Send the next slice out of the store; begin to read the one behind it."""
        piece = await self._next(history)
        if piece.last_seq < self._source.tail.first_seq - 1:
            # What follows comes from history, too: it is read while this is written.
            self._read_ahead(history, piece.last_seq)
        if piece.items:
            shown = self._subscription.with_hashes
            self._sink.send_items(piece.items if shown else [without_hash(item) for item in piece.items])
        self._sink.position = piece.last_seq

    def _read_ahead(self, history: History, after: int) -> None:
        if self._source.ahead >= MAX_AHEAD:
            return
        self._source.ahead += 1
        subscription = self._subscription
        read = history.read_slice(after, subscription.sessions, subscription.types)
        self._ahead = asyncio.create_task(read, name="hub-feed-ahead")
        # If nobody waits for it any more, its outcome does not matter.
        self._ahead.add_done_callback(lambda task: task.cancelled() or task.exception())

    def _take_ahead(self) -> asyncio.Task[Slice] | None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            self._source.ahead -= 1
        return ahead

    def _drop_ahead(self) -> None:
        ahead = self._take_ahead()
        if ahead is not None:
            ahead.cancel()

    async def _next(self, history: History) -> Slice:
        """Return the slice after the sink's position: the one that was read ahead, if there is one."""
        subscription = self._subscription
        while True:
            erasures, ahead = self._erasures, self._take_ahead()
            if ahead is None:
                after = self._sink.position
                piece = await history.read_slice(after, subscription.sessions, subscription.types)
            else:
                piece = await ahead
            if erasures == self._erasures:
                return piece

    def _go_live(self, rest: list[Entry], head: int) -> None:
        # No await from here to the join: this is the seam.
        self._source.fanout.flush()
        self._hand_over(rest)
        self._begin_after(head)
        self._sink.catching_up(False)
        self.tell_live(head)
        # What was just written may have been too much for the sink, which has stopped us then.
        if not self._ended:
            self._source.fanout.join(self._sink, self._subscription)
            self._joined = True

    def _hand_over(self, entries: list[Entry]) -> None:
        wanted = [entry for entry in entries if _matches(entry, self._subscription)]
        if wanted:
            batch = Batch(wanted) if self._subscription.with_hashes else batch_without_hashes(wanted)
            self._source.metrics.delivered(len(wanted), len(batch.wire))
            self._sink.deliver(batch)


def states_at_once(states: Sequence[tuple[int, str, str]], start: int, max_bytes: int) -> int:
    """Return where the states end that are written together: few, and of a bounded size, but one at least."""
    size = 0
    for stop in range(start, min(start + MAX_STATES, len(states))):
        size += len(states[stop][2])
        if size > max_bytes:
            return max(stop, start + 1)
    return min(start + MAX_STATES, len(states))


def _head_of(entries: list[Entry], max_bytes: int) -> tuple[list[Entry], int]:
    """Return as many of the first entries as fit, at least one if there is one, and their size in bytes."""
    size = 0
    for count, entry in enumerate(entries):
        if count and size + len(entry.frame) > max_bytes:
            return entries[:count], size
        size += len(entry.frame)
    return entries, size


def _matches(entry: Entry, subscription: Subscription) -> bool:
    return (subscription.sessions is None or entry.session_id in subscription.sessions) and (
        subscription.types is None or entry.type in subscription.types
    )
