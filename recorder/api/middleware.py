"""The middleware of every request: checks of its sender, safe headers, limits on costly work, and error handling.

A browser sends requests for pages that its visitor did not choose, so what it says about them counts: the Origin of a
script's request, and Sec-Fetch-Site for what has no Origin, like an image. A request that changes something must have
a JSON content type, which no page elsewhere can send without asking first.

The pages and scripts that the recorder serves bring policies of their own, which are left as they are. What else is
here is data: never to be framed, sniffed, cached or run.

Each slice of history is short, but a thousand questions at once would make every one of them wait for all others: so
questions and exports have so many places each. A request that finds none is rejected with a hint to retry.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from loguru import logger
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recorder.api.responses import problem
from recorder.auth.grants import Grant
from recorder.auth.proxies import Caller
from recorder.auth.request_guard import RequestGuard
from recorder.core.clock import Clock
from recorder.core.errors import (
    NotAllowed,
    NotAuthenticated,
    RecorderError,
    TooMany,
    UnsupportedMediaType,
)
from recorder.core.metrics import Metrics
from recorder.core.sampled_log import SampledLog
from recorder.wire.problems import explain_failure

JSON = "application/json"
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
"""The content types of what is sent to the recorder."""

ENDS_ITSELF = "ends_itself"
"""The mark in a request's state of an answer that looks after the end of its token itself."""

READING = ("GET", "HEAD", "OPTIONS")

SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
EXPOSED = "Content-Disposition, ETag, Retry-After, WWW-Authenticate"
PREFLIGHT_SECONDS = 600
"""How long a browser may remember what a page elsewhere is allowed."""

Cost = Literal["free", "queries", "exports"]
"""What answering takes: next to nothing, a place among the questions, or one among the exports."""

LIMITS = {"queries": "MAX_CONCURRENT_QUERIES", "exports": "MAX_EXPORTS"}
"""The settings that say how many places there are."""


