"""The HTTP application: routes, the check of Host and Origin, errors."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from recorder import health
from recorder.api import history, problems
from recorder.api.history import recorder_of
from recorder.api.openapi import description
from recorder.api.params import check_names, parse_limit, parse_time
from recorder.api.problems import json_response
from recorder.app import Recorder
from recorder.errors import InvalidQuery, MessageTooLarge, RecorderError, UnsupportedMediaType
from recorder.metrics import CONTENT_TYPE
from recorder.protocol.access import Access

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
HOME = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Recorder</title>
<h1>Recorder</h1><p>It is running. <a href="/api/stats">Figures</a>, <a href="/api/sessions">sessions</a>,
<a href="/api/deltas">the latest deltas</a>, <a href="/api/jobs">jobs</a>, <a href="/metrics">metrics</a>,
<a href="/api/openapi.json">the API's description</a>. Live: a WebSocket at <code>/ws</code>.</p></html>
"""


async def publish(request: Request) -> Response:
    """`POST /api/deltas`."""
    check_names(request.query_params, ())
    intake = recorder_of(request).intake
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind not in NDJSON and kind != "application/json":
        raise UnsupportedMediaType(
            f"Content-Type {kind[:80]!r} is not taken", hint="application/json or application/x-ndjson"
        )
    body = await read_body(request, intake.max_message_bytes)
    await intake.room()
    accepted = intake.accept_lines(body) if kind in NDJSON else intake.accept(body)
    await intake.until_recorded(accepted.through)
    return json_response(accepted.fields(intake.durable), 201)


async def read_body(request: Request, limit: int) -> bytes:
    """A request's body. Raises MessageTooLarge before more than `limit` bytes are held."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise MessageTooLarge(
                f"the body is longer than {limit} bytes",
                hint="send it in pieces; MAX_MESSAGE_BYTES sets the limit",
            )
        parts.append(part)
    return b"".join(parts)


async def stats(request: Request) -> Response:
    """`GET /api/stats`."""
    return json_response(await health.stats(recorder_of(request)))


async def jobs(request: Request) -> Response:
    """`GET /api/jobs`: the last runs, latest first."""
    given = check_names(request.query_params, ("limit", "name"))
    runs = await recorder_of(request).recording.runs.latest(
        parse_limit(given.get("limit")), given.get("name", [None])[0]
    )
    listed = [
        {
            "id": run.id,
            "name": run.name,
            "startedAt": run.started_at,
            "durationMs": run.duration_ms,
            "outcome": run.outcome,
            "counts": run.counts,
            "error": run.error,
        }
        for run in runs
    ]
    return json_response({"jobs": listed})


async def snapshot(request: Request) -> Response:
    """`POST /api/admin/snapshot`."""
    recorder = recorder_of(request)
    result = await recorder.upkeep.snapshot(even_if_clean=True)
    assert result is not None
    return json_response(
        {
            "rows": result.rows,
            "durable": result.head,
            "fileSize": result.size,
            "lastSnapshotAt": recorder.recording.last_snapshot_at,
        }
    )


async def prune(request: Request) -> Response:
    """`POST /api/admin/prune`: by the settings, or `{"olderThan": time}`."""
    recorder = recorder_of(request)
    older_than = parse_prune(await read_body(request, 10_000))
    deleted = await recorder.upkeep.prune(older_than)
    return json_response({"deleted": deleted, "oldest": recorder.recording.oldest, "olderThan": older_than})


def parse_prune(body: bytes) -> str | None:
    """The time in a prune's body, or None where it is empty. Raises InvalidQuery."""
    if not body.strip():
        return None
    try:
        asked: Any = orjson.loads(body)
    except ValueError as error:
        raise InvalidQuery(f"not JSON: {error}", hint='{"olderThan": time}') from None
    if not isinstance(asked, dict) or set(asked) - {"olderThan"}:
        raise InvalidQuery("an object with olderThan alone is taken", hint='{"olderThan": time}')
    if asked.get("olderThan") is None:
        return None
    if not isinstance(asked["olderThan"], str):
        raise InvalidQuery("olderThan: must be an RFC 3339 time", place="olderThan")
    return parse_time(asked["olderThan"], "olderThan")


async def healthz(request: Request) -> Response:
    """`GET /healthz`: the process answers."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """`GET /readyz`: 200, or 503 with the reason."""
    reason = recorder_of(request).not_ready()
    if reason is None:
        return json_response({"ready": True})
    return problems.problem(503, "not_ready", reason)


async def metrics(request: Request) -> Response:
    """`GET /metrics`."""
    return Response(recorder_of(request).metrics.render(), headers={"Content-Type": CONTENT_TYPE})


async def openapi(request: Request) -> Response:
    """`GET /api/openapi.json`."""
    return json_response(description())


async def home(request: Request) -> Response:
    """`GET /`: where to go from here."""
    headers = {"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff"}
    return Response(HOME, media_type="text/html", headers=headers)


ROUTES = [
    Route("/", home),
    Route("/api/deltas", history.deltas, methods=["GET"]),
    Route("/api/deltas", publish, methods=["POST"]),
    Route("/api/deltas/{session_id:path}", history.deltas),
    Route("/api/sessions", history.sessions),
    Route("/api/sessions/{session_id:path}", history.session),
    Route("/api/export", history.export_all),
    Route("/api/stats", stats),
    Route("/api/jobs", jobs),
    Route("/api/openapi.json", openapi),
    Route("/api/admin/snapshot", snapshot, methods=["POST"]),
    Route("/api/admin/prune", prune, methods=["POST"]),
    Route("/healthz", healthz),
    Route("/readyz", readyz),
    Route("/metrics", metrics),
]


class Gate:
    """Lets a request through only where its Host and Origin may come.

    Args:
        app: What lies behind.
        access: The rules.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then go on."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            try:
                self._access.check(headers.get("host"), headers.get("origin"))
            except RecorderError as error:
                response = await problems.on_recorder_error(Request(scope), error)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def application(recorder: Recorder) -> Starlette:
    """The HTTP application of a recorder."""
    settings = recorder.settings
    access = Access(settings.host, settings.allowed_hosts, settings.allowed_origins)
    app = Starlette(
        routes=ROUTES,
        middleware=[Middleware(Gate, access=access)],
        exception_handlers={
            RecorderError: problems.on_recorder_error,
            HTTPException: problems.on_http_exception,
            Exception: problems.on_unexpected,
        },
    )
    app.state.recorder = recorder
    return app
