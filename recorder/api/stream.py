"""`GET /api/stream`: what `/ws` sends, as Server-Sent Events, for `curl -N` and EventSource.

The same parameters and promises; the JSON of an event is the `data` of a message, and the position behind it its `id`. A
reader that comes back with `Last-Event-ID`, as EventSource does by itself, goes on from there, whatever its URL says;
`?lastEventId=` does the same for readers that cannot set that header.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from recorder.api import params
from recorder.api.context import gateway_of, grant_of
from recorder.api.middleware import ENDS_ITSELF
from recorder.api.responses import head_response
from recorder.auth.grants import Grant
from recorder.core.errors import BadSubscription, Closed
from recorder.net.connections import Connections
from recorder.wire.subscribe import Subscription, narrowed, parse_query, parse_since

MEDIA_TYPE = "text/event-stream"
HEADERS = {
    "Cache-Control": "no-store",
    # nginx would otherwise gather what is to arrive now.
    "X-Accel-Buffering": "no",
}


async def stream(request: Request) -> Response:
    """Answer `GET /api/stream`: events, until the reader goes."""
    params.check_names(request.query_params, params.STREAM)
    gateway = gateway_of(request)
    connections, upgrades = gateway.connections, gateway.upgrades
    if gateway.stopping:
        raise Closed("the recorder is stopping")
    grant = grant_of(request)
    subscription = narrowed(_asked(request, upgrades.limits.sessions), grant)
    if request.method == "HEAD":
        return head_response(HEADERS, MEDIA_TYPE)
    # To begin one costs as much as a WebSocket does, whatever it came by.
    upgrades.admission.upgrade(request.state.caller.address)
    return _Stream(connections, subscription, grant)


def _asked(request: Request, max_sessions: int) -> Subscription:
    """Return the subscription that a request asks for. Raises BadSubscription."""
    asked = [item for item in request.query_params.multi_items() if item[0] != "lastEventId"]
    subscription = parse_query(urlencode(asked), max_sessions)
    name, last = "Last-Event-ID", request.headers.get("last-event-id")
    if not last:
        # A "+" in a query string arrives as a space; no position has one.
        name, last = "lastEventId", request.query_params.get("lastEventId", "").replace(" ", "+")
    if not last:
        return subscription
    since = parse_since(last)
    if since.kind != "position":
        raise BadSubscription(f"{name}: {last[:80]!r} is no position", hint="epoch:seq, as in `id`")
    return replace(subscription, since=since)


class _Stream(StreamingResponse):
    """An answer that subscribes when it begins and is forgotten when it ends, however it ends."""

    def __init__(self, connections: Connections, subscription: Subscription, grant: Grant) -> None:
        self._grant = grant
        self._connections = connections
        self._subscription = subscription
        super().__init__(iter(()), headers=HEADERS, media_type=MEDIA_TYPE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        scope["state"][ENDS_ITSELF] = True
        with self._connections.stream(self._subscription, self._grant) as events:
            self.body_iterator = events.chunks()
            await super().__call__(scope, receive, send)
