"""The one way in: every delta, over WebSocket, HTTP or in process, passes here.

Decode and check first, all or none; then number, broadcast and queue for recording, without an await between, so
that the order of the numbers, of the wire and of the database is one. Who publishes too fast is held back by
`is_full`; what has been accepted is never dropped. It does not ask whether anybody subscribes.

Where an ack means "on disk", entries are held back until the log says so, and only then broadcast. What the disk does
not take is withdrawn, and its publishers are told, before anybody has seen it.

Whatever goes wrong while a publish gets its places, be it a lack of memory: it gets none, and everything is as it was.
Where that can't be had, since others may have seen some of it, nothing is taken any more: the next start begins a new
epoch.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol, cast

import msgspec
from loguru import logger

from recorder.core.chain import content_digest
from recorder.core.clock import Clock
from recorder.core.delta import MAX_DEPTH, Delta, Entry
from recorder.core.errors import (
    Closed,
    Conflict,
    InternalError,
    NotAllowed,
    OutcomeUnknown,
    OutOfMemory,
    RecorderError,
    StoreError,
    Unavailable,
)
from recorder.core.metrics import Metrics
from recorder.core.observers import report_failure
from recorder.core.redaction import Redactor, without_digests
from recorder.core.session_filter import Scope, Sessions
from recorder.engine.idempotency import RecentIds
from recorder.engine.limits import DEFAULT_LIMITS, PublishLimits
from recorder.engine.sequencer import Sequencer
from recorder.engine.uncommitted import Uncommitted
from recorder.wire.decode import decode_lines, decode_text, place_of


class Broadcast(Protocol):
    """Who hands entries to subscribers."""

    def publish(self, entries: Sequence[Entry]) -> None:
        """Broadcast entries, soon."""
        ...


class Log(Protocol):
    """Who records entries. Where nothing is recorded, `None` stands in its place."""

    @property
    def space(self) -> int:
        """The number of entries the queue has capacity for."""
        ...

    @property
    def recorded(self) -> int:
        """The highest seq recorded."""
        ...

    @property
    def durable(self) -> int:
        """The highest seq on disk."""
        ...

    @property
    def fatal_error(self) -> str | None:
        """The error that ended recording; None while it works."""
        ...

    @property
    def disk_error(self) -> str | None:
        """The disk error that currently prevents acks of durable deltas; None if there is none."""
        ...

    def extend(self, entries: Sequence[Entry]) -> None:
        """Queue entries for recording, all or none."""
        ...

    def fail(self, reason: str) -> None:
        """Record nothing more: what was given out can't be recorded whole."""
        ...


class Waiter(Protocol):
    """Who waits for something to be told."""

    def abort(self) -> None:
        """Abort after a notification failed, so that the peer does not wait for ever."""
        ...


class RoomWaiter(Waiter, Protocol):
    """Who is told when there is room."""

    def on_room(self) -> None:
        """Register that the queue has capacity again."""
        ...


class RecordedWaiter(Waiter, Protocol):
    """Who is told when more is recorded."""

    def on_recorded(self) -> None:
        """Register that more is recorded than before."""
        ...

    def on_withdrawn(self, error: RecorderError) -> None:
        """Register that what is not recorded now never will be."""
        ...


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """What was taken in one go.

    Args:
        epoch: The epoch of the numbers.
        first_seq: The number of the first delta.
        seq: The number of the last delta.
        count: How many deltas there were.
        duplicates: How many of them were known already, by their id.
        through: The highest number among them: the ack is true once this much is recorded.
    """

    epoch: str
    first_seq: int
    seq: int
    count: int
    through: int
    duplicates: int = 0

    def ack(self, durable: int) -> bytes:
        """Return the `ack` event, as JSON text.

        Args:
            durable: The highest seq known to be on disk.
        """
        # By hand: there is one for every frame of every publisher.
        return (
            f'{{"event":"ack","epoch":"{self.epoch}","firstSeq":{self.first_seq},"seq":{self.seq}'
            f',"count":{self.count},"durable":{"true" if self.through <= durable else "false"}'
            + (f',"duplicates":{self.duplicates}}}' if self.duplicates else "}")
        ).encode()

    def fields(self, durable: int) -> dict[str, object]:
        """Return the ack's fields as HTTP returns them."""
        fields: dict[str, object] = {
            "epoch": self.epoch,
            "firstSeq": self.first_seq,
            "seq": self.seq,
            "count": self.count,
            "durable": self.through <= durable,
        }
        if self.duplicates:
            fields["duplicates"] = self.duplicates
        return fields


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """A text that was looked into, and of which nothing has a place yet.

    Args:
        text: The text.
        deltas: What it holds, without secrets.
        contents: The digest of the content of each delta with an id, by index.
        redacted: How many secrets were taken out.
        lines: Whether the text is NDJSON.
        sessions: The only sessions that its publisher may write; None for all.
        error: Why nothing of it can be taken, if so.
    """

    text: bytes
    deltas: Sequence[Delta]
    contents: dict[int, bytes]
    redacted: int
    lines: bool
    sessions: Sessions
    error: RecorderError | None


