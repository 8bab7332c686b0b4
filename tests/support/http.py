"""HTTP as clients speak it: a client on an app, walks by cursor, and requests on a bare socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import orjson

from tests.support.app import App
from tests.support.wire import PATIENCE, open_socket

NDJSON = {"content-type": "application/x-ndjson"}
JSON = {"content-type": "application/json"}


def client(app: App) -> httpx.AsyncClient:
    """A client of a running app; `async with`."""
    return httpx.AsyncClient(base_url=app.url, trust_env=False, timeout=PATIENCE)


async def get(http: httpx.AsyncClient, path: str, /, **params: Any) -> Any:
    """The JSON of an answer that must be a 200."""
    response = await http.get(path, params=params)
    assert response.status_code == 200, response.text
    return response.json()


async def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, which must be one, of this status and code."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    found: dict[str, Any] = response.json()
    assert (response.status_code, found["status"], found["code"]) == (status, status, code), found
    return found


async def walk(http: httpx.AsyncClient, path: str, name: str, **params: Any) -> AsyncIterator[list[Any]]:
    """The pages of a list, until there is no next one.

    Args:
        http: Asks.
        path: The list's.
        name: Of the member that holds it.
        params: The question; asked once, then carried by the cursor alone.
    """
    page = await get(http, path, **params)
    while True:
        yield page[name]
        if page["next"] is None:
            return
        page = await get(http, path, limit=params.get("limit", 100), cursor=page["next"])


async def seqs(http: httpx.AsyncClient, path: str = "/api/deltas", **params: Any) -> list[int]:
    """The seqs of all pages of deltas."""
    return [item["seq"] async for page in walk(http, path, "deltas", **params) for item in page]


class Bare:
    """A connection that sends exactly the bytes it is given.

    Args:
        reader, writer: Its two ways.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes, as far as the other side takes them."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        async with asyncio.timeout(PATIENCE):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in fields}

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON of the next answer."""
        status, headers = await self.head()
        async with asyncio.timeout(PATIENCE):
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return status, headers, orjson.loads(body) if body else None

    async def rest(self) -> bytes:
        """Everything until the other side closes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    def reset(self) -> None:
        """End it at once."""
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def bare(app: App, *, receive_buffer: int | None = None) -> AsyncIterator[Bare]:
    """A bare connection to an app.

    Args:
        app: To where.
        receive_buffer: The kernel's, in bytes; small, so that not reading is soon felt. None leaves it.
    """
    sock = await open_socket(app.url, receive_buffer=receive_buffer)
    reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 16)
    try:
        yield Bare(reader, writer)
    finally:
        writer.transport.abort()


def request(app: App, line: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> bytes:
    """The bytes of a request; a `Host` is added unless one is given.

    Args:
        app: To where.
        line: Method and target.
        headers: As they are.
        body: What follows.
    """
    given = {name.lower() for name, _ in headers}
    own = [] if "host" in given else [("Host", app.url.removeprefix("http://"))]
    lines = [f"{line} HTTP/1.1", *(f"{name}: {value}" for name, value in [*own, *headers]), "", ""]
    return "\r\n".join(lines).encode() + body
