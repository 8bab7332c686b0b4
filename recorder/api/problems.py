"""Errors over HTTP: `application/problem+json` (RFC 9457) with the `code` of `recorder.core.errors`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from recorder.core.errors import (
    InternalError,
    MessageTooLarge,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    RecorderError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1
"""What a client is told to wait where the same request may go through later."""


def json_response(content: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def problem(error: RecorderError) -> Response:
    """The problem document of an error."""
    body = {
        "title": error.code.replace("_", " "),
        "status": error.http_status,
        "code": error.code,
        "detail": error.message,
    }
    more = {"hint": error.hint, "index": error.index, "place": error.place}
    body |= {name: value for name, value in more.items() if value is not None}
    return Response(orjson.dumps(body), error.http_status, _headers(error), MEDIA_TYPE)


def raw_problem(error: RecorderError) -> bytes:
    """The same as the bytes of an HTTP answer after which the connection is closed: where there is no request yet."""
    response = problem(error)
    response.headers["Connection"] = "close"
    head = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
    status = HTTPStatus(error.http_status)
    return b"HTTP/1.1 %d %s\r\n%s\r\n" % (status, status.phrase.encode(), head) + bytes(response.body)


async def on_recorder_error(request: Request, error: Exception) -> Response:
    """One of ours."""
    assert isinstance(error, RecorderError)
    return problem(error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's: no such route, or not with this method."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:80]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        response = problem(
            MethodNotAllowed(f"{request.method[:20]} is not for {path!r}", hint=f"it takes {allowed}")
        )
    elif error.status_code == 404:
        response = problem(NotFound(f"no route {path!r}", hint="/api/openapi.json describes them all"))
    else:
        response = problem(InternalError(f"HTTP {error.status_code}: {error.detail}"))
    response.headers.update(error.headers or {})
    return response


def _headers(error: RecorderError) -> dict[str, str] | None:
    if error.retry:
        return {"Retry-After": str(RETRY_SECONDS)}
    if isinstance(error, NotAuthenticated):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, MessageTooLarge):
        # The rest of what is too large is not waited for.
        return {"Connection": "close"}
    return None
