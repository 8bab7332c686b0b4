"""How many costly questions are answered at the same time: history and exports, each with places of its own.

Each slice of history is short, but a thousand questions at once would make every one of them wait for all others. What
finds no place is told to come back. An export has a place until its reader has taken all of it.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from recorder.api.responses import problem
from recorder.core.errors import TooMany
from recorder.core.metrics import Metrics


class Turns:
    """Lets as many questions in as there are places.

    Args:
        app: What lies behind.
        places: How many there are for each kind: `queries`, `exports`.
        metrics: Counts who found none.
    """

    def __init__(self, app: ASGIApp, places: dict[str, int], metrics: Metrics) -> None:
        self._app = app
        self._places = places
        self._taken = dict.fromkeys(places, 0)  # of each kind
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        kind = _kind(scope)
        if kind is None:
            await self._app(scope, receive, send)
            return
        if self._taken[kind] >= self._places[kind]:
            self._metrics.refuse_query(kind)
            refusal = TooMany(
                f"{self._places[kind]} {kind} are being answered, which is as many as are at once",
                hint=f"come back in a moment; MAX_{kind.upper()} sets the limit",
            )
            await problem(refusal)(scope, receive, send)
            return
        self._taken[kind] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._taken[kind] -= 1


def _kind(scope: Scope) -> str | None:
    """What kind of costly question a request is, if it is one."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    path: str = scope["path"]
    if path == "/api/export":
        return "exports"
    return "queries" if path.startswith(("/api/deltas", "/api/sessions")) else None
