"""The upgrade: which request gets which handler, and which is rejected before the upgrade.

A page in a browser cannot read why an upgrade was refused, so where a browser asks (it sends an Origin) with the wrong
token or none, or for what its token does not grant, the upgrade is made, and closed at once with 4401 or 4403. Host and
Origin themselves are checked before that.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from websockets.http11 import Request

from recorder.auth.request_guard import RequestGuard
from recorder.core.clock import Clock
from recorder.core.errors import BadSubscription, NotAllowed, NotAuthenticated, NotFound, Unavailable
from recorder.core.metrics import Metrics
from recorder.core.sampled_log import SampledLog
from recorder.engine.rate_limit import Paces, PublishRate
from recorder.net.connection_limits import Admission, AdmissionLimits
from recorder.net.connections import Connections
from recorder.net.handler import Handler
from recorder.net.limits import SocketLimits
from recorder.net.partial_messages import PartialMessages
from recorder.net.rejected import RejectedHandler
from recorder.net.websocket import WebSocket
from recorder.wire.subscribe import Subscription, parse_query


class UpgradeHandler:
    """Admits WebSocket connections.

    Args:
        guard: Who may come in.
        limits: Of connections.
        admission: How many of them.
        rate: How fast a publisher may go.
        partial_messages: The limit for incomplete messages, in bytes.
        clock, metrics: As everywhere.
        log: Writes some of what is refused.
    """

    def __init__(
        self,
        guard: RequestGuard,
        limits: SocketLimits,
        admission: AdmissionLimits,
        rate: PublishRate,
        partial_messages: int,
        clock: Clock,
        metrics: Metrics,
        log: SampledLog,
    ) -> None:
        self.limits = limits
        self.admission = Admission(admission, clock, metrics, guard.is_proxy)
        self.paces = Paces(rate, clock, metrics)  # of those who publish
        self.partial_messages = PartialMessages(partial_messages, metrics)  # of WebSockets and of HTTP
        self.clock = clock
        self.metrics = metrics
        self.log = log
        self._guard = guard
        self._connections: Connections | None = None  # from `open` on
        self._refusal = "loading"  # the reason why connections are rejected; "" while they are admitted

    def open(self, connections: Connections) -> None:
        """Admit from now on.

        Args:
            connections: Where they belong.
        """
        self._connections, self._refusal = connections, ""

    def shut(self, reason: str) -> None:
        """Admit nobody any more; who is inside stays."""
        self._refusal = reason

    def admit(self, socket: WebSocket, request: Request) -> Handler:
        """Return the handler for a request.

        Raises:
            NotAllowed: Its Host, its Origin or its token may not.
            NotAuthenticated: Its token is not valid, or there is none.
            NotFound: There is no such place.
            Unavailable: Not yet, or not any more.
            TooMany: So many have come from its address lately.
        """
        headers, guard = request.headers, self._guard
        caller = guard.caller(headers.get_all, socket.address, is_secure=socket.is_secure)
        self.admission.upgrade(caller.address)
        guard.check(headers.get_all, socket.local, caller)
        path, query = _target(request)
        connections = self._connections
        if connections is None or self._refusal:
            raise Unavailable(f"the recorder is {self._refusal}", hint="try again in a moment")
        try:
            grant = guard.grant(headers.get_all)
            grant.require("publish" if path == "/publish" else "subscribe")
        except (NotAuthenticated, NotAllowed) as error:
            if "Origin" not in headers:
                raise
            self.metrics.reject(error.code)
            return RejectedHandler(socket, error, self.log)
        socket.grant = grant
        if path == "/ws":
            return connections.subscriber(socket, _query(query, self.limits.sessions), grant)
        acks = _publish_acks(query)
        if isinstance(acks, BadSubscription):
            # It only says what was wrong, and closes with 4400.
            return connections.subscriber(socket, acks, grant)
        return connections.publisher(socket, acks=acks, pace=self.paces.own(), sessions=grant.sessions)

    def opened(self, socket: WebSocket) -> None:
        """Register an open connection."""
        if self._connections is not None:
            self._connections.opened(socket)

    def gone(self, socket: WebSocket) -> None:
        """Register a closed connection."""
        self.admission.leave(socket.transport)
        if self._connections is not None:
            self._connections.gone(socket)


def _target(request: Request) -> tuple[str, str]:
    """Return the path and the query. Raises NotFound if the path is not served here."""
    try:
        url = urlsplit(request.path)
    except ValueError:  # of an address that it half resembles
        raise NotFound("no such place", hint="/ws and /publish") from None
    if url.path not in ("/ws", "/publish"):
        raise NotFound(f"no WebSocket at {url.path[:80]}", hint="/ws and /publish")
    return url.path, url.query


def _query(query: str, max_sessions: int) -> Subscription | BadSubscription:
    try:
        return parse_query(query, max_sessions)
    except BadSubscription as error:
        return error


def _publish_acks(query: str) -> bool | BadSubscription:
    acks = True
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "ack" or value not in ("none", "all"):
            # Not the value of what we don't know: somebody may have put a token there.
            shown = f"ack={value[:80]}" if name == "ack" else name[:80]
            return BadSubscription(f"unknown parameter {shown}", hint="ack=none, or nothing")
        acks = value == "all"
    return acks
