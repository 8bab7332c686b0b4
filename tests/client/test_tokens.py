"""Tests of tokens that a function gives: when it is asked, and when a refusal is final."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from recorder.client import Client, ClientOptions, NewDelta, TokenRefused
from recorder.core.errors import ClientError
from tests.client.fake_recorder import FakeRecorder

NOW = ClientOptions(backoff_base_s=0.0, backoff_cap_s=0.0)
CREATED = NewDelta("created", "s", after=1)
Use = Callable[[Client], Awaitable[Any]]


async def publish(client: Client) -> None:
    await client.publish(CREATED)


async def subscribe(client: Client) -> None:
    await anext(client.subscribe())


both = pytest.mark.parametrize("use", [publish, subscribe])


def shown(server: FakeRecorder) -> list[str]:
    return [headers["Authorization"].removeprefix("Bearer ") for headers in server.headers]


def refuse(server: FakeRecorder, times: int, *, code: int = 4401, reason: str) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send(server.event("error", code="not_authenticated", message=reason), text=True)
        await connection.close(code, reason)

    server.on_publisher.extend([script] * times)
    server.on_subscriber.extend([script] * times)


class Tokens:
    """Gives a new token each time."""

    def __init__(self, *given: str) -> None:
        self.given = list(given)
        self.asked = 0
        self.threads: set[int] = set()

    def __call__(self) -> str:
        self.threads.add(threading.get_ident())
        self.asked += 1
        return self.given.pop(0) if len(self.given) > 1 else self.given[0]

    async def later(self) -> str:
        await asyncio.sleep(0)
        return self()


@both
async def test_a_function_is_asked_at_every_connection_async_or_not(use: Use) -> None:
    for make in (lambda tokens: tokens, lambda tokens: tokens.later, lambda tokens: lambda: tokens.later()):
        tokens = Tokens("one", "two", "three")
        async with FakeRecorder() as server, Client(server.url, make(tokens), options=NOW) as client:
            refuse(server, 2, reason="the token has expired")
            await use(client)
            assert shown(server) == ["one", "two", "three"]
            assert tokens.asked == 3


async def test_a_function_that_is_not_async_does_not_hold_up_the_event_loop() -> None:
    tokens = Tokens("one")
    async with FakeRecorder() as server, Client(server.url, tokens, options=NOW) as client:
        await publish(client)
    assert threading.get_ident() not in tokens.threads


@both
async def test_the_same_token_refused_again_and_again_is_final(use: Use) -> None:
    async with FakeRecorder() as server, Client(server.url, Tokens("one"), options=NOW) as client:
        refuse(server, 9, reason="the token is not known here")
        with pytest.raises(TokenRefused, match="the token is not known here"):
            await use(client)
        assert shown(server) == ["one"] * 3


@both
async def test_one_that_has_expired_is_never_final_for_a_function(use: Use) -> None:
    async with FakeRecorder() as server, Client(server.url, Tokens("one"), options=NOW) as client:
        refuse(server, 9, reason="the token has expired")
        await use(client)
        assert shown(server) == ["one"] * 10


@both
async def test_a_401_before_the_upgrade_counts_the_same(use: Use) -> None:
    async with FakeRecorder() as server, Client(server.url, Tokens("one", "two"), options=NOW) as client:
        server.refusals.extend([401])
        await use(client)
        assert shown(server) == ["two"]
    async with FakeRecorder() as server, Client(server.url, Tokens("one"), options=NOW) as client:
        server.refusals.extend([401] * 9)
        with pytest.raises(TokenRefused, match="answered 401"):
            await use(client)


@both
async def test_a_token_that_is_a_text_is_refused_for_good(use: Use) -> None:
    async with FakeRecorder() as server, Client(server.url, "one", options=NOW) as client:
        refuse(server, 1, reason="the token has expired")
        with pytest.raises(TokenRefused, match="give a function that gets one"):
            await use(client)


@both
async def test_a_function_that_fails_is_asked_again(use: Use, caplog: pytest.LogCaptureFixture) -> None:
    tries = 0

    def token() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError("the identity provider is away")
        return "one"

    async with FakeRecorder() as server, Client(server.url, token, options=NOW) as client:
        await use(client)
        assert shown(server) == ["one"]
    assert "the token function raised OSError: the identity provider is away" in caplog.text


@both
async def test_a_function_that_gives_nothing_is_left_after_a_while(use: Use) -> None:
    async def token() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    options = ClientOptions(open_timeout_s=0.01, max_tries=1)
    async with Client("http://127.0.0.1:9", token, options=options) as client:
        with pytest.raises(ClientError, match=r"gave no token within 0\.01 s"):
            await use(client)


@both
@pytest.mark.parametrize("given", [None, b"bytes", 7])
async def test_what_is_no_text_is_refused_at_once(use: Use, given: Any) -> None:
    async with Client("http://127.0.0.1:9", lambda: given, options=NOW) as client:
        with pytest.raises(ClientError, match="the token is no text"):
            await use(client)


@both
async def test_a_function_may_say_that_there_will_be_none(use: Use) -> None:
    def token() -> str:
        raise ClientError("logged out")

    async with Client("http://127.0.0.1:9", token, options=NOW) as client:
        with pytest.raises(ClientError, match="logged out"):
            await use(client)
