"""The one way in: every delta, over WebSocket, HTTP or in process, passes here.

Decode and check first, all or none; then number, broadcast and queue for recording, without an await between, so that
the order of the numbers, of the wire and of the database is one. Who publishes too fast is held back by `is_full`; what
has been accepted is never dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from recorder.clock import Clock
from recorder.errors import Closed, Conflict, RecorderError, Unavailable
from recorder.intake.dedupe import RecentIds
from recorder.intake.sequencer import Sequencer
from recorder.metrics import Metrics
from recorder.model.chain import content_digest
from recorder.model.delta import Delta, Entry
from recorder.protocol.decode import decode_lines, decode_text


class Broadcast(Protocol):
    """Who hands entries to subscribers."""

    def publish(self, entry: Entry) -> None:
        """Hand out an entry, soon."""
        ...


class Log(Protocol):
    """Who records entries. Where nothing is recorded, `None` stands in its place."""

    @property
    def is_full(self) -> bool:
        """Whether the queue is beyond its bounds."""
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
    def failure(self) -> str | None:
        """Why nothing can be recorded any more, if so."""
        ...

    def append(self, entry: Entry) -> None:
        """Queue an entry for recording."""
        ...


class RoomWaiter(Protocol):
    """Who is told when there is room."""

    def on_room(self) -> None:
        """There is room again."""
        ...


class RecordedWaiter(Protocol):
    """Who is told when more is recorded."""

    def on_recorded(self) -> None:
        """More is recorded than before."""
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

    def ack(self, durable: int) -> dict[str, object]:
        """The fields of the `ack` event.

        Args:
            durable: The highest seq known to be on disk.
        """
        return {"event": "ack", **self.fields(durable)}

    def fields(self, durable: int) -> dict[str, object]:
        """The ack's fields as HTTP returns them."""
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


