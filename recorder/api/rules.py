"""Who may ask what: every route and method, and the role it needs. What is not in this table is denied to everyone.

`scoped` says that a route takes tokens that are for some sessions only: it narrows what it reads or writes to them
itself (`context.narrowed`, `Grant.check_session`). All others tell of the recording as a whole, so such a token gets
403 from them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from loguru import logger
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from recorder.api.context import grant_of, recorder_of
from recorder.auth.grants import Role
from recorder.core.errors import NotAllowed, NotAuthenticated

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route needs.

    Args:
        role: The role; None: nothing at all, since it gives away nothing of what is recorded.
        scoped: Whether a token for some sessions is enough.
    """

    role: Role | None
    scoped: bool = False


EVERYONE = Rule(None)
READERS = Rule("subscribe", scoped=True)
READERS_OF_ALL = Rule("subscribe")
WRITERS = Rule("publish", scoped=True)
OPERATORS = Rule("admin")

RULES = {
    ("GET", "/"): EVERYONE,
    ("GET", "/assets/{file}"): EVERYONE,
    ("GET", "/client.js"): EVERYONE,
    ("GET", "/client/{part}"): EVERYONE,
    ("GET", "/api/openapi.json"): EVERYONE,
    ("GET", "/healthz"): EVERYONE,
    ("GET", "/readyz"): EVERYONE,
    ("GET", "/api/deltas"): READERS,
    ("GET", "/api/deltas/{session_id:path}"): READERS,
    ("GET", "/api/sessions"): READERS,
    ("GET", "/api/sessions/{session_id:path}"): READERS,
    ("GET", "/api/sessions/{session_id:path}/diff"): READERS,
    ("GET", "/api/sessions/{session_id:path}/blame"): READERS,
    ("GET", "/api/export"): READERS,
    ("GET", "/api/stream"): READERS,
    ("GET", "/api/stats"): READERS,
    ("GET", "/api/head"): READERS_OF_ALL,
    ("GET", "/api/receipts"): READERS_OF_ALL,
    ("GET", "/api/jobs"): READERS_OF_ALL,
    ("GET", "/metrics"): READERS_OF_ALL,
    ("POST", "/api/deltas"): WRITERS,
    ("POST", "/api/admin/snapshot"): OPERATORS,
    ("POST", "/api/admin/prune"): OPERATORS,
    ("POST", "/api/admin/erase"): OPERATORS,
}
"""By method and path, as the route spells it; HEAD goes with GET."""


def guarded(route: Route) -> Route:
    """A route that answers only whom its rules permit.

    Raises:
        LookupError: One of its methods has no rule.
    """
    methods = (route.methods or set()) - {"HEAD"}
    rules = {}
    for method in methods:
        if (method, route.path) not in RULES:
            raise LookupError(f"{method} {route.path} has no rule in recorder/api/rules.py: who may ask it?")
        rules[method] = RULES[method, route.path]
    endpoint: Endpoint = route.endpoint

    async def permitted(request: Request) -> Response:
        rule = rules["GET" if request.method == "HEAD" else request.method]
        try:
            _check(request, rule)
        except (NotAuthenticated, NotAllowed) as error:
            # The pattern, not the path: this is about who asked, and a path may be very long.
            log = logger.bind(code=error.code, reason=str(error), address=request.state.caller.address)
            log.bind(route=route.path).info("request refused")
            recorder_of(request).metrics.turn_away(error.code)
            raise
        return await endpoint(request)

    return Route(route.path, permitted, methods=list(methods))


def _check(request: Request, rule: Rule) -> None:
    if rule.role is None:
        return
    grant = grant_of(request)
    grant.require(rule.role)
    if not rule.scoped:
        grant.require_all_sessions()
