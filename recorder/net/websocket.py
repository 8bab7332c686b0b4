"""One WebSocket connection inside uvicorn: handshake, messages, pings, closing, and what happens to slow readers.

The protocol itself is websockets' Sans-I/O state machine; uvicorn hands over the socket after the request's head.
What a connection is for (subscribing, publishing) is a `Handler` that `Upgrades` chooses by the request's path.

How it closes. The handler is told once that it is over (`_end`); from then on nothing it says is written, nothing that
comes is handled, and a deadline runs. That happens when we close (`close`: our close frame leaves first, everything
written before stays ahead of it); when the other side has closed or broken a rule and is owed nothing any more (the
state machine's answer is held back until then); and when the connection is lost.

Invariants: nothing is written after the close frame; a message reaches the handler whole, as UTF-8, in order; a paused
connection keeps what it has read; every wait has a deadline that `sweep` enforces; no fault ends another connection.

uvicorn's contract for a class like this is undocumented: `tests/net/test_uvicorn_contract.py` holds it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

from loguru import logger
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN

from recorder.auth.grants import EVERYTHING
from recorder.core.clock import Clock
from recorder.core.errors import InvalidRequest, RecorderError, TooMany
from recorder.core.sampled_log import SampledLog
from recorder.net.fast_frames import may_hold, take_messages, utf8_count
from recorder.net.handler import Handler, Upgrades
from recorder.net.limits import HARD_GRACE_SECONDS, SocketLimits
from recorder.net.partial_messages import PartialMessages
from recorder.net.peer_state import End, end_of, host_of, outstanding
from recorder.net.ws_protocol import MAX_REASON_BYTES, StateMachine
from recorder.wire.problems import raw_problem

RUN_BYTES = 256 << 10
"""How much of messages a handler gets at once, at most, beside the first: the loop has others to serve."""

_NOTHING: deque[Frame | bytes] = deque(maxlen=0)
"""The inbox of a connection that has nothing in it: an empty one of its own would take 760 bytes of each."""

SLOWEST_RATE = 16_000
"""Bytes a second: how slowly a reader may take what its answer to a ping stands behind."""

MAX_RECEIVED_UNREAD = 8 << 20
"""How much the other end's host may have acknowledged that was not read there: the size of a large receive buffer."""

_UNREADABLE = raw_problem(
    InvalidRequest(
        "the upgrade cannot be read: it is too long, has a body, or is not a GET",
        hint="many sessions fit into a subscribe message",
    )
)
"""The answer to a head that the state machine does not read: a line beyond 8 KiB, more than 128 of them, a body."""