class AccessMiddleware:
    """Lets a request through only where it may come from, and notes for the routes who calls and what is granted.

    A response is aborted when the token it was given for expires.

    Args:
        app: What lies behind.
        guard: The rules.
        origins: Pages elsewhere that may send requests.
        clock: Tells when a token has expired.
        metrics: Counts who is refused.
        log: Writes some of it down.
    """

    def __init__(
        self,
        app: ASGIApp,
        guard: RequestGuard,
        origins: tuple[str, ...],
        clock: Clock,
        metrics: Metrics,
        log: SampledLog,
    ) -> None:
        self._app = app
        self._guard = guard
        self._origins = frozenset(origins)
        self._clock = clock
        self._metrics = metrics
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then go on."""
        headers = Headers(scope=scope)
        try:
            caller = self._check(scope, headers)
        except RecorderError as error:
            self._log.write(
                "INFO",
                "request refused",
                code=error.code,
                reason=str(error),
                address=_host(scope, "client"),
                path=scope["path"][:80],
            )
            self._metrics.reject(error.code)
            await problem(error)(scope, receive, send)
            return
        granted = preflight(self._origins, headers) if scope["method"] == "OPTIONS" else None
        if granted is not None:
            await Response(status_code=204, headers=granted)(scope, receive, send)
            return
        grant = self._grant(headers)
        scope.setdefault("state", {}).update(grant=grant, caller=caller)
        await self._app(
            scope, receive, send if isinstance(grant, RecorderError) else self._until(grant, scope, send)
        )

    def _check(self, scope: Scope, headers: Headers) -> Caller:
        is_secure = scope["scheme"] == "https"
        caller = self._guard.caller(headers.getlist, _host(scope, "client"), is_secure=is_secure)
        self._guard.check(headers.getlist, _host(scope, "server"), caller)
        check_site(headers)
        if scope["method"] not in READING:
            check_media(headers)
        return caller

    def _grant(self, headers: Headers) -> Grant | NotAuthenticated:
        """Return what the token grants, or why it grants nothing: for those routes to tell that need it to."""
        try:
            return self._guard.grant(headers.getlist)
        except NotAuthenticated as error:
            return error

    def _until(self, grant: Grant, scope: Scope, send: Send) -> Send:
        authority = self._guard.authority
        if authority.is_open:
            return send
        edition = authority.edition

        async def checked(message: Message) -> None:
            # Not at the end: the work is done and answered. An event stream reports itself why it ends.
            if message.get("more_body") and not scope["state"].get(ENDS_ITSELF):
                if grant.is_over(self._clock.now_ms()):
                    raise NotAuthenticated("the token has expired")
                if edition != authority.edition and not authority.holds(grant):
                    raise NotAuthenticated("the token is not valid any more")
            await send(message)

        return checked


def _host(scope: Scope, end: str) -> str:
    """Return the address of one end of the connection, `client` or `server`."""
    found = scope.get(end)
    return str(found[0]) if found else ""


def check_site(headers: Headers) -> None:
    """Raise NotAllowed for what a page elsewhere includes (an image, a script), which a browser sends no Origin with."""
    is_elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if is_elsewhere and "origin" not in headers and headers.get("sec-fetch-mode") != "navigate":
        raise NotAllowed(
            "a page elsewhere may not include this", hint="ask with fetch(), and ALLOWED_ORIGINS"
        )


def check_media(headers: Headers) -> None:
    """Raise UnsupportedMediaType unless what changes something is JSON, and says so where a browser may have sent it."""
    given = headers.get("content-type")
    if given is None and "origin" not in headers and "sec-fetch-site" not in headers:
        return
    kind = (given or "").partition(";")[0].strip().lower()
    if kind != JSON and kind not in NDJSON:
        raise UnsupportedMediaType(
            f"Content-Type {kind[:80]!r} is not supported", hint=f"{JSON} or {NDJSON[0]}"
        )


class ErrorMiddleware:
    """The last handler of exceptions: each is logged once, counted, and answered where an answer is still possible.

    A failure before the answer has begun becomes a 500, or a 503 where the system has refused memory, a file or a
    thread. One amid an answer leaves it without its end, so that the client sees that it is not whole.

    Args:
        app: What lies behind.
        metrics: Counts.
        log: Writes some of it down.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, log: SampledLog) -> None:
        self._app = app
        self._metrics = metrics
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or fail."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except ClientDisconnect:
            # A client that disconnected while sending needs no answer, and nothing was accepted.
            logger.bind(path=scope["path"]).debug("a client left before its request was complete")
        # The boundary of a request: whatever it was, it concerns this request alone.
        except Exception as error:
            # Starlette wraps what its handlers can no longer answer.
            cause = error.__cause__ if isinstance(error.__cause__, RecorderError) else error
            if begun and isinstance(cause, NotAuthenticated):
                self._log.write("INFO", "an answer ended with its token", path=scope["path"][:80])
                return
            self._metrics.failed_requests += 1
            self._write_down(scope, cause, begun=begun)
            if not begun:
                await problem(explain_failure(cause))(scope, receive, send)

    def _write_down(self, scope: Scope, cause: Exception, *, begun: bool) -> None:
        path = scope["path"][:80]
        if begun and isinstance(cause, RecorderError):
            self._log.write(
                "WARNING", "a response was aborted", code=cause.code, path=path, reason=str(cause)
            )
        else:
            self._log.write("ERROR", "a request failed", path=path, exception=cause)


class SafeHeaders:
    """Adds the headers.

    Args:
        app: What lies behind.
        origins: Pages elsewhere that may read the answers (`ALLOWED_ORIGINS`).
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with the headers."""
        origin = Headers(scope=scope).get("origin", "")

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE.items():
                    headers.setdefault(name, value)
                if self._origins:
                    # Otherwise a cache might give one origin's answer to another.
                    headers.add_vary_header("Origin")
                if origin.lower() in self._origins:
                    headers["Access-Control-Allow-Origin"] = origin
                    headers["Access-Control-Expose-Headers"] = EXPOSED
            await send(message)

        await self._app(scope, receive, dressed)


def preflight(origins: frozenset[str], headers: Headers) -> dict[str, str] | None:
    """Return the answer to a browser that asks whether a page elsewhere may send a request; None where it is not that.

    Args:
        origins: The pages that may.
        headers: Of the request.
    """
    if headers.get("origin", "").lower() not in origins or "access-control-request-method" not in headers:
        return None
    return {
        "Access-Control-Allow-Methods": "GET, HEAD, POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID",
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }


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
        """Occupy a slot for the duration of the block. Raises TooMany if none is free."""
        if cost not in self._places:
            yield
            return
        if self._taken[cost] >= self._places[cost]:
            self._metrics.refuse_query(cost)
            raise TooMany(
                f"{self._places[cost]} {cost} are being answered, which is as many as are at once",
                hint=f"try again in a moment; {LIMITS[cost]} sets the limit",
            )
        self._taken[cost] += 1
        try:
            yield
        finally:
            self._taken[cost] -= 1
