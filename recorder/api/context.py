"""The requirements of every route: who may ask it and what it costs, the recorder behind the request, and its recording.

`RULES` has every route and method; what is not in it is denied to everyone. `scoped` says that a route takes tokens
that are for some sessions only: it narrows what it reads or writes to them itself (`narrowed`, `Grant.check_session`).
All others tell of the recording as a whole, so such a token gets 403 from them. `cost` says what answering takes: a
place is taken by the work, whatever the method and however the path is written, once the caller may ask at all; it is
kept until the reader has taken the whole answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from recorder.api.middleware import ConcurrencyLimit, Cost
from recorder.app import Recorder
from recorder.auth.grants import Grant, Role
from recorder.auth.request_guard import RequestGuard
from recorder.config.settings import Settings
from recorder.core.clock import Clock
from recorder.core.errors import NotAllowed, NotAuthenticated, Unavailable
from recorder.core.metrics import Metrics
from recorder.core.sampled_log import SampledLog
from recorder.net.connections import Connections
from recorder.net.upgrade import UpgradeHandler
from recorder.store.contract import Query, Store
from recorder.wire.events import without_hash


class Gateway(Protocol):
    """The part of the server that the HTTP application needs. It exists before the recorder is loaded."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    request_guard: RequestGuard
    upgrades: UpgradeHandler
    sampled_log: SampledLog
    is_recording: bool
    stopping: bool

    @property
    def recorder(self) -> Recorder:
        """Return the recorder. Raises `Unavailable` while it is being loaded."""
        ...

    @property
    def connections(self) -> Connections:
        """Return the connections. Raises `Unavailable` while the recorder is being loaded."""
        ...

    def not_ready(self) -> str | None:
        """Return why it is not ready to serve, in words; None where it is."""
        ...


def gateway_of(request: Request) -> Gateway:
    """Return the gateway behind a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def recorder_of(request: Request) -> Recorder:
    """Return the recorder behind a request. Raises `Unavailable` while it is being loaded."""
    return gateway_of(request).recorder


def grant_of(request: Request) -> Grant:
    """Return what the request's token grants. Raises NotAuthenticated."""
    grant = request.state.grant
    if isinstance(grant, NotAuthenticated):
        raise grant
    assert isinstance(grant, Grant)
    return grant


def narrowed(request: Request, query: Query) -> Query:
    """Return what of a query the request's token may see. Raises NotAllowed where it names a session that it may not."""
    asked = query.sessions
    assert asked is None or isinstance(asked, frozenset)
    return replace(query, sessions=grant_of(request).narrow(asked))


def shown(request: Request, items: list[bytes]) -> list[bytes]:
    """Return items as the request's token may see them: without the chain's hashes where it is for some sessions."""
    return items if grant_of(request).sessions is None else [without_hash(item) for item in items]


async def recording_of(request: Request) -> Store:
    """Return the recording, once everything that was broadcast before this request is in it.

    Whoever was shown a delta live finds it in every answer from then on, although it is recorded a moment later.

    Raises:
        NotRecording: There is none.
        Unavailable: It is still loading.
    """
    recorder = recorder_of(request)
    store = recorder.recording
    # Where recording has failed for good, what was recorded before is still there to be read.
    with suppress(Unavailable):
        await recorder.ingest.until_recorded(recorder.hub.head)
    return store


Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Rule:
    """The permissions and limits of a route.

    Args:
        role: The role; None: nothing at all, since it gives away nothing of what is recorded.
        cost: What answering takes.
        scoped: Whether a token for some sessions is enough.
    """

    role: Role | None
    cost: Cost
    scoped: bool = False


EVERYONE = Rule(None, "free")
READERS = Rule("subscribe", "free", scoped=True)
QUESTIONS = Rule("subscribe", "queries", scoped=True)
EXPORTS = Rule("subscribe", "exports", scoped=True)
READERS_OF_ALL = Rule("subscribe", "free")
QUESTIONS_ABOUT_ALL = Rule("subscribe", "queries")
WRITERS = Rule("publish", "free", scoped=True)
OPERATORS = Rule("admin", "free")