class WebSocket(asyncio.Protocol):
    """A WebSocket connection, created by uvicorn for each upgrade request.

    Args:
        config, server_state, app_state: uvicorn's. Its set of connections is what it shuts down.
        upgrades: Decides what the request gets, and keeps the list of open connections.
    """

    def __init__(
        self, config: Any, server_state: Any, app_state: Any, *, upgrades: Upgrades[WebSocket]
    ) -> None:
        self._connections: set[Any] = server_state.connections
        self._upgrades, self._limits = upgrades, upgrades.limits
        self._proto = StateMachine(compression=upgrades.limits.compression)  # Sans-I/O
        self.compresses = False  # whether the other side takes frames that are compressed for all
        self._handler: Handler | None = None  # what the connection is for, once admitted
        self._inbox = _NOTHING  # read, not handled yet: frames, or whole messages
        self._held = b""  # the beginning of a plain frame, not given to the state machine yet
        self._partial: bytearray | None = None  # the message whose fragments are coming
        self._partial_bytes = 0  # of incomplete messages
        self._is_deaf = False  # whether what comes is thrown away
        self._reading = True  # False while the handler has paused it
        self._paused_at: float | None = None  # since when unsent bytes are above the mark
        self._written = 0  # bytes given to the transport since the handshake
        self._taken_then: int | None = None  # bytes acknowledged at the last check
        self._moved_at: float | None = None  # when it was last seen to move
        self._eased = False  # the handler sends less until the unsent bytes are sent
        self._over_at: float | None = None  # since when unsent bytes are beyond the hard limit
        self._ping_at = upgrades.clock.monotonic()  # when the last ping was sent
        self._pong_due = False  # whether nothing has been heard since
        self._before_ping = 0  # bytes written before it
        self._surely_read = 0  # bytes written before the last ping that was answered
        self.grant = EVERYTHING  # the permissions, from the upgrade
        self._deadline: float | None = None  # when a closing connection is cut
        self._ended = False  # whether it is over for the handler
        self._said_goodbye = False  # the close frame is written
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)  # set in connection_made

    @property
    def address(self) -> str:
        """The address of the other end; empty where it is not known."""
        return host_of(self.transport.get_extra_info("peername"))

    @property
    def local(self) -> str:
        """The address of our end."""
        return host_of(self.transport.get_extra_info("sockname"))

    @property
    def is_secure(self) -> bool:
        """Return whether the connection uses TLS."""
        return self.transport.get_extra_info("sslcontext") is not None

    # uvicorn and asyncio call these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport (not yet as its protocol: that follows the first `data_received`)."""
        self.transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Process received bytes: first the head of the request, then frames."""
        if self._handler is None:
            try:
                self._take_head(data)
            except Exception:
                # The boundary of a connection. Not the transport's protocol yet, we would not hear that it is lost.
                logger.exception("a request could not be answered")
                self.transport.abort()
                self.connection_lost(None)
            return
        if self._pong_due:
            self._pong_due = False
            self._surely_read = self._before_ping
        if self._is_deaf:
            return
        data = self._take_plain(data)
        if data:
            self._take_frames(data)
            # A pong does not wait for the messages that came along with its ping (RFC 6455, section 5.5.2).
            self._flush_protocol()
        self._handle_inbox()
        self._flush_protocol()
        self._note_partial()

    def give_up(self, error: TooMany) -> None:
        """Drop incomplete messages to free memory, answer the complete ones before them, and close."""
        self._is_deaf = True
        self._drop_partial()
        self._upgrades.log.write(
            "WARNING", "connection closed: its incomplete message is one too many", address=self.address
        )
        if self._handler is not None and not self._ended:
            self._handler.on_shutdown(cast(int, error.close_code), f"partial message: {error.hint}")

    def _drop_partial(self) -> None:
        self._held, self._partial, self._partial_bytes = b"", None, 0
        self._proto.forget_unread()

    def _note_partial(self) -> None:
        size = len(self._held) + len(self._proto.reader.buffer) + len(self._partial or b"")
        if size != self._partial_bytes:
            self._partial_bytes = size
            self._upgrades.partial_messages.hold(self, size)

    def eof_received(self) -> bool:
        """Process the end of input; return True to keep our side open for what is still to be sent."""
        held, self._held = self._held, b""
        if held:
            self._take_frames(held)
        self._proto.receive_eof()
        # Behind a frame that broke a rule nothing is looked at, so a goodbye would not have been seen: what came before
        # it is still answered.
        if self._proto.close_rcvd is None and self._proto.close_sent is None:
            self._end()  # it ended without a close frame
        self._flush_protocol()
        return not self._ended

    def pause_writing(self) -> None:
        """Register that the unsent bytes are above the high-water mark."""
        self._paused_at = self._upgrades.clock.monotonic()
        # The first look comes later: what the kernel had room for until then was taken by nobody.
        self._taken_then = self._moved_at = None

    def resume_writing(self) -> None:
        """Register that the unsent bytes are below the low-water mark."""
        self._paused_at = self._over_at = None
        self._eased = False
        if self._handler is not None and not self._ended:
            self._handler.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release everything: the connection is closed."""
        self._connections.discard(self)
        self._upgrades.partial_messages.hold(self, 0)
        self._drop_partial()
        self._upgrades.gone(self)
        self._end()
        # Also release what refers to us: cycles would wait for the garbage collector, which rarely runs.
        self._proto.end()
        self._handler = None

    def shutdown(self) -> None:
        """Close in order: the server stops."""
        if self._handler is not None and not self._ended:
            self._handler.on_shutdown()

    # The handler calls these.

    @property
    def limits(self) -> SocketLimits:
        """The limits of this connection."""
        return self._limits

    @property
    def clock(self) -> Clock:
        """Its time."""
        return self._upgrades.clock

    @property
    def log(self) -> SampledLog:
        """The log for events that the peer causes."""
        return self._upgrades.log

    @property
    def partial_messages(self) -> PartialMessages:
        """The budget for incomplete and waiting messages, shared by all connections."""
        return self._upgrades.partial_messages

    @property
    def unsent(self) -> int:
        """Bytes written and not yet taken by the kernel."""
        return self.transport.get_write_buffer_size()

    @property
    def _taken(self) -> int:
        """Bytes written and acknowledged by the other end's host."""
        return self._written - outstanding(self.transport)

    @property
    def is_writable(self) -> bool:
        """Return whether the unsent bytes are below the mark."""
        return self._paused_at is None

    def write(self, frames: bytes) -> bool:
        """Write whole frames; whether they were written.

        A closed reader gets nothing; one that is far beyond the hard limit is closed instead, or eased.
        """
        if self._ended:
            return False
        if self._paused_at is not None and self._is_far_behind():
            self._too_slow()
            return False
        self._written += len(frames)
        self.transport.write(frames)
        return True

    def set_high_water(self, size: int) -> None:
        """Set the mark of unsent bytes from which on the handler is asked to wait."""
        if not self._ended:
            self.transport.set_write_buffer_limits(high=size)

    def pause_reading(self) -> None:
        """Handle no more messages until `resume_reading`."""
        if self._reading and not self._ended:
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Handle messages again, first those already read."""
        if not self._reading and not self._ended:
            self._reading = True
            # What it was asked meanwhile it may have answered: that is still to be read.
            self._ping_at, self._pong_due = self._upgrades.clock.monotonic(), False
            self._handle_inbox()
            self._flush_protocol()
            if self._reading and not self.transport.is_closing():
                self.transport.resume_reading()

    def close(self, code: int, reason: str = "", *, seconds: float | None = None) -> None:
        """Close after everything written so far; abort the connection if that takes too long.

        Args:
            code: Close code.
            reason: What is cut to 123 bytes.
            seconds: How long the other side may take; the limit's `close_seconds` by default.
        """
        if self._ended:
            return
        if self._proto.state is OPEN:
            cut = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
            self._proto.send_close(code, cut)
        self._end(seconds)
        self._flush_protocol()

    def finish_closing(self) -> None:
        """Close now: everything that `on_closing` waited for has been sent."""
        self._end()
        self._flush_protocol()

    # The keeper calls this, several times a second.

    def sweep(self, now: float) -> None:
        """Enforce deadlines.

        Args:
            now: The clock's monotonic seconds.
        """
        if self.grant.expires_ms is not None and self.grant.is_over(self._upgrades.clock.now_ms()):
            self.send_away("the token has expired")
        if self._deadline is not None:
            if now >= self._deadline:
                self.transport.abort()
        elif self._paused_at is not None:
            self._sweep_paused(now)
        elif not self._reading:
            self._sweep_unread(now)
        elif self._pong_due:
            self._sweep_unanswered(now)
        elif now - self._ping_at >= self._limits.ping_interval:
            self._ping(now)

    def _sweep_unanswered(self, now: float) -> None:
        """Wait for a pong as long as what stands before it is being taken."""
        then = self._taken_then
        # The ping itself is taken by the host, even where nobody reads there: only what stands before it counts.
        if self._has_moved(now) and then is not None and then < self._before_ping:
            self._ping_at = now
            return
        # Acknowledged bytes may still be unread by the peer, and so may the ping after them.
        unread = min(self._before_ping - self._surely_read, MAX_RECEIVED_UNREAD)
        if now - self._ping_at >= self._limits.ping_timeout + unread // SLOWEST_RATE:
            self._upgrades.log.write("INFO", "connection closed: no answer to a ping")
            self.close(CloseCode.GOING_AWAY, "no answer to a ping")

    def _has_moved(self, now: float) -> bool:
        """Return whether the peer has taken anything since the last call.

        Not by what is unsent: while a reader takes a little, as much may be written.
        """
        taken, then = self._taken, self._taken_then
        self._taken_then = taken
        if then is None or taken <= then:
            return False
        self._moved_at = now
        return True

    def _ping(self, now: float) -> None:
        self._ping_at, self._pong_due = now, True
        self._before_ping, self._taken_then = self._written, self._taken
        self._proto.send_ping(b"")
        self._flush_protocol()

    def _sweep_unread(self, now: float) -> None:
        """Check a connection that is not being read: no pong can arrive, so only the kernel knows whether
        the peer is gone.
        """
        end = end_of(self.transport)
        if end is End.GONE:
            logger.info("connection ended: the peer disconnected while reading was paused")
            self.transport.abort()
        elif (end is End.CLOSING and not self._pong_due) or now - self._ping_at >= self._limits.ping_interval:
            # What is written to one that is gone comes back as a reset.
            self._ping(now)

    def send_away(self, reason: str) -> None:
        """Close with 4401 after answering what was accepted: the permission has ended."""
        self.grant = EVERYTHING  # said once
        if self._handler is not None and not self._ended:
            logger.bind(reason=reason).info("connection closed: its token is no longer valid")
            self._handler.on_shutdown(4401, reason)

    def _sweep_paused(self, now: float) -> None:
        assert self._paused_at is not None
        # A pong cannot come through before what is unsent: only reading counts meanwhile.
        self._ping_at, self._pong_due = now, False
        moved = self._has_moved(now)
        if self._handler is not None and self._handler.at_own_pace:
            # It is throttled to what it reads. Reading nothing for this long counts like a missing pong.
            if moved:
                self._paused_at = now
            elif now - self._paused_at >= self._patience:
                self._too_slow()
        elif self.unsent <= self._limits.soft_bytes:
            self._paused_at = now
        elif now - self._paused_at >= self._limits.soft_seconds or self._is_far_behind():
            self._too_slow()

    @property
    def _patience(self) -> float:
        """Return how long, in seconds, a paused reader may take nothing."""
        return max(self._limits.soft_seconds, self._limits.ping_timeout)

    def _is_far_behind(self) -> bool:
        """Return whether more than the hard limit has been unsent for longer than a moment."""
        # One that is eased is sent little: what it had when it was found slow may stay, and as much again.
        if self.unsent <= self._limits.hard_bytes * (1 + self._eased):
            self._over_at = None
            return False
        now = self._upgrades.clock.monotonic()
        if self._over_at is None:
            self._over_at = now
        return now - self._over_at >= HARD_GRACE_SECONDS

    def _too_slow(self) -> None:
        now = self._upgrades.clock.monotonic()
        self._has_moved(now)
        is_moving = self._moved_at is not None and now - self._moved_at < self._patience
        if not self._eased and self._handler is not None and self._handler.on_slow(is_moving=is_moving):
            self._eased, self._paused_at = True, now
        else:
            self._close_slow()

    def _close_slow(self) -> None:
        position = self._handler.position_text() if self._handler is not None else ""
        self._upgrades.log.write("WARNING", "slow reader closed", position=position, unsent=self.unsent)
        self._upgrades.metrics.slow_closed += 1
        self.close(4408, position, seconds=self._limits.linger_seconds)

    def _take_plain(self, data: bytes) -> bytes:
        """Take plain messages off the front of what was read; what is for the state machine is returned."""
        proto = self._proto
        if (
            self._handler is None
            or proto.state is not OPEN
            or proto.reader.buffer
            or proto.current_size is not None
        ):
            # It is in the middle of something (or of the handshake, or of the close): it gets all.
            held, self._held = self._held, b""
            return held + data if held else data
        if self._held:
            data, self._held = self._held + data, b""
        messages, taken = take_messages(data, self._handler.max_message_bytes)
        self._keep(messages)
        rest = data[taken:]
        if may_hold(rest, self._handler.max_message_bytes):
            self._held = rest
            return b""
        return rest

    def _take_frames(self, data: bytes) -> None:
        """Pass bytes to the protocol's parser, and queue the frames it returns."""
        self._proto.receive_data(data)
        frames = self._proto.events_received()
        if not self._ended:
            self._keep(cast(list[Frame], frames))

    def _keep(self, frames: Sequence[Frame | bytes]) -> None:
        """Queue frames for handling."""
        if self._inbox:
            self._inbox.extend(frames)
        elif frames:
            self._inbox = deque(frames)

    def _take_head(self, data: bytes) -> None:
        """Answer the request, which comes in one piece."""
        self._proto.receive_data(data)
        requests = self._proto.events_received()
        if not requests:
            self.transport.write(_UNREADABLE)
            self.transport.close()
            return
        request = cast(Request, requests[0])
        try:
            handler = self._upgrades.admit(self, request)
        except RecorderError as error:
            self._upgrades.log.write(
                "INFO", "connection refused", code=error.code, reason=str(error), address=self.address
            )
            if not isinstance(error, TooMany):  # which counts itself, by its limit
                self._upgrades.metrics.reject(error.code)
            response = self._proto.refuse(error)
        else:
            response = self._proto.accept(request)
        self._proto.send_response(response)
        self._flush_protocol()
        if self._proto.state is OPEN:
            if data.find(b"\r\n\r\n") == len(data) - 4:
                self._proto.forget_request()
            self._open(handler)

    def _open(self, handler: Handler) -> None:
        self._proto.max_message_size = handler.max_message_bytes
        self.set_high_water(self._limits.soft_bytes)
        self._handler = handler
        self.compresses = self._proto.compresses
        self._upgrades.opened(self)
        handler.on_open()

    def _handle_inbox(self) -> None:
        inbox = self._inbox
        try:
            while inbox and self._reading and not self._ended:
                frame = inbox.popleft()
                if isinstance(frame, bytes):
                    self._messages(self._run(frame))
                else:
                    self._handle_frame(frame)
        except Exception:
            # The boundary of a connection: its caller (the recording, too) must not fail because of it.
            logger.exception("a message could not be handled")
            self.close(CloseCode.INTERNAL_ERROR, "a message could not be handled")
        if not self._inbox:
            self._inbox = _NOTHING

    def _run(self, first: bytes) -> list[bytes]:
        """Take a message and the complete ones that follow it."""
        assert self._handler is not None
        inbox, messages = self._inbox, [first]
        most, room = self._handler.at_once, RUN_BYTES
        while inbox and len(messages) < most and isinstance(message := inbox[0], bytes):
            room -= len(message)
            if room < 0:
                break
            messages.append(message)
            inbox.popleft()
        return messages

    def _handle_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY:
            self._fail(CloseCode.UNSUPPORTED_DATA, "text frames only")
        elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.CONT:
            if frame.fin and self._partial is None:
                self._messages([bytes(frame.data)])
                return
            if self._partial is None:
                self._partial = bytearray()
            self._partial += frame.data
            if frame.fin:
                message, self._partial = bytes(self._partial), None
                self._messages([message])

    def _messages(self, messages: list[bytes]) -> None:
        assert self._handler is not None
        if self._partial_bytes:
            # They are complete: a handler that keeps one counts it itself.
            self._note_partial()
        count = utf8_count(messages)
        if count:
            self._handler.on_texts(messages[:count] if count < len(messages) else messages)
        if count < len(messages) and not self._ended:
            self._fail(CloseCode.INVALID_DATA, "not UTF-8")

    def _fail(self, code: CloseCode, reason: str) -> None:
        # What came after it counts as not sent; what came before is still answered.
        self._proto.fail(code, reason)
        self._inbox.clear()
        self._flush_protocol()

    def _flush_protocol(self) -> None:
        """Write what the state machine has to say: answers to pings, close frames, the end of the stream."""
        if self._handler is not None and not self._ended and self._proto.state is not OPEN:
            # The other side has said its last. What it said before is handled and answered first.
            if self._deadline is None:
                self._deadline = self._upgrades.clock.monotonic() + self._limits.close_seconds
            if self._inbox or not self._handler.on_closing():
                return
            self._end()
        chunks = self._proto.data_to_send()
        said = b"".join(chunks)
        if said and not self._said_goodbye:
            self._said_goodbye = self._proto.close_sent is not None
            if self._ended or self._handler is None or self.unsent <= self._limits.hard_bytes:
                self._written += len(said)
                self.transport.write(said)
            else:
                self._close_slow()  # it asks for pongs and does not read them
        # A peer that is not read cannot complete the close handshake.
        if b"" in chunks or (self._is_deaf and self._said_goodbye):
            self._end_stream()

    def _end_stream(self) -> None:
        if self._handler is None or self._proto.close_rcvd is not None or self._proto.reader.eof:
            self.transport.close()
            return
        if not self.transport.can_write_eof():  # TLS has no half of an end
            return
        # It may be sending still. To close now would reset the connection, and a reset can overtake the close frame.
        try:
            self.transport.write_eof()
        except OSError:
            self.transport.abort()  # it has reset the connection meanwhile

    def _end(self, seconds: float | None = None) -> None:
        """End the handler: nothing more is sent or received for it. The close handshake has a deadline."""
        if self._ended:
            return
        self._ended = True
        self._inbox.clear()
        wait = self._limits.close_seconds if seconds is None else seconds
        self._deadline = self._upgrades.clock.monotonic() + wait
        if self._handler is not None:
            self._handler.on_lost()
        # The answer to our close frame must be read even if the handler had paused reading.
        self._reading = True
        if not self.transport.is_closing():
            self.transport.resume_reading()
