"""The handler of a connection to `/publish`: each frame gets one answer, in order, once it is true.

A frame's answer waits until the deltas it speaks of are recorded. While the recording queue is full, while many answers
are owed, or while they are not being read, no further frame is handled and nothing more is read, so that TCP slows the
publisher down; what was accepted is never dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import orjson
from loguru import logger

from recorder.core.errors import RecorderError, TooMany
from recorder.core.session_filter import Sessions
from recorder.engine.answers import Accepted
from recorder.engine.ingest import Ingest
from recorder.engine.prepare import LARGE_BYTES
from recorder.engine.rate_limit import Pace
from recorder.net.websocket import WebSocket
from recorder.wire.frames import text_frame

MAX_AT_ONCE = 256
"""Frames that are taken in one go, before the others on the loop have their turn."""
MAX_OWED = 10_000
"""Frames that may wait for their answers before no more are read; it bounds what is kept for one connection."""


class PublisherHub(Protocol):
    """The part of the hub that a publisher needs."""

    def hello(self) -> bytes:
        """Return a `hello` frame with the current head."""
        ...

    def add_publisher(self, publisher: Publisher) -> None:
        """Count it."""
        ...

    def remove_publisher(self, publisher: Publisher) -> None:
        """Forget it."""
        ...


class Publisher:
    """A publisher's connection.

    Args:
        hub: Where it is counted.
        ingest: Where its deltas go.
        socket: Its connection.
        acks: False where only errors are asked for (`?ack=none`).
        pace: How fast it may go; None for as fast as recording goes.
        sessions: The only ones that it may write; None for all.
    """

    at_own_pace = True  # reading answers slowly is no fault; not reading them at all, with more coming, is

    def __init__(
        self,
        hub: PublisherHub,
        ingest: Ingest,
        socket: WebSocket,
        *,
        acks: bool,
        pace: Pace | None = None,
        sessions: Sessions = None,
    ) -> None:
        self._hub = hub
        self._ingest = ingest
        self._socket = socket
        self._acks = acks
        self._pace = pace
        self._ahead: asyncio.TimerHandle | None = None  # while it is ahead of its pace
        self._sessions = sessions
        self._answers: deque[Accepted | bytes] = (
            deque()
        )  # answers to send, in order: accepted, or an error's frame
        self._waiting = False  # whether `on_recorded` is going to be called
        self._full = False  # whether `on_capacity` is going to be called
        self._later: deque[bytes] = (
            deque()
        )  # the frame that is being taken by `_prepare`, and those behind it
        self._preparing: asyncio.Task[None] | None = None  # while it is
        self._closing: str | None = None  # "peer" or "server": closes when nothing is owed any more
        self._goodbye = (1001, "going away")  # how the server closes
        self.max_message_bytes = ingest.max_message_bytes

    @property
    def at_once(self) -> int:
        """The number of frames it takes at once; bounded, since each frame may add a delta or more."""
        # A publisher with a rate limit may have to wait after each frame.
        if self._pace is not None:
            return 1
        return max(1, min(MAX_AT_ONCE, self._ingest.capacity, MAX_OWED - len(self._answers)))

    def on_open(self) -> None:
        """Register with the hub and send `hello`."""
        self._hub.add_publisher(self)
        self._socket.write(self._hub.hello())

    def on_texts(self, messages: Sequence[bytes]) -> None:
        """Take frames; pause when the queue is full, and while a long one is being looked into."""
        is_busy = self._ingest.is_numbering
        for index, message in enumerate(messages):
            if is_busy or len(message) > LARGE_BYTES:
                self._later.extend(messages[index:])
                messages = messages[:index]
                break
        if messages:
            self._take(messages)
        self._begin_preparing()
        self._answer()
        self._keep_pace()
        self._regulate()

    def _take(self, texts: Sequence[Any]) -> None:
        for outcome in self._ingest.accept_each(texts, self._spend, self._sessions):
            self._owe(outcome)

    @property
    def _spend(self) -> Callable[[int], None] | None:
        return None if self._pace is None else self._pace.take

    def _owe(self, outcome: Accepted | RecorderError) -> None:
        """Queue the answer to a frame."""
        if isinstance(outcome, RecorderError):
            if self._pace is not None:
                self._pace.charge()
            self._answers.append(error_frame(outcome))
        # A publisher without acks is still told of what is rolled back.
        elif self._acks or self._ingest.may_roll_back:
            self._answers.append(outcome)

    def _begin_preparing(self) -> None:
        """Decode and take the next frame that waits. Later ones wait: frames are accepted in order."""
        if self._later and self._preparing is None:
            # Whole messages wait here, as no others do: long ones count as those that are not whole.
            self._socket.partial_messages.hold(
                self, sum(len(message) for message in self._later if len(message) > LARGE_BYTES)
            )
            if self._later:
                self._preparing = asyncio.create_task(self._prepare(), name="publisher-prepare")

    async def _prepare(self) -> None:
        outcome: Accepted | RecorderError
        try:
            prepared = await self._ingest.prepare(self._later[0], self._sessions)
            outcome = await self._ingest.take(prepared, self._spend)
        except asyncio.CancelledError:
            raise
        except RecorderError as error:
            # Its traceback refers to this frame, and this to it: the message would wait for the garbage collector.
            outcome = error.with_traceback(None)
        except Exception as error:
            # The boundary of a connection: it must not wait for an answer that will not come.
            logger.opt(exception=error).error("a message could not be decoded")
            self._preparing = None
            self._forget_later()
            self._socket.close(1011, "a message could not be handled")
            return
        self._preparing = None
        self._later.popleft()
        rest = list(self._later)
        self._forget_later()
        self._owe(outcome)
        self.on_texts(rest)

    def _forget_later(self) -> None:
        self._later.clear()
        self._socket.partial_messages.hold(self, 0)

    def give_up(self, error: TooMany) -> None:
        """Drop the waiting frames: the messages of all connections exceed the memory limit."""
        if self._preparing is not None:
            self._preparing.cancel()
            self._preparing = None
        self._later.clear()
        self._socket.log.write(
            "WARNING", "connection closed: its waiting message is one too many", address=self._socket.address
        )
        self.on_shutdown(cast(int, error.close_code), f"waiting message: {error.hint}")

    def on_capacity(self) -> None:
        """Resume reading: the queue has capacity again."""
        self._full = False
        self._regulate()

    def on_recorded(self) -> None:
        """Answer what can be answered now that more is recorded."""
        self._waiting = False
        self._answer()
        self._regulate()

    def on_rolled_back(self, error: RecorderError) -> None:
        """Answer every frame that is not recorded with an error: it never will be."""
        self._waiting = False
        recorded, refusal = self._ingest.recorded, error_frame(error)
        self._answers = deque(
            answer if isinstance(answer, bytes) or answer.highest_seq <= recorded else refusal
            for answer in self._answers
        )
        self._answer()
        self._regulate()

    def abort(self) -> None:
        """Abort the connection: the client must publish again what could not be answered."""
        self._socket.transport.abort()

    def on_writable(self) -> None:
        """Resume: the publisher reads its answers again."""
        self._regulate()

    def on_closing(self) -> bool:
        """Answer everything the publisher sent before closing."""
        self._closing = "peer"
        return not self._answers and self._preparing is None

    def on_lost(self) -> None:
        """Release what waits; deltas that were accepted stay accepted."""
        self._closing = None
        self._answers.clear()
        if self._preparing is not None:
            self._preparing.cancel()
            self._preparing = None
        self._forget_later()
        if self._ahead is not None:
            self._ahead.cancel()
        self._hub.remove_publisher(self)

    def on_shutdown(self, code: int = 1001, reason: str = "going away") -> None:
        """Take no more; close when everything accepted has been answered."""
        self._goodbye = code, reason
        self._socket.pause_reading()
        self._closing = "server"
        self._close_if_done()

    def position_text(self) -> str:
        """Return a hint: a publisher has no position to resume from."""
        return "the answers are not being read (ask for none with ?ack=none)"

    def on_slow(self, *, is_moving: bool) -> bool:
        """Return False: every answer must be delivered."""
        return False

    def _keep_pace(self) -> None:
        """Wait, where it is ahead of its pace."""
        self._ahead = None
        delay = 0.0 if self._pace is None else self._pace.delay()
        if delay:
            self._ahead = asyncio.get_running_loop().call_later(delay, self._on_pace)

    def _on_pace(self) -> None:
        self._keep_pace()
        self._regulate()

    def _regulate(self) -> None:
        """Read on, or not: as the queue, what is owed, and the reading of it allow."""
        if self._ingest.capacity == 0 and not self._full:
            self._full = True
            self._ingest.wait_for_capacity(self)
        much_owed = len(self._answers) >= MAX_OWED
        waits = self._full or much_owed or self._ahead is not None or self._preparing is not None
        if waits or self._closing is not None or not self._socket.is_writable:
            self._socket.pause_reading()
        else:
            self._socket.resume_reading()

    def _answer(self) -> None:
        """Write the answers that are true, in one write; wait for the rest."""
        recorded, durable = self._ingest.recorded, self._ingest.durable
        frames: list[bytes] = []
        while self._answers:
            answer = self._answers[0]
            if isinstance(answer, bytes):
                frames.append(answer)
            elif answer.highest_seq > recorded:
                break
            elif self._acks:
                frames.append(text_frame(answer.ack(durable)))
            self._answers.popleft()
        if frames:
            self._socket.write(b"".join(frames))
        if self._answers and self._ingest.fatal_error is not None:
            # These answers can never become true. Publishers with ids send again after the recorder restarts.
            self._answers.clear()
            self._socket.close(1012, f"recording failed: {self._ingest.fatal_error}")
            return
        if self._answers and not self._waiting:
            self._waiting = True
            self._ingest.wait_recorded(self)
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._answers or self._preparing is not None or self._closing is None:
            return
        closing, self._closing = self._closing, None
        if closing == "peer":
            self._socket.finish_closing()
        else:
            self._socket.close(*self._goodbye)


def error_frame(error: RecorderError) -> bytes:
    """Return the `error` event for a rejected frame."""
    fields: dict[str, object] = {"event": "error", "code": error.code, "message": str(error)}
    if error.index is not None:
        fields["index"] = error.index
    return text_frame(orjson.dumps(fields))
