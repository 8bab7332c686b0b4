"""The door: which request gets which role, and which is refused before the upgrade."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from websockets.http11 import Request

from recorder.clock import Clock
from recorder.errors import BadSubscription, NotFound, Unavailable
from recorder.hub.admission import Admission, AdmissionLimits
from recorder.hub.hub import Hub
from recorder.hub.pace import Paces, PublishRate
from recorder.hub.publisher import Intake
from recorder.hub.socket import Role, SocketLimits, WebSocket
from recorder.metrics import Metrics
from recorder.protocol.access import Access
from recorder.protocol.subscribe import Subscription, parse_query


class RecorderDoor:
    """Admits WebSocket connections.

    Args:
        access: Which Hosts and Origins may connect.
        limits: Of connections.
        admission: How many of them.
        rate: How fast a publisher may go.
        clock, metrics: As everywhere.
    """

    def __init__(
        self,
        access: Access,
        limits: SocketLimits,
        admission: AdmissionLimits,
        rate: PublishRate,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.limits = limits
        self.admission = Admission(admission, clock, metrics)
        self.paces = Paces(rate, clock, metrics)  # of those who publish
        self.clock = clock
        self.metrics = metrics
        self._access = access
        self._inside: tuple[Hub, Intake] | None = None  # from `open` on
        self._refusal = "loading"  # why nobody is admitted; "" while everybody is

    def open(self, hub: Hub, intake: Intake) -> None:
        """Admit from now on."""
        self._inside, self._refusal = (hub, intake), ""

    def shut(self, reason: str) -> None:
        """Admit nobody any more; who is inside stays."""
        self._refusal = reason

    def admit(self, socket: WebSocket, request: Request) -> Role:
        """The role for a request.

        Raises:
            NotAllowed: Its Host or Origin may not.
            NotFound: There is no such place.
            Unavailable: Not yet, or not any more.
            TooMany: So many have come from its address lately.
        """
        self.admission.upgrade(socket.address)
        headers = request.headers
        self._access.check(_one(headers.get_all("Host")), _one(headers.get_all("Origin")))
        try:
            url = urlsplit(request.path)
        except ValueError:  # of an address that it half resembles
            raise NotFound("no such place", hint="/ws and /publish") from None
        if url.path not in ("/ws", "/publish"):
            raise NotFound(f"no WebSocket at {url.path[:80]}", hint="/ws and /publish")
        if self._inside is None or self._refusal:
            raise Unavailable(f"the recorder is {self._refusal}", hint="try again in a moment")
        hub, intake = self._inside
        if url.path == "/publish":
            acks = _publish_acks(url.query)
            if isinstance(acks, BadSubscription):
                return hub.subscriber(socket, acks)  # it only says what was wrong, and closes with 4400
            return hub.publisher(socket, intake, acks=acks, pace=self.paces.own())
        return hub.subscriber(socket, _query(url.query, self.limits.sessions))

    def opened(self, socket: WebSocket) -> None:
        """A connection is open."""
        if self._inside is not None:
            self._inside[0].opened(socket)

    def gone(self, socket: WebSocket) -> None:
        """A connection is no more."""
        self.admission.leave(socket.transport)
        if self._inside is not None:
            self._inside[0].gone(socket)


def _one(values: list[str]) -> str | None:
    """A header's value; several of them count as none that could be trusted."""
    return ", ".join(values) if values else None


def _query(query: str, max_sessions: int) -> Subscription | BadSubscription:
    try:
        return parse_query(query, max_sessions)
    except BadSubscription as error:
        return error


def _publish_acks(query: str) -> bool | BadSubscription:
    acks = True
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "ack" or value not in ("none", "all"):
            return BadSubscription(f"unknown parameter {name[:80]}={value[:80]}", hint="ack=none, or nothing")
        acks = value == "all"
    return acks
