"""One WebSocket connection inside uvicorn: handshake, messages, pings, closing, and what happens to slow readers.

The protocol itself is websockets' Sans-I/O state machine; uvicorn hands over the socket after the request's head. What
a connection is for (subscribing, publishing) is a `Role` that the `Door` gives it by the request's path.

Invariants: nothing is written after the close frame; a message reaches the role whole, as UTF-8, in order; a paused
connection keeps what it has read and handles it when it goes on; every wait has a deadline that `sweep` enforces.

uvicorn's contract for a class like this is undocumented: `tests/hub/test_uvicorn_contract.py` holds it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from recorder.clock import Clock
from recorder.errors import RecorderError
from recorder.hub.plain import may_hold, take_messages
from recorder.metrics import Metrics

# Its messages repeat what we log ourselves, one line per connection.
_quiet = logging.getLogger("recorder.websockets")
_quiet.setLevel(logging.CRITICAL)

MAX_REASON_BYTES = 123
"""A close frame's payload is at most 125 bytes (RFC 6455, section 5.5), two of them the code."""


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What a connection may do, and for how long; times in seconds, sizes in bytes.

    Args:
        soft_bytes: Unsent bytes beyond which a reader is slow.
        soft_seconds: How long it may stay beyond that.
        hard_bytes: Unsent bytes beyond which it is closed at once.
        linger_seconds: How long a slow reader may still fetch what was sent before its close frame.
        ping_interval, ping_timeout: When a ping is sent, and how long its pong may take.
        close_seconds: How long the other side may take to answer a close frame.
    """

    soft_bytes: int = 1 << 20
    soft_seconds: float = 5.0
    hard_bytes: int = 16 << 20
    linger_seconds: float = 30.0
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    close_seconds: float = 10.0


class Role(Protocol):
    """What a connection is for. Called by its socket, never after `on_lost`."""

    max_message_bytes: int

    def on_open(self) -> None:
        """The handshake is done; writing is allowed, but keep it small until the next loop tick."""
        ...

    def on_text(self, message: bytes) -> None:
        """A whole text message has come; it is UTF-8."""
        ...

    def on_writable(self) -> None:
        """The unsent bytes have fallen below the low-water mark."""
        ...

    def on_closing(self) -> bool:
        """The other side wants to close. Return True to close now, False to call `finish_closing` yourself later."""
        ...

    def on_lost(self) -> None:
        """The connection is gone, or nothing may be written to it any more; may be called once only."""
        ...

    def on_shutdown(self) -> None:
        """The server stops: close in order, soon."""
        ...

    def position_text(self) -> str:
        """The position up to which this connection has been sent everything, for the reason of a 4408."""
        ...

    @property
    def at_own_pace(self) -> bool:
        """Whether it is being sent history, so that being slow is no fault as long as it reads at all."""
        ...


class Door(Protocol):
    """Who decides what a request gets."""

    limits: SocketLimits
    clock: Clock
    metrics: Metrics

    def admit(self, socket: WebSocket, request: Request) -> Role:
        """The role for a request. Raises RecorderError to refuse before the upgrade."""
        ...

    def opened(self, socket: WebSocket) -> None:
        """A connection is open; sweep it from now on."""
        ...

    def gone(self, socket: WebSocket) -> None:
        """A connection is no more."""
        ...


class WebSocket(asyncio.Protocol):
    """See the module. Made by uvicorn, one for each upgrade request.

    Args:
        config, server_state, app_state: uvicorn's.
        door: Decides what the request gets.
    """

    def __init__(self, config: Any, server_state: Any, app_state: Any, *, door: Door) -> None:
        self._connections: set[Any] = server_state.connections  # uvicorn's: what it shuts down
        self._door = door  # admits, and keeps the list of those who are open
        self._limits = door.limits  # bounds and deadlines
        self._proto = ServerProtocol(logger=_quiet, max_size=1 << 16)  # the Sans-I/O state machine
        self._role: Role | None = None  # what the connection is for, once admitted
        self._inbox: deque[Frame | bytes] = deque()  # read, not handled yet: frames, or whole messages
        self._held = b""  # the beginning of a plain frame, not given to the state machine yet
        self._parts: list[bytes] = []  # fragments of the message that is coming
        self._reading = True  # False while the role has paused it
        self._paused_at: float | None = None  # since when unsent bytes are above the mark
        self._unsent_then = 0  # unsent bytes at the last look, to see whether a slow reader moves
        self._ping_at = door.clock.monotonic()  # when the last ping was sent
        self._pong_due = False  # whether a ping is unanswered
        self._deadline: float | None = None  # when a closing connection is cut
        self._ended = False  # whether the role has been told that it is over
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)  # set in connection_made

    # uvicorn and asyncio call these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours (not yet as its protocol: that follows the first `data_received`)."""
        self.transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come: the request's head first, frames from then on."""
        data = self._take_plain(data)
        if data:
            self._proto.receive_data(data)
            for event in self._proto.events_received():
                if isinstance(event, Request):
                    self._handshake(event)
                elif isinstance(event, Frame):
                    self._inbox.append(event)
        self._handle_inbox()
        self._flush_protocol()

    def eof_received(self) -> None:
        """The other side will send nothing more."""
        held, self._held = self._held, b""
        if held:
            self._proto.receive_data(held)
        self._proto.receive_eof()
        self._flush_protocol()

    def pause_writing(self) -> None:
        """The unsent bytes are above the mark."""
        self._paused_at = self._door.clock.monotonic()
        self._unsent_then = self.unsent

    def resume_writing(self) -> None:
        """The unsent bytes are few again."""
        self._paused_at = None
        if self._role is not None and not self._ended:
            self._role.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._connections.discard(self)
        self._door.gone(self)
        self._end_role()

    def shutdown(self) -> None:
        """The server stops."""
        if self._role is not None and not self._ended:
            self._role.on_shutdown()
        elif self._deadline is None:
            self.transport.close()

    # The role calls these.

    @property
    def limits(self) -> SocketLimits:
        """What it may do."""
        return self._limits

    @property
    def unsent(self) -> int:
        """Bytes written and not yet taken by the kernel."""
        return self.transport.get_write_buffer_size()

    @property
    def is_open(self) -> bool:
        """Whether messages can still be written."""
        return not self._ended and self._proto.state is OPEN

    @property
    def is_writable(self) -> bool:
        """Whether the unsent bytes are below the mark."""
        return self._paused_at is None

    def write(self, frames: bytes) -> None:
        """Write whole frames. A reader far beyond the hard limit is closed instead; a closed one gets nothing."""
        if self._ended:
            return
        # Looked at before writing: a burst that came at once has had no chance to be read yet.
        if self._paused_at is not None and self.unsent > self._limits.hard_bytes:
            self._close_slow()
        else:
            self.transport.write(frames)

    def set_high_water(self, size: int) -> None:
        """Set the mark of unsent bytes from which on the role is asked to wait."""
        self.transport.set_write_buffer_limits(high=size)

    def pause_reading(self) -> None:
        """Handle no more messages until `resume_reading`."""
        if self._reading:
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Handle messages again, first those already read."""
        if not self._reading:
            self._reading = True
            self._handle_inbox()
            self._flush_protocol()
            if self._reading and not self.transport.is_closing():
                self.transport.resume_reading()

    def close(self, code: int, reason: str = "", *, seconds: float | None = None) -> None:
        """Say goodbye after everything written so far; cut the connection if that takes too long.

        Args:
            code: Close code.
            reason: What is cut to 123 bytes.
            seconds: How long the other side may take; the limit's `close_seconds` by default.
        """
        if self._proto.state is OPEN:
            cut = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
            self._proto.send_close(code, cut)
        self._set_deadline(self._limits.close_seconds if seconds is None else seconds)
        self._end_role()
        self._resume_for_closing()
        self._flush_protocol()

    def finish_closing(self) -> None:
        """Answer the other side's close frame, which `on_closing` held back."""
        self._end_role()
        self._set_deadline(self._limits.close_seconds)
        self._flush_protocol()

    # The keeper calls this, several times a second.

    def sweep(self, now: float) -> None:
        """Enforce deadlines.

        Args:
            now: The clock's monotonic seconds.
        """
        limits = self._limits
        if self._deadline is not None:
            if now >= self._deadline:
                self.transport.abort()
        elif self._paused_at is not None:
            self._sweep_paused(now)
        elif self._pong_due:
            if now - self._ping_at >= limits.ping_timeout:
                self.close(CloseCode.GOING_AWAY, "no answer to a ping")
        elif now - self._ping_at >= limits.ping_interval and self._proto.state is OPEN:
            self._ping_at, self._pong_due = now, True
            self._proto.send_ping(b"")
            self._flush_protocol()

    def _sweep_paused(self, now: float) -> None:
        assert self._paused_at is not None
        # A pong cannot come through before what is unsent: only reading counts meanwhile.
        self._ping_at, self._pong_due = now, False
        moved = self.unsent < self._unsent_then
        if moved and self._role is not None and self._role.at_own_pace:
            self._paused_at, self._unsent_then = now, self.unsent
        elif now - self._paused_at >= self._limits.soft_seconds:
            self._close_slow()

    def _close_slow(self) -> None:
        position = self._role.position_text() if self._role is not None else ""
        self._door.metrics.slow_closed += 1
        self.close(4408, position, seconds=self._limits.linger_seconds)

    def _take_plain(self, data: bytes) -> bytes:
        """Take plain messages off the front of what was read; what is for the state machine is returned."""
        proto = self._proto
        if (
            self._role is None
            or proto.state is not OPEN
            or proto.reader.buffer
            or proto.current_size is not None
        ):
            # It is in the middle of something (or of the handshake, or of the close): it gets all.
            held, self._held = self._held, b""
            return held + data if held else data
        if self._held:
            data, self._held = self._held + data, b""
        messages, taken = take_messages(data, self._role.max_message_bytes)
        self._inbox.extend(messages)
        rest = data[taken:]
        if may_hold(rest, self._role.max_message_bytes):
            self._held = rest
            return b""
        return rest

    def _handshake(self, request: Request) -> None:
        try:
            role = self._door.admit(self, request)
        except RecorderError as error:
            self._refuse(error)
            return
        response = self._proto.accept(request)
        self._proto.send_response(response)
        self._flush_protocol()
        if self._proto.state is OPEN:
            self._proto.max_message_size = role.max_message_bytes
            self.set_high_water(self._limits.soft_bytes)
            self._role = role
            self._door.opened(self)
            role.on_open()

    def _refuse(self, error: RecorderError) -> None:
        status = HTTPStatus(error.http_status)
        self._proto.send_response(self._proto.reject(status, f"{error}\n"))
        self._flush_protocol()

    def _handle_inbox(self) -> None:
        inbox = self._inbox
        while inbox and self._reading and not self._ended:
            self._handle_frame(inbox.popleft())
        if self._proto.parser_exc is not None and not self._ended:
            # The stream is broken (its close frame is queued): nothing can follow what was handled.
            self._set_deadline(self._limits.close_seconds)
            self._end_role()

    def _handle_frame(self, frame: Frame | bytes) -> None:
        if isinstance(frame, bytes):
            self._message(frame)
            return
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.CONT:
            data = bytes(frame.data)
            if frame.fin and not self._parts:
                self._message(data)
                return
            self._parts.append(data)
            if frame.fin:
                message, self._parts = b"".join(self._parts), []
                self._message(message)
        elif opcode is Opcode.BINARY:
            self._fail(CloseCode.UNSUPPORTED_DATA, "text frames only")
        elif opcode is Opcode.PONG:
            self._pong_due = False

    def _message(self, message: bytes) -> None:
        if not message.isascii():
            try:
                message.decode()
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA, "not UTF-8")
                return
        if self._role is not None:
            self._role.on_text(message)

    def _fail(self, code: CloseCode, reason: str) -> None:
        self._proto.fail(code, reason)
        self._end_role()
        self._set_deadline(self._limits.close_seconds)
        self._flush_protocol()

    def _flush_protocol(self) -> None:
        """Write what the state machine has to say: answers to pings, close frames, the end of the stream."""
        if self._proto.close_rcvd is not None and not self._may_answer_close():
            return
        for chunk in self._proto.data_to_send():
            if chunk:
                self.transport.write(chunk)
            else:
                self._set_deadline(self._limits.close_seconds)
                self.transport.close()

    def _may_answer_close(self) -> bool:
        # The other side's goodbye is answered only after everything it said before has been handled.
        if not self._ended and self._role is not None:
            if self._inbox or not self._role.on_closing():
                return False
            self._set_deadline(self._limits.close_seconds)
            self._end_role()
        return True

    def _resume_for_closing(self) -> None:
        # The answer to our close frame must be read even if the role had paused reading.
        if not self._reading:
            self._reading = True
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _set_deadline(self, seconds: float) -> None:
        if self._deadline is None:
            self._deadline = self._door.clock.monotonic() + seconds

    def _end_role(self) -> None:
        if not self._ended:
            self._ended = True
            self._inbox.clear()
            if self._role is not None:
                self._role.on_lost()
