"""Answers that many routes give: JSON, and problem documents (`wire.problems`) for errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from recorder.core.errors import InternalError, MethodNotAllowed, NotFound, RecorderError
from recorder.wire.problems import MEDIA_TYPE, problem_body, problem_headers


def json_response(content: Any, status: int = 200) -> Response:
    """Return a JSON answer."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def head_response(headers: Mapping[str, str], media_type: str) -> Response:
    """Return the head of an answer whose length is not known before it is made: it claims none."""
    response = Response(headers=headers, media_type=media_type)
    del response.headers["content-length"]
    return response


def problem(error: RecorderError) -> Response:
    """Return the problem document of an error as an answer."""
    return Response(problem_body(error), error.http_status, problem_headers(error), MEDIA_TYPE)


async def on_recorder_error(request: Request, error: Exception) -> Response:
    """Answer an error that was raised on purpose."""
    assert isinstance(error, RecorderError)
    return problem(error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what Starlette raises: there is no such route, or it does not take this method."""
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
