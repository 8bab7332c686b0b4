"""One HTTP connection: uvicorn's, with limits where it has none, and answers in the order of the requests.

A connection counts towards the limits before it has sent anything, and is rejected if it exceeds one; the head of a
request has a deadline and a maximum length. Otherwise an idle socket would stay for ever, and a head without an end
would grow. A request that cannot be parsed gets an error like any other; a failure of the recorder itself is a 503.

Answers keep their order. Rejections and upgrades wait until the requests before them are answered: written at once they
would precede or interrupt another answer. An upgrade leaves here for `net.websocket`, which ends its counting.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from recorder.config.settings import Settings
from recorder.core.errors import InvalidRequest, RecorderError, RequestTimeout, TooMany, Unavailable
from recorder.core.metrics import Metrics
from recorder.core.sampled_log import SampledLog
from recorder.net.connection_limits import Admission
from recorder.net.partial_messages import PartialMessages
from recorder.net.peer_state import outstanding
from recorder.wire.problems import explain_failure, raw_problem

MAX_TARGET_BYTES = 65_535
"""How long a request's path and query may be: the parser does not take more."""

HEALTH_TARGETS = (b"/healthz", b"/readyz")
"""What is answered to a connection that is one too many, too: else a full recorder could not be told from a dead one."""
ONE_TOO_MANY_SECONDS = 2.0
"""How long a connection that is one too many may take to ask: it holds one of few places."""
LINGER_SECONDS, LINGER_BYTES = 2.0, 64 << 20
"""How long, and for how much, a sender that is refused is still read from, so that it finds the answer."""
_LINE_OVERHEAD = 4
"""A header's colon, space and line end, and no less for the request line."""
_NO_MEMORY = raw_problem(Unavailable("the recorder has no memory left to answer", hint="try again later"))
"""Made beforehand: to make it needs memory."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of a request.

    Args:
        head_seconds: How long its head may take to come.
        head_bytes: How long that may be.
        stall_seconds: How long its body, or the reading of its answer, may stand still.
    """

    head_seconds: float = 20.0
    head_bytes: int = 128 << 10
    stall_seconds: float = 30.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return those of the settings."""
        return cls(
            settings.request_head_timeout / 1000,
            settings.max_header_bytes,
            settings.http_stall_timeout / 1000,
        )


class HttpConnection(HttpToolsProtocol):
    """An HTTP connection, created by uvicorn for each accepted socket.

    Args:
        args, options: uvicorn's.
        admission: Counts it in and out.
        partial_messages: Bounds what all of them hold of heads that are not whole.
        limits: Of each request.
        metrics: Counts those that are refused.
        log: Writes some of them down.
    """

    def __init__(
        self,
        *args: Any,
        admission: Admission,
        partial_messages: PartialMessages,
        limits: HttpLimits,
        metrics: Metrics,
        log: SampledLog,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._admission = admission
        self._partial_messages = partial_messages
        self._limits = limits
        self._metrics = metrics
        self._log = log
        self.came_as: asyncio.Transport | None = (
            None  # what it was counted in as, where TLS made another of it
        )
        self._one_too_many: TooMany | None = None  # why it is, to be told unless it asks for health
        self._head_timer = _Timer(self.loop)  # while a head is coming, or due
        self._head_read = 0  # bytes read of the head that is coming
        self._head_parsed = 0  # bytes of its lines that are whole
        self._answers_due = 0  # requests whose head was read, and that are not answered
        self._body_is_due = False  # whether the last of them is not whole yet
        self._ended_a_request = False  # whether one became whole with what was read last
        self._is_held = False  # whether the beginning of one counts as a partial message
        self._body_timer = _Timer(self.loop)  # while more of a body is due
        self._unread_timer = _Timer(self.loop)  # while the answer is not being read
        self._unread_then = 0  # how many bytes of it were unread when that was set
        self._upgrade_waits = False  # whether an upgrade is due once all before it is answered
        self._behind_upgrade = b""  # what was sent behind it already
        self._last_answer: bytes | None = None  # a refusal that is due then; nothing is read any more
        self._last_lingers = False  # whether more may come of what that refuses
        self._lingers = False  # whether all is answered, and what still comes is thrown away
        self._lingered = 0  # bytes of that
        self._linger_timer = _Timer(self.loop)  # while that goes on

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the new connection in; its first request is due."""
        super().connection_made(transport)
        if self.came_as is not None:
            self._one_too_many = self._admission.pass_on(self.came_as, transport)
            self.came_as = None
            self.on_message_begin()
            return
        self._one_too_many = self._admission.enter(transport, self.client[0] if self.client else "")
        self.on_message_begin()

    def on_message_begin(self) -> None:
        """Begin a request: its head is due."""
        super().on_message_begin()
        seconds = self._limits.head_seconds
        if self._one_too_many is not None:
            seconds = min(seconds, ONE_TOO_MANY_SECONDS)
        self._head_timer.start(seconds, self._on_head_late)
        self._head_read = self._head_parsed = 0

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        if self._last_answer is not None or self.transport.is_closing():
            return
        if self._lingers:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self.transport.close()
            return
        if self._upgrade_waits:
            self._keep_behind_upgrade(data)
            return
        self._unset_keepalive_if_required()
        self._ended_a_request = False
        self._read(data)
        if self._head_timer.is_running and data:
            self._note_head(data)

    def _read(self, data: bytes) -> None:
        """Pass bytes to the parser, and answer requests that it cannot parse."""
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                if self._should_upgrade():
                    self._upgrade(data)
                    return
                # Another protocol (h2c) is offered, which a server may ignore. The parser has stopped behind the head
                # and would take a body for the next request: it reads the same head again, without the offer.
                data = self._head_without_offer() + data
                continue
            except httptools.HttpParserCallbackError as error:
                # One of the methods below raised: only what it says itself is the sender's fault.
                cause = error.__context__ or error
                if isinstance(cause, RecorderError):
                    self._refuse(cause)
                else:
                    self._fail(cause)
            except httptools.HttpParserError:
                self._refuse_bytes()
            except Exception as error:
                # The boundary of a connection: whatever it was, it is not what was sent.
                self._fail(error)
            return

    def _note_head(self, data: bytes) -> None:
        """Count what was read of a head that is not whole yet."""
        # Before its beginning the end of another request was read: how much of it is this one's, the lines tell.
        self._head_read += self._head_parsed if self._ended_a_request else len(data)
        if self._head_read > self._limits.head_bytes:
            self._refuse(self._head_too_long())
            return
        self._is_held = True
        self._partial_messages.hold(self, self._head_read)

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's target."""
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        super().on_header(name, value)
        self._count_head(len(name) + len(value) + _LINE_OVERHEAD)

    def _count_head(self, size: int) -> None:
        self._head_parsed += size
        if self._head_parsed > self._limits.head_bytes:
            raise self._head_too_long()

    def _head_too_long(self) -> InvalidRequest:
        self._metrics.reject("header_bytes")
        self._last_lingers = True
        return InvalidRequest(
            f"the head of the request is longer than {self._limits.head_bytes} bytes",
            hint="MAX_HEADER_BYTES sets the limit",
        )

    def give_up(self, error: TooMany) -> None:
        """Drop the incomplete head to free memory."""
        self._refuse(error)

    def _refuse_bytes(self) -> None:
        """Refuse what the parser cannot read."""
        long = len(self.url) > MAX_TARGET_BYTES
        self._refuse(_target_too_long() if long else InvalidRequest("this is not a request of HTTP/1.1"))

    def on_headers_complete(self) -> None:
        """Begin to answer: the head is whole."""
        self._head_timer.stop()
        self._release_head()
        self._check_target()
        if self._offers_other_protocol():
            return
        if self._one_too_many is not None and self.url.partition(b"?")[0] not in HEALTH_TARGETS:
            raise self._one_too_many
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self._answers_due += 1
            self._body_is_due = True
            self.cycle.transport = cast(asyncio.Transport, _AnswerTransport(self))
            # Whoever is one too many has asked what may be asked then.
            self.cycle.keep_alive = self.cycle.keep_alive and self._one_too_many is None
        self._expect_body()

    def _offers_other_protocol(self) -> bool:
        """Return whether a request offers to go on with another protocol than WebSocket."""
        return bool(self.parser.should_upgrade()) and not self._should_upgrade()

    def _head_without_offer(self) -> bytes:
        """Return the head of a request without what makes the parser stop behind it."""
        lines = [
            b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        ]
        for name, value in self.headers:
            if name == b"connection":
                value = b", ".join(one for one in value.split(b",") if one.strip().lower() != b"upgrade")
            if name != b"upgrade":
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _check_target(self) -> None:
        """Raise InvalidRequest where the target is none that can be answered."""
        if len(self.url) > MAX_TARGET_BYTES:
            raise _target_too_long()
        try:
            path = httptools.parse_url(self.url).path
        except httptools.HttpParserInvalidURLError:
            path = None
        # CONNECT asks for a tunnel, and is an upgrade for the parser.
        if path is None or not path.isascii() or self.parser.get_method() == b"CONNECT":
            raise InvalidRequest(
                "the target of the request cannot be read", hint="a path, as in GET /healthz"
            )

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        super().on_body(body)
        self._expect_body()

    def on_message_complete(self) -> None:
        """Process the end of a request."""
        if self._offers_other_protocol():
            return
        self._body_timer.stop()
        self._body_is_due = False
        self._ended_a_request = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Continue with what waited for this answer."""
        self._answers_due -= 1
        if self._lingers:
            return
        super().on_response_complete()
        if self._answers_due or self.transport.is_closing():
            return
        if self._last_answer is not None:
            self._end_with(self._last_answer)
        elif self._upgrade_waits:
            self._unset_keepalive_if_required()
            self.handle_websocket_upgrade()

    def _upgrade(self, behind: bytes) -> None:
        """Schedule an upgrade for when everything before it is answered."""
        self._body_timer.stop()
        self._upgrade_waits = True
        self._keep_behind_upgrade(behind)
        if self._upgrade_waits and not self._answers_due:
            self.handle_websocket_upgrade()

    def _keep_behind_upgrade(self, data: bytes) -> None:
        """Keep what a client sends without waiting for the 101, as long as it is little."""
        self._behind_upgrade += data
        if len(self._behind_upgrade) > self._limits.head_bytes:
            self._refuse(
                InvalidRequest("too much was sent before the upgrade was answered", hint="wait for 101")
            )

    def pause_writing(self) -> None:
        """Register that the reader of the answer is behind."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Register that the reader has caught up."""
        self._unread_timer.stop()
        super().resume_writing()

    def handle_websocket_upgrade(self) -> None:
        """Hand the socket over, with the bytes read after the request."""
        self._stop_timers()
        transport, behind = self.transport, self._behind_upgrade
        super().handle_websocket_upgrade()
        self._let_go()
        if behind and not transport.is_closing():
            cast(asyncio.Protocol, transport.get_protocol()).data_received(behind)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection out; never called after an upgrade."""
        self._stop_timers()
        self._release_head()
        self._admission.leave(self.transport)
        super().connection_lost(exc)
        self._let_go()

    def _let_go(self) -> None:
        # A reference cycle: without this both wait for the garbage collector, which rarely runs.
        self.parser = None  # type: ignore[assignment]

    def _on_head_late(self) -> None:
        if self._one_too_many is not None:
            self._refuse(self._one_too_many)
            return
        self._metrics.reject("handshake_timeout")
        seconds = f"{self._limits.head_seconds:g} seconds"
        self._refuse(
            RequestTimeout(f"no request came within {seconds}", hint="REQUEST_HEAD_TIMEOUT sets the limit")
        )

    def _expect_body(self) -> None:
        self._body_timer.start(self._limits.stall_seconds, self._on_body_late)

    def _on_body_late(self) -> None:
        if self.flow.read_paused or self.cycle.response_started:
            self._expect_body()  # reading is paused by us, or no request is waiting for the body
            return
        self._metrics.reject("stall_timeout")
        seconds = f"{self._limits.stall_seconds:g} seconds"
        self._refuse(
            RequestTimeout(
                f"no more of the body came for {seconds}", hint="HTTP_STALL_TIMEOUT sets the limit"
            )
        )

    def _watch_reader(self) -> None:
        self._unread_then = outstanding(self.transport)
        self._unread_timer.start(self._limits.stall_seconds, self._on_unread)

    def _on_unread(self) -> None:
        if outstanding(self.transport) < self._unread_then:
            self._watch_reader()  # slowly, but it reads
            return
        self._metrics.reject("stall_timeout")
        self._log.write("INFO", "connection closed: the answer is not being read")
        # Not `close`, which would wait for the reader.
        self.transport.abort()

    def _release_head(self) -> None:
        if self._is_held:
            self._is_held = False
            self._partial_messages.hold(self, 0)

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._body_timer, self._unread_timer, self._linger_timer):
            timer.stop()

    def _fail(self, error: BaseException) -> None:
        """Answer a failure of ours while a request was read."""
        self._metrics.failed_requests += 1
        try:
            self._log.write("ERROR", "a request could not be read", exception=error)
            answer = raw_problem(explain_failure(error))
        except MemoryError:
            answer = _NO_MEMORY
        self._answer_last(answer)

    def _refuse(self, error: RecorderError) -> None:
        """Answer what cannot be taken, and close."""
        self._log.write("DEBUG", "request refused", code=error.code, reason=str(error))
        self._answer_last(raw_problem(error))

    def _answer_last(self, answer: bytes) -> None:
        """Send an answer in its turn, then close. Nothing more is read.

        It belongs to the request whose body is due, else to one that has not been read whole.
        """
        self._stop_timers()
        self._release_head()
        self._upgrade_waits, self._behind_upgrade = False, b""
        if self._body_is_due:
            # Its sender may be sending still.
            self._last_lingers = True
            self._drop_request(self.cycle)
            if self.cycle.response_started:
                # Its answer is on its way, and nothing else may stand in it: without its end it is not whole.
                self.transport.close()
                return
        if self._answers_due:
            self._last_answer = answer
        else:
            self._end_with(answer)

    def _drop_request(self, cycle: RequestResponseCycle) -> None:
        """Answer a request no more: it will not become whole. What has its turn before it is still answered."""
        self._body_is_due = False
        if cycle.response_complete:
            return
        self._answers_due -= 1
        for waiting in [item for item in self.pipeline if item[0] is cycle]:
            self.pipeline.remove(waiting)
        cycle.disconnected = cycle.response_complete = True
        cycle.message_event.set()

    def _end_with(self, answer: bytes) -> None:
        self.transport.write(answer)
        self._close(lingers=self._last_lingers)

    def close_behind_answer(self) -> None:
        """Close once the answer is written; where more of the request is to come, not before its sender has read it."""
        self._close(lingers=self._body_is_due)

    def _close(self, *, lingers: bool) -> None:
        if not lingers or self.transport.is_closing():
            self.transport.close()
            return
        # To close on what has not been read resets the connection, and a reset can overtake the answer.
        self._lingers = True
        self._stop_timers()
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self._linger_timer.start(LINGER_SECONDS, self.transport.close)
        if self.transport.can_write_eof():  # TLS has no half of an end
            with contextlib.suppress(OSError):  # it has reset the connection meanwhile
                self.transport.write_eof()


class _AnswerTransport:
    """The transport that uvicorn writes one answer to. It delays the close of the connection until the answer is sent.

    Args:
        connection: Closes. Not held on to, since it holds the answer.
    """

    __slots__ = ("_connection", "_transport", "is_closing", "write")

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = weakref.ref(connection)
        self._transport = connection.transport
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing

    def close(self) -> None:
        """Close behind what was written."""
        connection = self._connection()
        if connection is None:
            self._transport.close()
        else:
            connection.close_behind_answer()


def _target_too_long() -> InvalidRequest:
    return InvalidRequest(f"the target of the request is longer than {MAX_TARGET_BYTES} bytes")


class _Timer:
    """Calls back once, unless it is stopped or started again before.

    Args:
        loop: Counts the time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None  # while it runs

    @property
    def is_running(self) -> bool:
        """Return whether it will call back."""
        return self._handle is not None

    def start(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back in so many seconds from now."""
        self.stop()
        self._handle = self._loop.call_later(seconds, self._on_time, callback)

    def stop(self) -> None:
        """Cancel the callback."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _on_time(self, callback: Callable[[], None]) -> None:
        self._handle = None
        callback()
