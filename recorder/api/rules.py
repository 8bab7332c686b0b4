"""Who may ask what, and what it costs: every route and method. What is not in this table is denied to everyone.

`scoped` says that a route takes tokens that are for some sessions only: it narrows what it reads or writes to them
itself (`context.narrowed`, `Grant.check_session`). All others tell of the recording as a whole, so such a token gets
403 from them.

`cost` says what answering takes. Each slice of history is short, but a thousand questions at once would make every one
of them wait for all others, so questions and exports have so many places each (`MAX_CONCURRENT_QUERIES`,
`MAX_EXPORTS`). A place is taken by the work, whatever the method and however the path is written, once the caller may
ask at all; it is kept until the reader has taken the whole answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from recorder.api.context import grant_of, recorder_of
from recorder.auth.grants import Role
from recorder.core.errors import NotAllowed, NotAuthenticated, TooMany
from recorder.core.metrics import Metrics

Endpoint = Callable[[Request], Awaitable[Response]]
Cost = Literal["free", "queries", "exports"]
"""What answering takes: next to nothing, a place among the questions, or one among the exports."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route needs.

    Args:
        role: The role; None: nothing at all, since it gives away nothing of what is recorded.
        cost: What answering takes.
        scoped: Whether a token for some sessions is enough.
    """

    role: Role | None
    cost: Cost
    scoped: bool = False


LIMITS = {"queries": "MAX_CONCURRENT_QUERIES", "exports": "MAX_EXPORTS"}
"""The settings that say how many places there are."""

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


class ConcurrencyLimit:
    """Counts the places for each cost.

    Args:
        places: How many there are.
        metrics: Counts who found none.
    """

    def __init__(self, places: dict[Cost, int], metrics: Metrics) -> None:
        self._places = places
        self._taken = dict.fromkeys(places, 0)
        self._metrics = metrics

    @contextmanager
    def place(self, cost: Cost) -> Iterator[None]:
        """Hold a place for the length of the block. Raises TooMany where none is free."""
        if cost not in self._places:
            yield
            return
        if self._taken[cost] >= self._places[cost]:
            self._metrics.refuse_query(cost)
            raise TooMany(
                f"{self._places[cost]} {cost} are being answered, which is as many as are at once",
                hint=f"come back in a moment; {LIMITS[cost]} sets the limit",
            )
        self._taken[cost] += 1
        try:
            yield
        finally:
            self._taken[cost] -= 1


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
            # The pattern, not the path: this is about who asked, and a path may be very long.
            recorder = recorder_of(request)
            recorder.metrics.turn_away(error.code)
            address = request.state.caller.address
            recorder.sampled_log.write(
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
            raise LookupError(f"{method} {route.path} has no rule in recorder/api/rules.py: who may ask it?")
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
