"""A TLS handshake: counted in before it begins, with a time to be done by, and counted where it fails.

asyncio's own server does handshakes before anybody is told of the connection: those that are never finished would be
counted nowhere, and cut after a minute. Here a connection counts (`connection_limits`) from the moment it is accepted,
and is HTTP's from the moment that it is secured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from loguru import logger

from recorder.core.metrics import Metrics
from recorder.net.connection_limits import Admission
from recorder.net.http import HttpConnection
from recorder.net.tls import ServerTls


class TlsHandshake(asyncio.Protocol):
    """A TLS handshake with a deadline, created by uvicorn for each connection instead of its HTTP protocol.

    Args:
        http: Makes the connection that follows; gets the options.
        tls: Has the context that a handshake begins with.
        seconds: How long the handshake may take.
        admission: Counts it in.
        metrics: Counts it where it fails.
        options: uvicorn's, for the connection that follows.
    """

    def __init__(
        self,
        http: Callable[..., HttpConnection],
        tls: ServerTls,
        seconds: float,
        admission: Admission,
        metrics: Metrics,
        **options: Any,
    ) -> None:
        self._make_http = http
        self._options = options
        self._tls = tls
        self._seconds = seconds
        self._admission = admission
        self._metrics = metrics
        self._connections: set[Any] = options["server_state"].connections  # uvicorn's: what it shuts down
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)  # set in connection_made
        self._task: asyncio.Task[None] | None = None  # while it goes on
        self._raw: list[bytes] = []  # what has come before TLS has begun
        self._has_begun = False  # whether it has
        self._early: list[bytes] = []  # what has come by TLS before it was HTTP's
        self._is_over = False  # whether the other side has ended it, in whatever way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the new connection in, and begin."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._admission.enter(self._transport, str(peer[0]) if isinstance(peer, tuple) else "")
        self._connections.add(self)
        self._task = asyncio.get_running_loop().create_task(self._shake(), name="tls-handshake")

    def data_received(self, data: bytes) -> None:
        """Keep what has come: before TLS has begun, or by it."""
        (self._early if self._has_begun else self._raw).append(data)

    def eof_received(self) -> bool:
        """Register that the peer will send nothing more."""
        self._is_over = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection out."""
        self._is_over = True
        if not self._has_begun and self._task is not None:
            # TLS is not notified otherwise, and would wait for a closed transport.
            self._failed("tls_handshake", "it has left before it began")
            self._task.cancel()
        self._leave()

    def shutdown(self) -> None:
        """End at once: the server stops."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        # Not left to the task: one that is cancelled before it has begun does nothing.
        self._transport.abort()
        self._leave()

    async def _shake(self) -> None:
        loop, secured = asyncio.get_running_loop(), None
        try:
            async with asyncio.timeout(self._seconds):
                # asyncio applies its own limit if none is set.
                shaking = loop.create_task(
                    loop.start_tls(
                        self._transport,
                        self,
                        self._tls.context,
                        server_side=True,
                        ssl_handshake_timeout=2 * self._seconds,
                    ),
                    name="tls-start",
                )
                try:
                    # Behind its first step, and what that has put off: from then on the transport is TLS's.
                    await asyncio.sleep(0)
                    loop.call_soon(self._hand_over)
                    secured = await shaking
                finally:
                    shaking.cancel()
        except TimeoutError:
            self._failed("handshake_timeout", f"not done within {self._seconds:g} seconds")
        except OSError as error:
            # `ssl.SSLError` is one, too: no TLS, none that is spoken here, or gone in the middle of it.
            self._failed("tls_handshake", getattr(error, "reason", None) or str(error))
        else:
            if secured is None or self._is_over:
                self._failed("tls_handshake", "it has left in the middle of it")
        finally:
            if secured is None:
                self._transport.abort()
                self._leave()
        if secured is not None:
            self._go_on(secured)

    def _hand_over(self) -> None:
        """Pass on to TLS what was read before it had begun: with uvloop it is too late to pause reading
        before that.
        """
        protocol: Any = self._transport.get_protocol()
        self._has_begun = True
        if protocol is self or protocol is None:
            return  # it could not begin: the connection was lost before (uvloop has let its protocol go then)
        for data in self._raw:
            while data:
                buffer = protocol.get_buffer(len(data))
                size = min(len(buffer), len(data))
                buffer[:size] = data[:size]
                protocol.buffer_updated(size)
                data = data[size:]
        self._raw.clear()

    def _go_on(self, secured: asyncio.Transport) -> None:
        self._connections.discard(self)
        if self._is_over:
            secured.abort()
            self._leave()
            return
        http = self._make_http(**self._options)
        http.came_as = self._transport
        secured.set_protocol(http)
        http.connection_made(secured)
        for data in self._early:
            http.data_received(data)
        self._early.clear()

    def _failed(self, reason: str, why: str) -> None:
        self._metrics.reject(reason)
        logger.bind(reason=why).debug("TLS handshake failed")

    def _leave(self) -> None:
        self._connections.discard(self)
        self._admission.leave(self._transport)
