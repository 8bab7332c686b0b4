"""The connections of a server: what each is for, their deadlines, and their end.

It makes what stands between a connection and the recorder (subscriber, publisher, event stream), keeps a list of the
open ones, enforces their deadlines, closes those whose token has ended, and at the end closes all of them. `run` opens
it around a loaded recorder and is left before the recorder is: an answer that is still owed then can still come.

Left out: who may come in and how many, which `upgrade` and `connection_limits` decide, and what subscribers are sent,
which the hub decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Self

from loguru import logger

from recorder.auth.grants import EVERYTHING, Grant
from recorder.core.clock import Clock
from recorder.core.errors import BadSubscription, Closed, NotAuthenticated
from recorder.core.metrics import Metrics
from recorder.core.observers import isolated
from recorder.core.session_filter import Sessions
from recorder.engine.hub import Hub
from recorder.engine.ingest import Ingest
from recorder.engine.periodic import periodically, sweep_pause
from recorder.engine.rate_limit import Pace
from recorder.net.event_stream import EventStream
from recorder.net.limits import SocketLimits
from recorder.net.publisher import Publisher
from recorder.net.subscriber import Subscriber
from recorder.net.websocket import WebSocket
from recorder.wire.subscribe import Subscription


class Connections:
    """The open WebSocket connections, created by `run`.

    Args:
        hub: Whom subscribers and streams subscribe to.
        ingest: Takes what publishers send.
        limits: What a connection may do, and for how long.
        clock, metrics: As everywhere.
    """

    def __init__(
        self, hub: Hub, ingest: Ingest, limits: SocketLimits, clock: Clock, metrics: Metrics
    ) -> None:
        self._hub = hub
        self._ingest = ingest
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._sockets: set[WebSocket] = set()  # open, of /ws and /publish
        self._streams: dict[EventStream, None] = {}  # open, of /api/stream
        self._publishers: dict[Publisher, None] = {}  # those of the sockets that publish
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def run(
        cls, hub: Hub, ingest: Ingest, limits: SocketLimits, clock: Clock, metrics: Metrics
    ) -> AsyncIterator[Self]:
        """Enforce deadlines until the block is left, and close every connection then.

        Args:
            hub, ingest, limits, clock, metrics: As of the class.
        """
        connections = cls(hub, ingest, limits, clock, metrics)
        shortest = min(limits.soft_seconds, limits.ping_interval, limits.ping_timeout)
        pause = sweep_pause(shortest)
        try:
            async with periodically("connections-keeper", connections.sweep, pause):
                yield connections
        finally:
            await connections.close()

    # What a connection is for.

    def subscriber(
        self, socket: WebSocket, query: Subscription | BadSubscription, grant: Grant = EVERYTHING
    ) -> Subscriber:
        """Return the handler of a connection that subscribes.

        Args:
            socket: The connection.
            query: What it asked for; a `BadSubscription` to be told and closed with.
            grant: What it may see.
        """
        return Subscriber(self._hub, socket, query, grant)

    def publisher(
        self,
        socket: WebSocket,
        *,
        acks: bool,
        pace: Pace | None = None,
        sessions: Sessions = None,
    ) -> Publisher:
        """Return the handler of a connection that publishes.

        Args:
            socket: The connection.
            acks: Whether it wants to be told of what was taken, and not of errors alone.
            pace: How fast it may go; None for as fast as recording goes.
            sessions: The only ones that it may write; None for all.
        """
        return Publisher(self, self._ingest, socket, acks=acks, pace=pace, sessions=sessions)

    @contextmanager
    def stream(self, subscription: Subscription, grant: Grant = EVERYTHING) -> Iterator[EventStream]:
        """Serve a subscription as Server-Sent Events while the block lasts.

        Args:
            subscription: Narrowed to what the reader may see.
            grant: What that is.

        Raises:
            Closed: No connection is served any more.
        """
        if self._closed:
            raise Closed("the recorder has stopped")
        stream = EventStream(self._hub, subscription, self._limits, self._clock, grant=grant)
        self._streams[stream] = None
        try:
            stream.start()
            yield stream
        finally:
            stream.stop()
            del self._streams[stream]

    # What connections tell of themselves.

    def opened(self, socket: WebSocket) -> None:
        """Enforce this connection's deadlines from now on."""
        self._sockets.add(socket)

    def gone(self, socket: WebSocket) -> None:
        """Forget a connection; harmless where it was never open."""
        self._sockets.discard(socket)

    def hello(self) -> bytes:
        """Return the `hello` frame of now, for a publisher."""
        return self._hub.hello()

    def add_publisher(self, publisher: Publisher) -> None:
        """Count a publishing connection."""
        self._publishers[publisher] = None

    def remove_publisher(self, publisher: Publisher) -> None:
        """Stop counting it."""
        self._publishers.pop(publisher, None)

    @property
    def publishers(self) -> int:
        """The number of publishing connections."""
        return len(self._publishers)

    # Keeping, and ending.

    def sweep(self) -> None:
        """Enforce every connection's deadlines."""
        now = self._clock.monotonic()
        for socket in list(self._sockets):
            try:
                socket.sweep(now)
            except Exception:
                # The boundary of a connection: its deadlines cannot be kept, those of the others are.
                logger.exception("the deadlines of a connection could not be checked")
                socket.transport.abort()
        for stream in list(self._streams):
            with isolated("connection", self._metrics):
                stream.sweep()

    def revoke(self, holds: Callable[[Grant], bool]) -> int:
        """Close every connection whose token does not count any more, with 4401.

        Args:
            holds: Whether a grant still counts.

        Returns:
            How many there were.
        """
        reason = "the token is not valid any more"
        sockets = [socket for socket in self._sockets if not holds(socket.grant)]
        streams = [stream for stream in self._streams if not holds(stream.grant)]
        for socket in sockets:
            with isolated("connection", self._metrics):
                socket.send_away(reason)
        for stream in streams:
            with isolated("connection", self._metrics):
                stream.failed(NotAuthenticated(reason))
        return len(sockets) + len(streams)

    def end_streams(self) -> None:
        """Let every stream end behind what is queued for it: HTTP has no close frame to wait for."""
        for stream in list(self._streams):
            with isolated("connection", self._metrics):
                stream.shutdown()

    async def close(self) -> None:
        """Close every connection now: what is unsent is lost to those who have not read it. Harmless when closed."""
        self._closed = True
        self._hub.fanout.flush()
        for socket in list(self._sockets):
            with isolated("connection", self._metrics):
                socket.shutdown()
        self.end_streams()
        # uvloop hands to the kernel at the end of a turn what was written in it: the close frames go out before the cut.
        await asyncio.sleep(0)
        for socket in list(self._sockets):
            socket.transport.abort()