LARGE_BYTES = 64 << 10
"""From how long on a text is prepared in a thread: shorter ones take a few milliseconds at most."""
THREADS = 2
"""How many such texts are prepared at once, so that one that takes seconds does not hold up all others."""


class Ingest:
    """See the module.

    Args:
        sequencer: Numbers the deltas.
        ids: Knows the ids used lately.
        broadcast: Gets every entry.
        log: Records every entry; None where recording is off.
        clock: For the time of receipt.
        metrics: Counts.
        limits: What one publish may hold.
        redactor: Takes secrets out of states; None where none is to go.
        refusal: Tells why nothing can be taken now, if so.
        held: Keeps entries back until they are on disk; None where they are broadcast at once.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        ids: RecentIds,
        broadcast: Broadcast,
        log: Log | None,
        clock: Clock,
        metrics: Metrics,
        *,
        limits: PublishLimits = DEFAULT_LIMITS,
        redactor: Redactor | None = None,
        refusal: Callable[[], RecorderError | None] = lambda: None,
        held: Uncommitted | None = None,
    ) -> None:
        self.max_message_bytes = limits.max_message_bytes  # for those who read messages for it
        self._sequencer = sequencer  # gives each delta its place
        self._ids = ids  # used lately; only read until a whole frame is accepted
        self._broadcast = broadcast  # gets every entry: at once, or when it is on disk
        self._held = held  # has those that are not on disk
        self._log = log  # gets every entry then
        self._clock = clock  # read once a frame: its deltas are received at one time
        self._metrics = metrics  # counts what is taken and what is refused
        self._limits = limits  # of each publish
        self._looks_for_depth = limits.max_depth < MAX_DEPTH  # else decoding has seen to it
        self._redactor = redactor  # first of all that looks into a state
        self._refusal = refusal  # asked before each publish
        self._room_waiters: dict[RoomWaiter, None] = {}  # told, once each, when there is room
        self._recorded_waiters: dict[RecordedWaiter, None] = {}  # told, once each, when more is recorded
        self._closed = False  # whether nothing more is taken
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ingest")  # prepare what is long
        self._fatal_error: str | None = None  # why nothing more can be taken, whatever the log says

    @property
    def is_full(self) -> bool:
        """Return whether the recording queue is at its limit."""
        return self.space == 0

    @property
    def space(self) -> int:
        """The number of deltas the recording queue has capacity for."""
        return sys.maxsize if self._log is None else self._log.space

    @property
    def recorded(self) -> int:
        """Acks for everything up to this seq are true."""
        return self._sequencer.head if self._log is None else self._log.recorded

    @property
    def durable(self) -> int:
        """Acks up to this seq say that it is on disk.

        Where an ack means that, each is given for a group that was: also while the next one has just found out that the
        file is there no more.
        """
        if self._log is None:
            return 0
        return self._log.recorded if self.may_withdraw else self._log.durable

    @property
    def fatal_error(self) -> str | None:
        """The error that ended recording; None while it works."""
        return self._fatal_error or (None if self._log is None else self._log.fatal_error)

    @property
    def may_withdraw(self) -> bool:
        """Return whether accepted deltas may be rolled back: in the durability mode that holds them until
        they are on disk.
        """
        return self._held is not None

    async def prepare(self, text: bytes, sessions: Sessions = None, *, lines: bool = False) -> Prepared:
        """Decode a text, check it and take secrets out; in a thread where it is long, so that nobody waits for it.

        Nothing of it has a place yet: hand what is returned to `accept`.

        Args:
            text: The text.
            sessions: The only sessions that its publisher may write; None for all.
            lines: Whether it is NDJSON.

        Returns:
            What came of it; an error is told by `accept`.
        """
        if len(text) <= LARGE_BYTES:
            return self._prepare(text, sessions, lines=lines)
        loop = asyncio.get_running_loop()
        try:
            work = loop.run_in_executor(self._threads, partial(self._prepare, text, sessions, lines=lines))
        except RuntimeError as error:
            # No thread can be started, or the recorder is closed.
            if self._closed:
                return Prepared(text, (), {}, 0, lines, None, _closed())
            return Prepared(
                text,
                (),
                {},
                0,
                lines,
                None,
                Unavailable(f"no thread for it: {error}", hint="publish it again"),
            )
        return await work

    def accept(
        self, text: bytes | Prepared, spend: Spend | None = None, sessions: Sessions = None
    ) -> Accepted:
        """Take the deltas of a JSON text: one delta, or an array, all or none.

        Args:
            text: The text, or what `prepare` made of it.
            spend: Gets the number of deltas, before any has a place; raises RecorderError where that is too many.
            sessions: The only sessions that its publisher may write; None for all.

        Raises:
            RecorderError: Nothing of it was taken; the code and the place say why.
        """
        return _raised(self.accept_each([text], spend, sessions)[0])

    def accept_each(
        self, texts: Sequence[bytes | Prepared], spend: Spend | None = None, sessions: Sessions = None
    ) -> list[Accepted | RecorderError]:
        """Take texts one after the other, as `accept` does: what is refused of one does not touch the others.

        They are received at one time, and handed on together.

        Args:
            texts: The texts.
            spend, sessions: As in `accept`.

        Returns:
            What came of each.
        """
        return self._take(texts, spend, sessions, lines=False)

    def accept_lines(self, text: bytes, spend: Spend | None = None, sessions: Sessions = None) -> Accepted:
        """Accept the deltas of an NDJSON text, like `accept`."""
        return _raised(self._take([text], spend, sessions, lines=True)[0])

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=False)

    def wait_for_room(self, waiter: RoomWaiter) -> None:
        """Notify `waiter` once when there is capacity again."""
        self._room_waiters[waiter] = None

    def wait_recorded(self, waiter: RecordedWaiter) -> None:
        """Notify `waiter` once when more is recorded."""
        self._recorded_waiters[waiter] = None

    async def room(self) -> None:
        """Wait until it is not full, or recording has failed (which `accept` then says)."""
        while self.is_full and self.fatal_error is None:
            future = _Future()
            self.wait_for_room(future)
            try:
                await future.future
            finally:
                self._room_waiters.pop(future, None)

    async def until_recorded(self, seq: int) -> None:
        """Wait until everything up to `seq` is recorded.

        Raises:
            OutcomeUnknown: Recording has failed meanwhile. What was accepted may be on disk.
        """
        while self.recorded < seq:
            if self.fatal_error is not None:
                raise _not_known(self.fatal_error)
            self._check_open(closing_is_fine=True)
            future = _Future()
            self.wait_recorded(future)
            try:
                await future.future
            finally:
                self._recorded_waiters.pop(future, None)

    def on_progress(self) -> None:
        """Process the log's notification: more is recorded, there is more capacity, or recording failed."""
        if self._held is not None and self._fatal_error is None:
            self._release(self._held)
        waiters, self._recorded_waiters = self._recorded_waiters, {}
        for waiter in waiters:
            self._tell(waiter, waiter.on_recorded)
        # When recording has failed there will never be room again: whoever waits is to publish, and be told.
        while self._room_waiters and (not self.is_full or self.fatal_error is not None):
            room_waiter = next(iter(self._room_waiters))
            del self._room_waiters[room_waiter]
            self._tell(room_waiter, room_waiter.on_room)

    def withdraw(self, reason: str, unknown: bool = False) -> None:
        """Take back what is not recorded yet: the log calls this when the disk did not take it.

        Args:
            reason: What the disk said.
            unknown: Whether nobody knows if some of it is on disk all the same.
        """
        assert self._held is not None, "what was broadcast cannot be withdrawn"
        for entry in self._held.withdraw():
            if entry.id is not None:
                self._ids.forget(entry.id)
        waiters, self._recorded_waiters = self._recorded_waiters, {}
        for waiter in waiters:
            self._tell(
                waiter, partial(waiter.on_withdrawn, _not_known(reason) if unknown else _not_on_disk(reason))
            )

    def forget(self, session_id: str, through: int | None = None) -> int:
        """Stop filling in states of a session, as its content is erased.

        Args:
            session_id: Whose.
            through: What a later delta than this has made stays known; by default everything is forgotten.

        Returns:
            The last number given: a delta up to here may have the state filled in.
        """
        head = self._sequencer.head
        self._sequencer.forget(session_id, head if through is None else through)
        if self._held is not None:
            self._held.states.forget(session_id, head if through is None else through)
        return head

    def remember(self, session_id: str, seq: int, text: str) -> None:
        """Undo `forget`: the content is still there."""
        self._sequencer.remember(session_id, seq, text)
        if self._held is not None and self._held.states.get(session_id) is None:
            self._held.states.put(session_id, seq, text, None)

    def _tell(self, waiter: Waiter, call: Callable[[], None]) -> None:
        """Notify one waiter; an error of one does not keep the others from being notified."""
        try:
            call()
        except Exception:
            report_failure("publisher", self._metrics)
            waiter.abort()

    def _release(self, held: Uncommitted) -> None:
        """Broadcast what is on disk now."""
        try:
            self._hand_out(held.release(self.recorded))
        except Exception as error:
            # They are recorded, and not everybody has seen them: nothing may follow.
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Take nothing more, as what was given out is not whole anywhere."""
        if self._fatal_error is None:
            self._fatal_error = f"{type(error).__name__}: {error}"
            logger.opt(exception=error).critical(
                "what was accepted could not be handed on; nothing more is taken"
            )
            if self._log is not None:
                self._log.fail(self._fatal_error)

    def _take(
        self, texts: Sequence[bytes | Prepared], spend: Spend | None, sessions: Sessions, *, lines: bool
    ) -> list[Accepted | RecorderError]:
        now_ms = self._clock.now_ms()
        # Filled in place: an answer to what has its place already must not fail for want of memory.
        outcomes: list[Accepted | RecorderError] = [_NOT_TRIED] * len(texts)
        entries: list[Entry] = []
        try:
            closed = self._why_nothing()
            for index, text in enumerate(texts):
                try:
                    if closed is not None:
                        raise closed
                    prepared = (
                        text if isinstance(text, Prepared) else self._prepare(text, sessions, lines=lines)
                    )
                    if prepared.error is not None:
                        raise prepared.error
                    self._metrics.redacted += prepared.redacted
                    known = self._known(prepared) if prepared.contents else _NOTHING_KNOWN
                    if spend is not None:
                        spend(len(prepared.deltas))
                    outcomes[index] = self._sequence(prepared.deltas, known, now_ms, entries)
                except RecorderError as error:
                    self._metrics.refuse(error.code)
                    # Its traceback holds the text, in a circle that would wait for the garbage collector.
                    error.__traceback__ = error.__context__ = None
                    outcomes[index] = error
                except MemoryError:
                    size = len(text.text if isinstance(text, Prepared) else text)
                    outcomes[index] = _no_memory(size)
                    self._metrics.refuse(OutOfMemory.code)
        finally:
            # Whatever happens: what has a place is seen and recorded.
            self._hand_on(entries)
        return outcomes

    def _why_nothing(self) -> RecorderError | None:
        """Return the reason why nothing is accepted now, or None."""
        try:
            self._check_open()
        except RecorderError as error:
            return error
        return self._refusal()

    def _prepare(self, text: bytes, sessions: Sessions, *, lines: bool) -> Prepared:
        """Decode and check a text as far as possible without the engine's state. Safe in any thread: it
        changes nothing.
        """
        decode = decode_lines if lines else decode_text
        deltas: Sequence[Delta] = ()
        contents: dict[int, bytes] = {}
        redacted, refusal = 0, None
        try:
            deltas = decode(text, self._limits.max_delta_bytes, self._limits.max_deltas)
            if self._looks_for_depth:
                self._limits.check(deltas, text, lines=lines)
            if sessions is not None:
                _check_sessions(deltas, sessions, text, lines=lines)
            if self._redactor is not None:
                redacted = _redact(deltas, self._redactor)
            for index, delta in enumerate(deltas):
                if delta.id is not None:
                    contents[index] = _content_of(delta)
        except RecorderError as error:
            error.__traceback__ = error.__context__ = None
            refusal = error
        except MemoryError:
            refusal = _no_memory(len(text))
        return Prepared(text, deltas, contents, redacted, lines, sessions, refusal)

    def _check_open(self, *, closing_is_fine: bool = False) -> None:
        if self._closed and not closing_is_fine:
            raise _closed()
        if self.fatal_error is not None:
            raise Unavailable(f"nothing can be recorded: {self.fatal_error}", hint="restart the recorder")
        if self._log is not None and self._log.disk_error is not None:
            # Of this publish only: what an earlier one with the same ids was told stays true.
            raise StoreError(
                f"nothing is taken: the disk does not take it ({self._log.disk_error})",
                hint="publish it again, with the same ids, when /readyz is green",
            )

    def _known(self, prepared: Prepared) -> dict[int, _Known]:
        """Return what is known of each delta that has an id, by its index. Raises Conflict."""
        known: dict[int, _Known] = {}
        fresh: dict[str, bytes] = {}  # ids that are new in this very frame, and their content
        for index, content in prepared.contents.items():
            delta_id = prepared.deltas[index].id
            assert delta_id is not None
            seq, is_same = self._find(prepared.deltas[index], delta_id, content) or (
                None,
                fresh.setdefault(delta_id, content) == content,
            )
            if not is_same:
                at, place = place_of(prepared.text, index, "id", lines=prepared.lines)
                # Who may write some sessions only may not know where the id was used: it may be a foreign one.
                whole = prepared.sessions is None
                used = "earlier in this publish" if seq is None else f"at seq {seq}" if whole else "before"
                raise Conflict(
                    f"{place}: {delta_id!r} was used {used} with other content",
                    hint="an id names one delta for ever; give a new delta a new id",
                    index=at,
                    place=place,
                )
            known[index] = (seq, content)
        return known

    def _find(self, delta: Delta, delta_id: str, content: bytes) -> tuple[int, bool] | None:
        """Look an id up as `RecentIds.find` does; also accept the content digest of an older release."""
        found = self._ids.find(delta_id, content)
        if found is None or found[1]:
            return found
        # Older releases made the digest of the markers, too, which the salt is in.
        older = content_digest(delta.type, delta.session_id, delta.before, delta.after, delta.timestamp)
        return found if older == content else self._ids.find(delta_id, older)

    def _sequence(
        self, deltas: Sequence[Delta], known: dict[int, _Known], now_ms: int, entries: list[Entry]
    ) -> Accepted:
        """Append deltas to the order, all or none; the resulting entries are added to `entries`."""
        if not known and len(deltas) == 1:
            return self._number_one(deltas[0], now_ms, entries)
        before, checkpoint = len(entries), self._sequencer.checkpoint(deltas)
        # Ids that are new in this very frame; `ids` may hold fewer than the frame has.
        fresh: dict[str, tuple[int, bytes]] = {}
        try:
            accepted = self._number(deltas, known, now_ms, entries, fresh)
            for delta_id, (seq, content) in fresh.items():
                self._ids.add(delta_id, seq, content)
        except BaseException:
            try:
                del entries[before:]
                for delta_id in fresh:
                    self._ids.forget(delta_id)
                self._sequencer.roll_back(checkpoint)
            except BaseException as error:
                self._fail(error)
            raise
        self._metrics.duplicates += accepted.duplicates
        return accepted

    def _number_one(self, delta: Delta, now_ms: int, entries: list[Entry]) -> Accepted:
        """Append a single delta without a checkpoint: everything that may fail comes before it gets its seq."""
        seq = self._sequencer.head + 1
        accepted = Accepted(self._sequencer.epoch, seq, seq, 1, seq)
        entries.append(_NO_ENTRY)
        try:
            entries[-1] = self._sequencer.append(delta, now_ms, None)
        except BaseException:
            entries.pop()
            raise
        return accepted

    def _number(
        self,
        deltas: Sequence[Delta],
        known: dict[int, _Known],
        now_ms: int,
        entries: list[Entry],
        fresh: dict[str, tuple[int, bytes]],
    ) -> Accepted:
        sequencer = self._sequencer
        start = sequencer.head
        if not known:
            entries += [sequencer.append(delta, now_ms, None) for delta in deltas]
            last = sequencer.head
            return Accepted(sequencer.epoch, start + 1, last, len(deltas), last)
        seqs: list[int] = []
        for index, delta in enumerate(deltas):
            seq, content = known.get(index, _UNKNOWN)
            if seq is None and delta.id is not None and delta.id in fresh:
                seq = fresh[delta.id][0]
            if seq is None:
                entry = sequencer.append(delta, now_ms, content)
                entries.append(entry)
                seq = entry.seq
                if delta.id is not None and content is not None:
                    fresh[delta.id] = seq, content
            seqs.append(seq)
        duplicates = len(seqs) - (sequencer.head - start)
        return Accepted(sequencer.epoch, seqs[0], seqs[-1], len(seqs), max(seqs), duplicates)

    def _hand_on(self, entries: list[Entry]) -> None:
        """Pass entries to the recording queue and to the fan-out, in one step of the loop."""
        if not entries:
            return
        try:
            # In this order: nobody must have seen what the log did not take.
            if self._log is not None:
                self._log.extend(entries)
            if self._held is None:
                self._hand_out(entries)
            else:
                self._held.hold(entries)
        except BaseException as error:
            self._fail(error)
            raise

    def _hand_out(self, entries: list[Entry]) -> None:
        """Count entries that are accepted for good, and broadcast them."""
        self._metrics.accepted += len(entries)
        for entry in entries:
            if entry.lineage is not None:
                self._metrics.lineage_breaks += 1
        if entries:
            self._broadcast.publish(entries)


def _redact(deltas: Sequence[Delta], redactor: Redactor) -> int:
    """Take secrets out, before digests are made of the content, and before anything is kept of it; how many went."""
    redacted = 0
    for delta in deltas:
        if delta.before is not None:
            delta.before, count = redactor.redact(delta.before)
            redacted += count
        if delta.after is not None:
            delta.after, count = redactor.redact(delta.after)
            redacted += count
    return redacted


def _content_of(delta: Delta) -> bytes:
    """Return the digest of a delta's content, of what stays the same when the redactor's salt changes."""
    before = None if delta.before is None else without_digests(delta.before)
    after = None if delta.after is None else without_digests(delta.after)
    return content_digest(delta.type, delta.session_id, before, after, delta.timestamp)


def _raised(outcome: Accepted | RecorderError) -> Accepted:
    if isinstance(outcome, RecorderError):
        try:
            raise outcome
        finally:
            # It will know this frame, and this frame must not know it: they would wait for the garbage collector,
            # and with them the callers' frames, which have the text.
            del outcome
    return outcome


def _closed() -> Closed:
    return Closed("the recorder is stopping", hint="publish again when it is back")


def _no_memory(size: int) -> OutOfMemory:
    logger.bind(size=size).error("a publish was refused for want of memory; nothing of it was taken")
    return OutOfMemory(
        f"not recorded: there was no memory for a publish of {size} bytes",
        hint="publish it again, in smaller pieces or later",
    )


def _not_on_disk(reason: str) -> StoreError:
    return StoreError(
        f"not recorded: the disk did not take it ({reason})", hint="publish it again when /readyz is green"
    )


def _not_known(reason: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"it is not known whether this is recorded ({reason})",
        hint="publish it again with the same ids when /readyz is green: what is recorded is then not recorded twice",
    )


def _check_sessions(
    deltas: Sequence[Delta], sessions: frozenset[str] | Scope, text: bytes, *, lines: bool
) -> None:
    """Raise NotAllowed where a delta is of a session that its publisher may not write."""
    for index, delta in enumerate(deltas):
        if delta.session_id not in sessions:
            at, place = place_of(text, index, "sessionId", lines=lines)
            raise NotAllowed(
                f"{place}: session {delta.session_id[:80]!r} is not among those of the token",
                index=at,
                place=place,
            )


Spend = Callable[[int], None]
_Known = tuple[int | None, bytes | None]
"""The seq that a delta's id has already, None where it is new; the digest of its content."""
_UNKNOWN: _Known = (None, None)
_NO_ENTRY = cast("Entry", None)
"""Holds the place of an entry in a list, so that the list has grown before the entry is there."""
_NOT_TRIED = InternalError("it was not come to")
"""What stands for the answers to the texts behind one that nobody could make anything of."""
_NOTHING_KNOWN: dict[int, _Known] = {}


class _Future:
    """A waiter that an `await` hangs on."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_room(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    on_recorded = on_room

    def abort(self) -> None:
        self.on_withdrawn(
            Unavailable("what became of it cannot be told", hint="publish again with the same id")
        )

    def on_withdrawn(self, error: RecorderError) -> None:
        if not self.future.done():
            self.future.set_exception(error)
