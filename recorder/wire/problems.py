"""Errors as problem documents: `application/problem+json` (RFC 9457) with the `code` of `recorder.core.errors`.

Used wherever HTTP is answered: by routes, by connections that have no request yet, and for upgrades that are refused.
Nothing here sends anything.
"""

from __future__ import annotations

import errno
from http import HTTPStatus

import orjson

from recorder.core.errors import (
    InternalError,
    MessageTooLarge,
    NotAuthenticated,
    RecorderError,
    Unavailable,
    UpgradeRequired,
)

MEDIA_TYPE = "application/problem+json"
WEBSOCKET_VERSION = "13"
"""The only one there is (RFC 6455)."""
RETRY_SECONDS = 1
"""What a client is told to wait where the same request may go through later."""

_SCARCE = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_SCARCE_HINT = "try again in a moment; the operator may raise the limits of the process"


def problem_body(error: RecorderError) -> bytes:
    """Return the document of an error."""
    body = {
        "title": error.code.replace("_", " "),
        "status": error.http_status,
        "code": error.code,
        "detail": error.message,
    }
    more = {"hint": error.hint, "index": error.index, "place": error.place}
    body |= {name: value for name, value in more.items() if value is not None}
    return orjson.dumps(body)


def problem_headers(error: RecorderError) -> dict[str, str]:
    """Return the headers that go with the document, beside its type and length."""
    if error.retry:
        return {"Retry-After": str(RETRY_SECONDS)}
    if isinstance(error, NotAuthenticated):
        # RFC 6750, section 3: without a token there is no error code.
        return {"WWW-Authenticate": 'Bearer error="invalid_token"' if error.has_token else "Bearer"}
    if isinstance(error, UpgradeRequired):
        return {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": WEBSOCKET_VERSION}
    if isinstance(error, MessageTooLarge):
        # The rest of what is too large is not waited for.
        return {"Connection": "close"}
    return {}


def raw_problem(error: RecorderError) -> bytes:
    """Return a whole HTTP answer after which the connection is closed: for where there is no request yet."""
    body, status = problem_body(error), HTTPStatus(error.http_status)
    headers = {
        **problem_headers(error),
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{head}\r\n".encode() + body


def explain_failure(error: BaseException) -> RecorderError:
    """Return what a request that failed is answered with: whether it may go through later, or found a bug.

    Args:
        error: What was raised; whatever is no error of the recorder's own is told without details.
    """
    if isinstance(error, RecorderError):
        return error
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _SCARCE):
        return Unavailable("the recorder lacks memory or files to answer", hint=_SCARCE_HINT)
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return Unavailable("the recorder cannot start a thread to answer", hint=_SCARCE_HINT)
    return InternalError("the recorder failed to answer; its log says why")
