"""The HTTP application: which route is answered by what, behind the middleware.

An upgrade of `/ws` or `/publish` goes to the hub before it would come to this application; here they only say so.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from recorder.api import admin, assets, docs, responses, sessions, status
from recorder.api import deltas as history
from recorder.api.context import Gateway, guarded
from recorder.api.export import export_all
from recorder.api.middleware import AccessMiddleware, ConcurrencyLimit, Cost, ErrorMiddleware, SafeHeaders
from recorder.api.publish import publish
from recorder.api.stream import stream
from recorder.core.errors import RecorderError, UpgradeRequired


async def deltas(request: Request) -> Response:
    """Answer `/api/deltas`, read or written; one route, so that a wrong method is told both."""
    return await (publish if request.method == "POST" else history.deltas)(request)


async def websocket_route(request: Request) -> Response:
    """Answer `/ws` and `/publish` without an upgrade, which somebody forgot or a proxy has taken away."""
    raise UpgradeRequired(
        f"{request.url.path[:80]} is a WebSocket, and this request asks for no upgrade to one",
        hint="open it as ws:// or wss://; a proxy in between must speak HTTP/1.1 to the recorder and pass on the"
        " headers Connection and Upgrade",
    )


ROUTES = [
    Route("/", assets.page),
    Route("/assets/{file}", assets.asset),
    Route("/client.js", assets.client),
    Route("/client/{part}", assets.client_part),
    Route("/docs", docs.to_index),
    Route("/docs/", docs.index),
    Route("/docs/{name}", docs.page),
    Route("/ws", websocket_route),
    Route("/publish", websocket_route),
    Route("/api/deltas", deltas, methods=["GET", "POST"]),
    Route("/api/deltas/{session_id:path}", history.deltas),
    Route("/api/sessions", history.sessions),
    Route("/api/sessions/{session_id:path}/diff", sessions.about_session("diff", sessions.diff)),
    Route("/api/sessions/{session_id:path}/blame", sessions.about_session("blame", sessions.blame)),
    Route("/api/sessions/{session_id:path}", history.session),
    Route("/api/export", export_all),
    Route("/api/stream", stream),
    Route("/api/stats", status.stats),
    Route("/api/head", status.head),
    Route("/api/receipts", status.receipts),
    Route("/api/jobs", admin.jobs),
    Route("/api/admin/snapshot", admin.snapshot, methods=["POST"]),
    Route("/api/admin/prune", admin.prune, methods=["POST"]),
    Route("/api/admin/erase", admin.erase, methods=["POST"]),
    Route("/api/openapi.json", status.openapi),
    Route("/healthz", status.healthz),
    Route("/readyz", status.readyz),
    Route("/metrics", status.metrics),
]
"""Every route; HEAD comes with GET. The paths' parameters take slashes, since a session's id may hold them."""


def application(gateway: Gateway) -> Starlette:
    """Return the HTTP application around a gateway, whose recorder need not be loaded yet."""
    settings, origins = gateway.settings, gateway.settings.allowed_origins
    places: dict[Cost, int] = {"queries": settings.max_concurrent_queries, "exports": settings.max_exports}
    limit = ConcurrencyLimit(places, gateway.metrics)
    app = Starlette(
        routes=[guarded(route, limit) for route in ROUTES],
        middleware=[
            Middleware(SafeHeaders, origins=origins),
            Middleware(ErrorMiddleware, metrics=gateway.metrics, log=gateway.sampled_log),
            Middleware(
                AccessMiddleware,
                guard=gateway.request_guard,
                origins=origins,
                clock=gateway.clock,
                metrics=gateway.metrics,
                log=gateway.sampled_log,
            ),
        ],
        exception_handlers={
            RecorderError: responses.on_recorder_error,
            HTTPException: responses.on_http_exception,
        },
    )
    # A path with a slash too many is another path: nothing here is found by guessing.
    app.router.redirect_slashes = False
    app.state.gateway = gateway
    return app
