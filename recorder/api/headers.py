"""The headers that every answer has: what a browser must not do with it, and which pages elsewhere may read it.

The pages and scripts that the recorder serves bring policies of their own, which are left as they are. What else is
here is data: never to be framed, sniffed, cached or run.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
    """The answer to a browser that asks whether a page elsewhere may send a request; None where it is not that.

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
