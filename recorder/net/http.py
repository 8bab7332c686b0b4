"""One HTTP connection: uvicorn's, with bounds where it has none.

Counted in before it has said a word, and told so when it is one too many; a head has a time and a length. Without
that an idle socket would stay for ever, and a head without an end would grow. What is wrong with a head is told as every
other error is. An upgrade leaves here for `hub.socket`, which counts the connection out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from loguru import logger
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from recorder.config.settings import Settings
from recorder.core.errors import InvalidRequest, RecorderError, RequestTimeout, TooMany
from recorder.core.metrics import Metrics
from recorder.net.connection_limits import Admission
from recorder.net.partial_messages import Unfinished
from recorder.wire.problems import raw_problem

MAX_TARGET_BYTES = 65_535
"""How long a request's path and query may be: the parser does not take more."""


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
        """Those of the settings."""
        return cls(
            settings.handshake_timeout / 1000, settings.max_header_bytes, settings.stall_timeout / 1000
        )


class HttpConnection(HttpToolsProtocol):
    """See the module. Made by uvicorn, one for each connection.

    Args:
        args, options: uvicorn's.
        admission: Counts it in and out.
        unfinished: Bounds what all of them hold of heads that are not whole.
        limits: Of each request.
        metrics: Counts those that are ended for their head.
    """

    def __init__(
        self,
        *args: Any,
        admission: Admission,
        unfinished: Unfinished,
        limits: HttpLimits,
        metrics: Metrics,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._admission = admission
        self._unfinished = unfinished
        self._limits = limits
        self._metrics = metrics
        self.came_as: asyncio.Transport | None = (
            None  # what it was counted in as, where TLS made another of it
        )
        self._one_too_many: TooMany | None = None  # why it is, to be told once it asks for something
        self._head_timer = _Timer(self.loop)  # while a head is coming, or due
        self._head_bytes = 0  # of the head that is coming
        self._is_held = False  # whether the beginning of one counts as unfinished
        self._body_timer = _Timer(self.loop)  # while more of a body is due
        self._unread_timer = _Timer(self.loop)  # while the answer is not being read
        self._unread_then = 0  # how many bytes of it were unread when that was set

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The socket is open."""
        super().connection_made(transport)
        if self.came_as is not None:
            self._one_too_many = self._admission.pass_on(self.came_as, transport)
            self.came_as = None
            self.on_message_begin()
            return
        try:
            self._one_too_many = self._admission.enter(transport, self.client[0] if self.client else "")
        except TooMany:
            transport.abort()
            return
        self.on_message_begin()

    def on_message_begin(self) -> None:
        """A request begins, or may: its head is due."""
        super().on_message_begin()
        self._head_timer.start(self._limits.head_seconds, self._on_head_late)
        self._head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._one_too_many is not None:
            self._refuse(self._one_too_many)
            return
        if self._head_timer.is_running:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes:
                self._metrics.turn_away("header_bytes")
                self.send_400_response(
                    f"the head of the request is longer than {self._limits.head_bytes} bytes",
                    hint="MAX_HEADER_BYTES sets the limit",
                )
                return
        super().data_received(data)
        if self._head_timer.is_running and data:
            self._is_held = True
            # Counted from the second piece on: the parser says that a head begins once it has read of it.
            self._unfinished.hold(self, self._head_bytes or len(data))

    def give_up(self, error: TooMany) -> None:
        """Let go of the beginning of a head."""
        self._refuse(error)

    def send_400_response(self, msg: str, *, hint: str | None = None) -> None:
        """Tell what cannot be read, and close."""
        if len(self.url) > MAX_TARGET_BYTES:
            msg, hint = f"the target of the request is longer than {MAX_TARGET_BYTES} bytes", None
        self._refuse(InvalidRequest(msg, hint=hint))

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_timer.stop()
        self._release_head()
        super().on_headers_complete()
        self._expect_body()

    def on_body(self, body: bytes) -> None:
        """A piece of a body is there."""
        super().on_body(body)
        self._expect_body()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._body_timer.stop()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The reader of the answer is behind."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._unread_timer.stop()
        super().resume_writing()

    def handle_websocket_upgrade(self) -> None:
        """From here on the socket is somebody else's."""
        self._stop_timers()
        super().handle_websocket_upgrade()
        self._let_go()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed; never called after an upgrade."""
        self._stop_timers()
        self._release_head()
        self._admission.leave(self.transport)
        super().connection_lost(exc)
        self._let_go()

    def _let_go(self) -> None:
        # It and we hold each other: without this the memory of both waits for the garbage collector, which is seldom.
        self.parser = None  # type: ignore[assignment]

    def _on_head_late(self) -> None:
        self._metrics.turn_away("handshake_timeout")
        seconds = f"{self._limits.head_seconds:g} seconds"
        self._refuse(
            RequestTimeout(f"no request came within {seconds}", hint="HANDSHAKE_TIMEOUT sets the limit")
        )

    def _expect_body(self) -> None:
        self._body_timer.start(self._limits.stall_seconds, self._on_body_late)

    def _on_body_late(self) -> None:
        if self.flow.read_paused or self.cycle.response_started:
            self._expect_body()  # it is we who do not read on, or nobody is waiting for it any more
            return
        self._metrics.turn_away("stall_timeout")
        seconds = f"{self._limits.stall_seconds:g} seconds"
        self._refuse(
            RequestTimeout(f"no more of the body came for {seconds}", hint="STALL_TIMEOUT sets the limit")
        )

    def _watch_reader(self) -> None:
        self._unread_then = self.transport.get_write_buffer_size()
        self._unread_timer.start(self._limits.stall_seconds, self._on_unread)

    def _on_unread(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread_then:
            self._watch_reader()  # slowly, but it reads
            return
        self._metrics.turn_away("stall_timeout")
        logger.info("connection closed: the answer is not being read")
        # Not `close`, which would wait for the reader.
        self.transport.abort()

    def _release_head(self) -> None:
        if self._is_held:
            self._is_held = False
            self._unfinished.hold(self, 0)

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._body_timer, self._unread_timer):
            timer.stop()

    def _refuse(self, error: RecorderError) -> None:
        logger.bind(code=error.code, reason=str(error)).debug("request refused")
        self._stop_timers()
        self.transport.write(raw_problem(error))
        self.transport.close()


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
        """Whether it will call back."""
        return self._handle is not None

    def start(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back in so many seconds from now."""
        self.stop()
        self._handle = self._loop.call_later(seconds, self._on_time, callback)

    def stop(self) -> None:
        """Do not call back."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _on_time(self, callback: Callable[[], None]) -> None:
        self._handle = None
        callback()
