"""Errors over HTTP: `application/problem+json` (RFC 9457) with our `code`."""

from __future__ import annotations

from typing import Any

import orjson
from loguru import logger
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from recorder.errors import RecorderError

CODES = {404: "not_found", 405: "method_not_allowed"}


def json_response(content: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def problem(status: int, code: str, detail: str, **more: Any) -> Response:
    """A problem document.

    Args:
        status: HTTP status.
        code: Ours.
        detail: What was wrong, for people.
        more: Further members; None is left out.
    """
    body = {"title": code.replace("_", " "), "status": status, "code": code, "detail": detail}
    body |= {name: value for name, value in more.items() if value is not None}
    headers = {"Retry-After": "1"} if status == 503 else None
    return Response(orjson.dumps(body), status, headers, "application/problem+json")


async def on_recorder_error(request: Request, error: Exception) -> Response:
    """One of ours."""
    assert isinstance(error, RecorderError)
    return problem(
        error.http_status, error.code, error.message, hint=error.hint, index=error.index, place=error.place
    )


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's: no such route, or not with this method."""
    assert isinstance(error, HTTPException)
    response = problem(error.status_code, CODES.get(error.status_code, "http_error"), str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def on_unexpected(request: Request, error: Exception) -> Response:
    """A bug of ours: said without details to the client, with all of them in the log."""
    logger.opt(exception=error).bind(path=request.url.path).error("a request failed")
    return problem(500, "internal_error", "the recorder failed to answer; its log says why")