class Intake:
    """See the module.

    Args:
        sequencer: Numbers the deltas.
        ids: Knows the ids used lately.
        broadcast: Gets every entry.
        log: Records every entry; None where recording is off.
        clock: For the time of receipt.
        metrics: Counts.
        max_delta_bytes: The most one delta's JSON text may take.
        max_message_bytes: The most a message may take.
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
        max_delta_bytes: int,
        max_message_bytes: int,
    ) -> None:
        self.max_message_bytes = max_message_bytes
        self._sequencer = sequencer
        self._ids = ids
        self._broadcast = broadcast
        self._log = log
        self._clock = clock
        self._metrics = metrics
        self._max_delta_bytes = max_delta_bytes
        self._room_waiters: dict[RoomWaiter, None] = {}  # told, once each, when there is room
        self._recorded_waiters: dict[RecordedWaiter, None] = {}  # told, once each, when more is recorded
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether the recording queue is beyond its bounds."""
        return self._log is not None and self._log.is_full

    @property
    def recorded(self) -> int:
        """Acks for everything up to this seq are true."""
        return self._sequencer.head if self._log is None else self._log.recorded

    @property
    def durable(self) -> int:
        """The highest seq known to be on disk."""
        return 0 if self._log is None else self._log.durable

    @property
    def failure(self) -> str | None:
        """Why nothing can be recorded any more, if so."""
        return None if self._log is None else self._log.failure

    def accept(self, text: bytes) -> Accepted:
        """Take the deltas of a JSON text: one delta, or an array, all or none.

        Raises:
            RecorderError: Nothing of it was taken; the code and the place say why.
        """
        return self._take(decode_text, text)

    def accept_lines(self, text: bytes) -> Accepted:
        """The same for NDJSON."""
        return self._take(decode_lines, text)

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True

    def wait_for_room(self, waiter: RoomWaiter) -> None:
        """Tell `waiter` once when it is full no longer."""
        self._room_waiters[waiter] = None

    def wait_recorded(self, waiter: RecordedWaiter) -> None:
        """Tell `waiter` once when more is recorded."""
        self._recorded_waiters[waiter] = None

    async def room(self) -> None:
        """Wait until it is not full."""
        while self.is_full:
            future = _Future()
            self.wait_for_room(future)
            await future.future

    async def until_recorded(self, seq: int) -> None:
        """Wait until everything up to `seq` is recorded.

        Raises:
            Unavailable: It cannot be recorded any more.
        """
        while self.recorded < seq:
            self._check_open(closing_is_fine=True)
            future = _Future()
            self.wait_recorded(future)
            await future.future

    def on_progress(self) -> None:
        """The log calls this when more is recorded, when there is more room, or when it failed."""
        waiters, self._recorded_waiters = self._recorded_waiters, {}
        for waiter in waiters:
            waiter.on_recorded()
        while self._room_waiters and not self.is_full:
            room_waiter = next(iter(self._room_waiters))
            del self._room_waiters[room_waiter]
            room_waiter.on_room()

    def _take(self, decode: _Decode, text: bytes) -> Accepted:
        try:
            self._check_open()
            deltas = decode(text, self._max_delta_bytes)
            known = self._known(deltas)
        except RecorderError as error:
            self._metrics.refuse(error.code)
            raise
        return self._sequence(deltas, known)

    def _check_open(self, *, closing_is_fine: bool = False) -> None:
        if self._closed and not closing_is_fine:
            raise Closed("the recorder is stopping", hint="publish again when it is back")
        if self._log is not None and self._log.failure is not None:
            raise Unavailable(f"nothing can be recorded: {self._log.failure}", hint="restart the recorder")

    def _known(self, deltas: Sequence[Delta]) -> dict[int, tuple[int | str, bytes]]:
        """For each delta with an id: (its seq, or its own id where it is new, digest of its content)."""
        known: dict[int, tuple[int | str, bytes]] = {}
        fresh: dict[str, bytes] = {}
        for index, delta in enumerate(deltas):
            if delta.id is None:
                continue
            content = content_digest(delta.type, delta.session_id, delta.before, delta.after, delta.timestamp)
            if fresh.setdefault(delta.id, content) != content:
                raise Conflict(f"[{index}].id: {delta.id!r} stands in this array twice", index=index)
            try:
                seq = self._ids.find(delta.id, content)
            except Conflict as error:
                error.index = index if len(deltas) > 1 else None
                raise
            known[index] = (delta.id if seq is None else seq, content)
        return known

    def _sequence(self, deltas: Sequence[Delta], known: dict[int, tuple[int | str, bytes]]) -> Accepted:
        now_ms = self._clock.now_ms()
        if not known:
            first = self._sequencer.head + 1
            for delta in deltas:
                self._append(delta, now_ms, None)
            last = self._sequencer.head
            return Accepted(self._sequencer.epoch, first, last, len(deltas), last)
        start = self._sequencer.head
        seqs: list[int] = []
        fresh: dict[str, int] = {}  # ids that are new in this very frame
        for index, delta in enumerate(deltas):
            found, content = known.get(index, (None, None))
            if isinstance(found, str):
                found = fresh.get(found)
            if found is None:
                found = self._append(delta, now_ms, content)
                if delta.id is not None and content is not None:
                    fresh[delta.id] = found
                    self._ids.add(delta.id, found, content)
            else:
                self._metrics.duplicates += 1
            seqs.append(found)
        duplicates = len(seqs) - (self._sequencer.head - start)
        return Accepted(self._sequencer.epoch, seqs[0], seqs[-1], len(seqs), max(seqs), duplicates)

    def _append(self, delta: Delta, now_ms: int, content: bytes | None) -> int:
        entry = self._sequencer.append(delta, now_ms, content)
        self._metrics.accepted += 1
        if entry.lineage is not None:
            self._metrics.lineage_breaks += 1
        self._broadcast.publish(entry)
        if self._log is not None:
            self._log.append(entry)
        return entry.seq


class _Decode(Protocol):
    def __call__(self, data: bytes, max_delta_bytes: int) -> list[Delta]: ...


class _Future:
    """A waiter that an `await` hangs on."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_room(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    on_recorded = on_room