RULES = {
    ("GET", "/"): EVERYONE,
    ("GET", "/assets/{file}"): EVERYONE,
    ("GET", "/client.js"): EVERYONE,
    ("GET", "/client/{part}"): EVERYONE,
    ("GET", "/docs"): EVERYONE,
    ("GET", "/docs/"): EVERYONE,
    ("GET", "/docs/{name}"): EVERYONE,
    ("GET", "/ws"): EVERYONE,
    ("GET", "/publish"): EVERYONE,
    ("GET", "/api/openapi.json"): EVERYONE,
    ("GET", "/healthz"): EVERYONE,
    ("GET", "/readyz"): EVERYONE,
    ("GET", "/api/deltas"): QUESTIONS,
    ("GET", "/api/deltas/{session_id:path}"): QUESTIONS,
    ("GET", "/api/sessions"): QUESTIONS,
    ("GET", "/api/sessions/{session_id:path}"): QUESTIONS,
    ("GET", "/api/sessions/{session_id:path}/diff"): QUESTIONS,
    ("GET", "/api/sessions/{session_id:path}/blame"): QUESTIONS,
    ("GET", "/api/export"): EXPORTS,
    ("GET", "/api/stream"): READERS,
    ("GET", "/api/stats"): QUESTIONS,
    ("GET", "/api/head"): QUESTIONS_ABOUT_ALL,
    ("GET", "/api/receipts"): QUESTIONS_ABOUT_ALL,
    ("GET", "/api/jobs"): QUESTIONS_ABOUT_ALL,
    ("GET", "/metrics"): READERS_OF_ALL,
    ("POST", "/api/deltas"): WRITERS,
    ("POST", "/api/admin/snapshot"): OPERATORS,
    ("POST", "/api/admin/prune"): OPERATORS,
    ("POST", "/api/admin/erase"): OPERATORS,
}
"""By method and path, as the route spells it; HEAD goes with GET."""


class GuardedEndpoint:
    """Answers whom the rules permit, in a place of the limit.

    Args:
        path: The route's pattern, for the log.
        endpoint: Makes the answer.
        rules: By method.
        limit: Has the places.
    """

    def __init__(
        self, path: str, endpoint: Endpoint, rules: dict[str, Rule], limit: ConcurrencyLimit
    ) -> None:
        self._path = path
        self._endpoint = endpoint
        self._rules = rules
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        request = Request(scope, receive, send)
        rule = self._rules["GET" if request.method == "HEAD" else request.method]
        self._check(request, rule)
        with self._limit.place(rule.cost):
            response = await self._endpoint(request)
            await response(scope, receive, send)

    def _check(self, request: Request, rule: Rule) -> None:
        try:
            check_rule(request, rule)
        except (NotAuthenticated, NotAllowed) as error:
            # The pattern, not the path: a path may be very long.
            gateway = gateway_of(request)
            gateway.metrics.reject(error.code)
            address = request.state.caller.address
            gateway.sampled_log.write(
                "INFO",
                "request refused",
                code=error.code,
                reason=str(error),
                address=address,
                route=self._path,
            )
            raise


def guarded(route: Route, limit: ConcurrencyLimit) -> Route:
    """Return a route that answers only whom its rules permit, and only so many at once.

    Args:
        route: With its own endpoint.
        limit: Has the places.

    Raises:
        LookupError: One of its methods has no rule.
    """
    methods = (route.methods or set()) - {"HEAD"}
    rules = {}
    for method in methods:
        if (method, route.path) not in RULES:
            raise LookupError(
                f"{method} {route.path} has no rule in recorder/api/context.py: who may ask it?"
            )
        rules[method] = RULES[method, route.path]
    endpoint = GuardedEndpoint(route.path, route.endpoint, rules, limit)
    return Route(route.path, endpoint, methods=list(methods))


def check_rule(request: Request, rule: Rule) -> None:
    """Raise NotAuthenticated or NotAllowed unless a request may be answered."""
    if rule.role is None:
        return
    grant = grant_of(request)
    grant.require(rule.role)
    if not rule.scoped:
        grant.require_all_sessions()
