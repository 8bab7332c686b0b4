"""One HTTP connection: uvicorn's, with bounds where it has none.

Counted in before it has said a word, and told so when it is one too many; a head has a time and a length. Without
that an idle socket would stay for ever, and a head without an end would grow. What is wrong with a head is told as every
other error is. An upgrade leaves here for `hub.socket`, which counts the connection out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Self

from loguru import logger
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from recorder.api.problems import raw_problem
from recorder.errors import InvalidRequest, RecorderError, RequestTimeout, TooMany
from recorder.hub.admission import Admission
from recorder.metrics import Metrics
from recorder.settings import Settings

MAX_TARGET_BYTES = 65_535
"""How long a request's path and query may be: the parser does not take more."""


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bounds of a request's head.

    Args:
        seconds: How long it may take to come.
        max_bytes: How long it may be.
    """

    seconds: float = 20.0
    max_bytes: int = 128 << 10

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of the settings."""
        return cls(settings.handshake_timeout / 1000, settings.max_header_bytes)


class HttpConnection(HttpToolsProtocol):
    """See the module. Made by uvicorn, one for each connection.

    Args:
        args, options: uvicorn's.
        admission: Counts it in and out.
        limits: Of each head.
        metrics: Counts those that are ended for their head.
    """

    def __init__(
        self, *args: Any, admission: Admission, limits: HeadLimits, metrics: Metrics, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._admission = admission
        self._limits = limits
        self._metrics = metrics
        self._one_too_many: TooMany | None = None  # why it is, to be told once it asks for something
        self._head_timer: asyncio.TimerHandle | None = None  # while a head is coming, or due
        self._head_bytes = 0  # of the head that is coming

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The socket is open."""
        super().connection_made(transport)
        try:
            self._one_too_many = self._admission.enter(transport, self.client[0] if self.client else "")
        except TooMany:
            transport.abort()
            return
        self.on_message_begin()

    def on_message_begin(self) -> None:
        """A request begins, or may: its head is due."""
        super().on_message_begin()
        self._cancel_head_timer()
        self._head_timer = self.loop.call_later(self._limits.seconds, self._on_head_late)
        self._head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._one_too_many is not None:
            self._refuse(self._one_too_many)
            return
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.max_bytes:
                self._metrics.turn_away("header_bytes")
                self.send_400_response(
                    f"the head of the request is longer than {self._limits.max_bytes} bytes",
                    hint="MAX_HEADER_BYTES sets the limit",
                )
                return
        super().data_received(data)

    def send_400_response(self, msg: str, *, hint: str | None = None) -> None:
        """Tell what cannot be read, and close."""
        if len(self.url) > MAX_TARGET_BYTES:
            msg, hint = f"the target of the request is longer than {MAX_TARGET_BYTES} bytes", None
        self._refuse(InvalidRequest(msg, hint=hint))

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._cancel_head_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed; never called after an upgrade."""
        self._cancel_head_timer()
        self._admission.leave(self.transport)
        super().connection_lost(exc)

    def _on_head_late(self) -> None:
        self._metrics.turn_away("handshake_timeout")
        seconds = f"{self._limits.seconds:g} seconds"
        self._refuse(
            RequestTimeout(f"no request came within {seconds}", hint="HANDSHAKE_TIMEOUT sets the limit")
        )

    def _refuse(self, error: RecorderError) -> None:
        logger.bind(code=error.code, reason=str(error)).debug("request refused")
        self.transport.write(raw_problem(error))
        self.transport.close()

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
