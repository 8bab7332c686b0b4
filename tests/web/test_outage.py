"""The JavaScript client where no connection can be made: it warns once, asks for tokens, and ends where it must."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.support.app import running_app
from tests.support.node import Script, running
from tests.support.tokens import key_file, signed

OUTAGE = Path(__file__).parent / "outage.mjs"


async def until(script: Script, event: str) -> list[Any]:
    """Events up to and with the first of a kind."""
    lines = [await script.line()]
    while lines[-1]["event"] != event:
        lines.append(await script.line())
    return lines


async def test_the_first_connection_that_cannot_be_made_is_warned_of_once() -> None:
    async with running(OUTAGE, "http://127.0.0.1:9", "none") as script:
        lines = [await script.line() for _ in range(6)]
    assert [line["event"] for line in lines] == ["warning", *["disconnected"] * 5]
    assert lines[0]["message"].startswith(
        "cannot subscribe at ws://127.0.0.1:9: http://127.0.0.1:9 cannot be reached"
    )
    assert "Is a recorder running there ('recorder serve' starts one)" in lines[0]["message"]


async def test_a_server_that_is_no_recorder_is_final() -> None:
    def not_found(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(404, "nothing here")

    async def never(connection: ServerConnection) -> None:
        raise AssertionError

    async with serve(never, "127.0.0.1", 0, process_request=not_found) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with running(OUTAGE, f"http://127.0.0.1:{port}", "none") as script:
            failed = (await until(script, "error"))[-1]
    assert failed["name"] == "ClientError"
    assert "answered 404: nothing here (is this the URL of a recorder?)" in failed["message"]


@pytest.mark.parametrize("kind", ["function", "async"])
async def test_a_function_is_asked_at_every_connection_so_that_a_token_may_expire(
    tmp_path: Path, kind: str
) -> None:
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path)) as app:
        expired, soon, good = signed(exp=1), signed(exp=time.time() + 2), signed()
        async with running(OUTAGE, app.url, kind, json.dumps([expired] * 5 + [soon, good])) as script:
            await until(script, "live")
            await until(script, "disconnected")
            assert (await until(script, "live"))[-1]["asked"] >= 7


async def test_the_same_token_refused_again_and_again_is_final(tmp_path: Path) -> None:
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path)) as app:
        async with running(OUTAGE, app.url, "function", '["unknown"]') as script:
            failed = (await until(script, "error"))[-1]
        assert (failed["name"], failed["asked"]) == ("TokenRefused", 3)
        async with running(OUTAGE, app.url, "text", json.dumps([signed(exp=1)])) as script:
            failed = (await until(script, "error"))[-1]
        assert failed["name"] == "TokenRefused"
        assert "expired" in failed["message"]
        assert "give a function that gets one" in failed["message"]


async def test_a_function_that_fails_is_asked_again_and_one_that_gives_no_text_is_not(tmp_path: Path) -> None:
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path)) as app:
        async with running(OUTAGE, app.url, "failing", json.dumps([signed()])) as script:
            lines = await until(script, "live")
            assert "the token function failed: the identity provider is away" in lines[0]["message"]
        async with running(OUTAGE, app.url, "nothing") as script:
            failed = (await until(script, "error"))[-1]
            assert (failed["name"], failed["message"]) == (
                "ClientError",
                "the token is no text: it is of type object",
            )
        async with running(OUTAGE, app.url, "late") as script:
            assert "it gave no token within 0.02 s" in (await script.line())["message"]
