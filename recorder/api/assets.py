"""The dashboard's files: the page at `/`, its modules and styles under `/assets/`, and the client module, for any page,
at `/client.js` with its parts under `/client/`.

They are read once and kept: a few small files that come with the package. Each has an ETag, and a browser asks again
each time whether it still holds (`no-cache`), so that a page never runs modules of two versions. Nothing here knows a
recorder, so the page is there while a recording is still being loaded, and says so.

The policy lets the page run and show what comes from here and nothing else: no inline script or style, no foreign
address, no frame around it; and `require-trusted-types-for` turns every slip that would make markup out of a text
into an error, in browsers that know it.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from recorder.core.errors import NotFound

TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
"""What a browser is told, by the end of the name; what ends otherwise is not served."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The page's Content-Security-Policy."""

PAGE = "index.html"
CLIENT = "client.js"
PARTS = "client"
"""The folder of what the client module is made of."""


class Asset(NamedTuple):
    """A file as it is served.

    Args:
        body: Its bytes.
        media_type: What it is.
        etag: Of its bytes.
    """

    body: bytes
    media_type: str
    etag: str


@cache
def assets() -> dict[str, Asset]:
    """Read every file that is served, by its name; the parts of the client module as `client/NAME`."""
    web = files("recorder") / "web"
    found = {}
    for prefix, part in (("", web / "dashboard"), ("", web / "sdk"), (f"{PARTS}/", web / "sdk" / PARTS)):
        for file in part.iterdir():
            media_type = TYPES.get(file.name.rpartition(".")[2])
            if media_type is not None:
                body = file.read_bytes()
                etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
                found[prefix + file.name] = Asset(body, media_type, etag)
    return found


async def page(request: Request) -> Response:
    """Answer `GET /`: the dashboard. What is in the query does not matter."""
    return serve(request, PAGE)


async def asset(request: Request) -> Response:
    """Answer `GET /assets/{file}`: what the dashboard is made of."""
    name = request.path_params["file"]
    # The client module finds its parts beside it, so it has one place only.
    return serve(request, "" if name == CLIENT else name)


async def client(request: Request) -> Response:
    """Answer `GET /client.js`: the client module. What is in the query does not matter."""
    return serve(request, CLIENT)


async def client_part(request: Request) -> Response:
    """Answer `GET /client/{part}`: what the client module is made of."""
    return serve(request, f"{PARTS}/{request.path_params['part']}")


def serve(request: Request, name: str) -> Response:
    """Return a file, or 304 where the browser has it.

    Args:
        request: Its `If-None-Match` counts.
        name: The file's.

    Raises:
        NotFound: There is none of that name.
    """
    found = assets().get(name)
    if found is None:
        raise NotFound(f"the dashboard has no file {name[:80]!r}", hint="it begins at /")
    return answer(request, found)


def answer(request: Request, found: Asset) -> Response:
    """Answer with a file, or 304 where the browser has it.

    Args:
        request: Its `If-None-Match` counts.
        found: The file.
    """
    headers = {
        "ETag": found.etag,
        "Cache-Control": "no-cache",
        "Content-Security-Policy": POLICY,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    if _has(request, found.etag):
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type=found.media_type, headers=headers)


def _has(request: Request, etag: str) -> bool:
    """Return whether `If-None-Match` names the ETag; a proxy that compressed on the way has made a weak one of it."""
    named = request.headers.get("if-none-match", "")
    return any(one.strip().removeprefix("W/") in (etag, "*") for one in named.split(","))
