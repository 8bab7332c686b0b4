"""The one way in: every delta, over WebSocket, HTTP or in process, passes here.

Prepare first, all or none (`prepare`); then number (`numbering`), broadcast and queue for recording, without an await
between, so that the order of the numbers, of the wire and of the database is one. Who publishes too fast is held back by
`is_full`; what has been accepted is never dropped. It does not ask whether anybody subscribes.
The answers to publishers are made in `answers`; those who wait for them are in `waiters`.

Where an ack means "on disk", entries are held back until the log says so, and only then broadcast. What the disk does
not take is rolled back, and its publishers are told, before any subscriber has seen it.

Whatever goes wrong while a publish gets its places, be it a lack of memory: it gets none, and everything is as it was.
Where that can't be had, since others may have seen some of it, nothing is taken any more: the next start begins a new
epoch.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from loguru import logger

from recorder.core.clock import Clock
from recorder.core.delta import Entry
from recorder.core.errors import (
    InternalError,
    RecorderError,
    StoreError,
    Unavailable,
)
from recorder.core.metrics import Metrics
from recorder.core.observers import report_failure
from recorder.core.redaction import Redactor
from recorder.core.session_filter import Sessions
from recorder.engine.answers import Accepted, closed, no_memory, not_known, not_on_disk, raised
from recorder.engine.idempotency import RecentIds
from recorder.engine.loop_guard import LoopGuard
from recorder.engine.numbering import STEP_LOOKUPS, Numbering, Spend
from recorder.engine.prepare import DEFAULT_LIMITS, LARGE_BYTES, Prepared, Preparer, PublishLimits
from recorder.engine.sequencer import Sequencer
from recorder.engine.uncommitted import Uncommitted
from recorder.engine.waiters import CapacityWaiter, FutureWaiter, RecordedWaiter, Waiter


class Broadcast(Protocol):
    """The component that delivers entries to subscribers."""

    def publish(self, entries: Sequence[Entry]) -> None:
        """Broadcast entries, soon."""
        ...


class Log(Protocol):
    """The log that records entries. While nothing is recorded, `None` is used instead."""

    @property
    def capacity(self) -> int:
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


class Ingest:
    """The entry point for published deltas.

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
        self._sequencer = sequencer  # has the head, and the states to fill in
        self._ids = ids  # forgets those that are rolled back
        self._broadcast = broadcast  # gets every entry: at once, or when it is on disk
        self._held = held  # has those that are not on disk
        self._log = log  # gets every entry then
        self._clock = clock  # read once a frame: its deltas are received at one time
        self._metrics = metrics  # counts what is taken and what is refused
        self._preparer = Preparer(limits, redactor)  # looks into texts
        self._numbering = Numbering(sequencer, ids, metrics, self._fail)  # gives deltas their places
        self._refusal = refusal  # asked before each publish
        self._capacity_waiters: dict[CapacityWaiter, None] = {}  # notified, once each, when there is capacity
        self._recorded_waiters: dict[RecordedWaiter, None] = {}  # notified, once each, when more is recorded
        self._guard = LoopGuard("recorder")  # places in the order are given by one thread
        self._turn = asyncio.Lock()  # held by the publish that is being taken by `take`
        self._is_numbering = False  # whether that is being numbered, in steps
        self._closed = False  # no more deltas are accepted
        self._fatal_error: str | None = None  # the error that ended ingest, whatever the state of the log

    @property
    def is_full(self) -> bool:
        """Return whether the recording queue is at its limit."""
        return self.capacity == 0

    @property
    def capacity(self) -> int:
        """The number of deltas the recording queue has capacity for."""
        return sys.maxsize if self._log is None else self._log.capacity

    @property
    def is_numbering(self) -> bool:
        """Return whether a long publish is being numbered: who can wait for it by `take` should."""
        return self._is_numbering

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
        return self._log.recorded if self.may_roll_back else self._log.durable

    @property
    def fatal_error(self) -> str | None:
        """The error that ended recording; None while it works."""
        return self._fatal_error or (None if self._log is None else self._log.fatal_error)

    @property
    def may_roll_back(self) -> bool:
        """Return whether accepted deltas may be rolled back: in the durability mode that holds them until
        they are on disk.
        """
        return self._held is not None

    async def prepare(self, text: bytes, sessions: Sessions = None, *, lines: bool = False) -> Prepared:
        """Look into a text before it is handed to `accept`; see `Preparer.prepare`."""
        return await self._preparer.prepare(text, sessions, lines=lines)

    async def take(self, prepared: Prepared, spend: Spend | None = None) -> Accepted:
        """Take a publish after those that are being taken, as `accept` does; a long one without holding up the loop.

        It is numbered in steps. Whatever is accepted between two of them makes it begin again.

        Args:
            prepared: The publish.
            spend: As in `accept`.

        Raises:
            RecorderError: Nothing of it was taken; the code and the place say why.
        """
        self._guard.check()
        async with self._turn:
            if len(prepared.text) <= LARGE_BYTES:
                return self.accept(prepared, spend)
            self._is_numbering = True
            try:
                return await self._take_in_steps(prepared, spend)
            finally:
                self._is_numbering = False

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
        return raised(self._take([text], spend, sessions, lines=False)[0])

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
        return raised(self._take([text], spend, sessions, lines=True)[0])

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True
        self._preparer.close()

    def wait_for_capacity(self, waiter: CapacityWaiter) -> None:
        """Notify `waiter` once when there is capacity again."""
        self._capacity_waiters[waiter] = None

    def wait_recorded(self, waiter: RecordedWaiter) -> None:
        """Notify `waiter` once when more is recorded."""
        self._recorded_waiters[waiter] = None

    async def until_capacity(self) -> None:
        """Wait until it is not full, or recording has failed (which `accept` then says)."""
        self._guard.check()
        while self.is_full and self.fatal_error is None:
            future = FutureWaiter()
            self.wait_for_capacity(future)
            try:
                await future.future
            finally:
                self._capacity_waiters.pop(future, None)

    async def until_recorded(self, seq: int) -> None:
        """Wait until everything up to `seq` is recorded.

        Raises:
            OutcomeUnknown: Recording has failed meanwhile. What was accepted may be on disk.
        """
        self._guard.check()
        while self.recorded < seq:
            if self.fatal_error is not None:
                raise not_known(self.fatal_error)
            self._check_open(closing_is_fine=True)
            future = FutureWaiter()
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
        # After recording has failed there is never capacity again: let waiting publishers publish, and get the error.
        while self._capacity_waiters and (not self.is_full or self.fatal_error is not None):
            capacity_waiter = next(iter(self._capacity_waiters))
            del self._capacity_waiters[capacity_waiter]
            self._tell(capacity_waiter, capacity_waiter.on_capacity)

    def roll_back(self, reason: str, unknown: bool = False) -> None:
        """Take back what is not recorded yet: the log calls this when the disk did not take it.

        Args:
            reason: What the disk said.
            unknown: Whether nobody knows if some of it is on disk all the same.
        """
        assert self._held is not None, "what was broadcast cannot be rolled back"
        for entry in self._held.roll_back():
            if entry.id is not None:
                self._ids.forget(entry.id)
        waiters, self._recorded_waiters = self._recorded_waiters, {}
        for waiter in waiters:
            self._tell(
                waiter, partial(waiter.on_rolled_back, not_known(reason) if unknown else not_on_disk(reason))
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
                "accepted deltas could not be passed on; publishes are rejected"
            )
            if self._log is not None:
                self._log.fail(self._fatal_error)

    def _take(
        self, texts: Sequence[bytes | Prepared], spend: Spend | None, sessions: Sessions, *, lines: bool
    ) -> list[Accepted | RecorderError]:
        self._guard.check_thread()
        now_ms = self._clock.now_ms()
        # Filled in place: an answer to what has its place already must not fail for want of memory.
        outcomes: list[Accepted | RecorderError] = [_NOT_TRIED] * len(texts)
        entries: list[Entry] = []
        try:
            refusal = self._why_nothing()
            for index, text in enumerate(texts):
                try:
                    if refusal is not None:
                        raise refusal
                    prepared = (
                        text
                        if isinstance(text, Prepared)
                        else self._preparer.prepare_now(text, sessions, lines=lines)
                    )
                    if prepared.error is not None or prepared.redacted:
                        self._check_prepared(prepared)
                    outcomes[index] = self._numbering.number(prepared, spend, now_ms, entries)
                except (RecorderError, MemoryError) as error:
                    outcomes[index] = self._refused(error, text)
        finally:
            # Whatever happens: what has a place is seen and recorded.
            self._hand_on(entries)
        return outcomes

    async def _take_in_steps(self, prepared: Prepared, spend: Spend | None) -> Accepted:
        entries: list[Entry] = []
        try:
            self._check_prepared(prepared)
            steps = self._numbering.steps(prepared, spend, self._clock.now_ms(), entries)
            while True:
                if (refusal := self._why_nothing()) is not None:
                    raise refusal
                try:
                    next(steps)
                except StopIteration as done:
                    accepted: Accepted = done.value
                    break
                await asyncio.sleep(0)
        except (RecorderError, MemoryError) as error:
            return raised(self._refused(error, prepared))
        finally:
            self._hand_on(entries)
        while self._ids.trim(STEP_LOOKUPS):  # noqa: ASYNC110 - it does work, it waits for nothing
            await asyncio.sleep(0)
        return accepted

    def _check_prepared(self, prepared: Prepared) -> None:
        """Raise the error that was found in a text, if there is one."""
        if prepared.error is not None:
            raise prepared.error
        self._metrics.redacted += prepared.redacted

    def _refused(self, error: RecorderError | MemoryError, text: bytes | Prepared) -> RecorderError:
        """Count a refusal, and return the error to answer with."""
        if isinstance(error, MemoryError):
            error = no_memory(len(text.text if isinstance(text, Prepared) else text))
        else:
            # Its traceback refers to the text, in a cycle that would wait for the garbage collector.
            error.__traceback__ = error.__context__ = None
        self._metrics.refuse(error.code)
        return error

    def _why_nothing(self) -> RecorderError | None:
        """Return the reason why nothing is accepted now, or None."""
        log = self._log
        # Asked for every publish: the cheap look first.
        if self._closed or self._fatal_error is not None or (log and (log.fatal_error or log.disk_error)):
            try:
                self._check_open()
            except RecorderError as error:
                return error
        return self._refusal()

    def _check_open(self, *, closing_is_fine: bool = False) -> None:
        if self._closed and not closing_is_fine:
            raise closed()
        if self.fatal_error is not None:
            raise Unavailable(f"nothing can be recorded: {self.fatal_error}", hint="restart the recorder")
        if self._log is not None and self._log.disk_error is not None:
            # About this publish only: the answer to an earlier one with the same ids stays true.
            raise StoreError(
                f"publishes are rejected: the disk does not accept writes ({self._log.disk_error})",
                hint="publish it again, with the same ids, when /readyz is green",
            )

    def _hand_on(self, entries: list[Entry]) -> None:
        """Pass entries to the recording queue and to the fan-out, in one step of the loop."""
        if not entries:
            return
        try:
            # In this order: no reader may see entries that the log rejected.
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


_NOT_TRIED = InternalError("it was not come to")
"""What stands for the answers to the texts behind one that nobody could make anything of."""
