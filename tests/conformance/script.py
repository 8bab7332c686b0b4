"""The server of the conformance cases: it plays each case's part, and serves the files that a browser needs for it.

`/N/ws` plays the case of that number, one connection after the other; what the clients asked is kept. It is no recorder:
it says what a case says, right or wrong.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.conformance.cases import Case

ROOT = Path(__file__).resolve().parents[2]
FILES = {"/client.js": "recorder/web/sdk/client.js", "/run.mjs": "tests/conformance/run.mjs"}
PARTS = "/client/"


class ScriptedServer:
    """Plays cases; `async with`.

    Args:
        cases: Which; the first is at `/0/ws`.
    """

    def __init__(self, cases: list[Case]) -> None:
        self.cases = cases
        self.asked: dict[int, list[str]] = {
            number: [] for number in range(len(cases))
        }  # each connection's `since`
        self._counts: Counter[int] = Counter()  # connections of each case so far
        self._server: Server | None = None
        self._open: set[ServerConnection] = set()

    @property
    def url(self) -> str:
        """Its base URL."""
        assert self._server is not None
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def begin(self) -> None:
        """Play all cases from their beginning."""
        self._counts.clear()
        for asked in self.asked.values():
            asked.clear()

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._play,
            "127.0.0.1",
            0,
            process_request=self._serve_file,
            compression=None,
            ping_interval=None,
            close_timeout=1,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        for connection in self._open:
            connection.transport.abort()
        self._server.close()
        await self._server.wait_closed()

    def _serve_file(self, connection: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        if path.endswith("/ws"):
            return None
        if path.startswith(PARTS):
            name: str | None = f"recorder/web/sdk{path}"
        else:
            name = FILES.get(path)
        if name is None:
            return _answer(b"<!doctype html><title>conformance</title>", "text/html")
        return _answer((ROOT / name).read_bytes(), "text/javascript")

    async def _play(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        parts = urlsplit(connection.request.path)
        number = int(parts.path.split("/")[1])
        self.asked[number].append(parse_qs(parts.query)["since"][0])
        plan = self.cases[number]["connections"]
        turn = self._counts[number]
        self._counts[number] += 1
        self._open.add(connection)
        try:
            if turn < len(plan):
                await self._say(connection, plan[turn])
            await connection.wait_closed()
        except ConnectionClosed:
            # Clients may hang up as soon as they have heard enough.
            pass
        finally:
            self._open.discard(connection)

    async def _say(self, connection: ServerConnection, plan: dict[str, Any]) -> None:
        for message in plan["says"]:
            text = message if isinstance(message, str) else json.dumps(message)
            await connection.send(text)
        if plan["close"] == 1006:
            # What was written leaves first; then the socket is closed without a goodbye.
            await asyncio.sleep(0)
            connection.transport.close()
        elif plan["close"] is not None:
            await connection.close(plan["close"], plan["reason"])


def _answer(body: bytes, media_type: str) -> Response:
    headers = Headers(
        {
            "Content-Type": f"{media_type}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
    )
    return Response(HTTPStatus.OK, "OK", headers, body)
