"""Tests of a client that is used on more than one event loop: it belongs to one, and says so at once on another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from recorder.client import Client, NewDelta
from recorder.core.errors import ClientError
from tests.client.fake_recorder import FakeRecorder

CREATED = NewDelta("created", "s", after=1)


async def publish(client: Client) -> None:
    await client.publish(CREATED)


async def publish_raw(client: Client) -> None:
    await client.publish_raw('{"type":"created","sessionId":"s","after":1}')


async def iterate(client: Client) -> None:
    await anext(client.subscribe(since="earliest"))


async def enter_a_subscription(client: Client) -> None:
    async with client.subscribe():
        pass


async def enter(client: Client) -> None:
    async with client:
        pass


async def close(client: Client) -> None:
    await client.aclose()


USES: list[Callable[[Client], Awaitable[None]]] = [
    publish,
    publish_raw,
    iterate,
    enter_a_subscription,
    enter,
    close,
]


def in_another_loop(use: Callable[[Client], Awaitable[None]], client: Client) -> BaseException | None:
    """What a use ends with on a loop of its own, in a thread of its own."""
    raised: list[BaseException | None] = []

    async def run() -> None:
        async with asyncio.timeout(20):
            await use(client)

    def thread() -> None:
        try:
            asyncio.run(run())
            raised.append(None)
        except BaseException as error:
            raised.append(error)

    other = threading.Thread(target=thread)
    other.start()
    other.join()
    return raised[0]


@pytest.mark.parametrize("use", USES)
async def test_on_a_second_event_loop_every_use_is_refused_at_once(use: Any) -> None:
    async with FakeRecorder() as server, Client(server.url) as client:
        await client.publish(CREATED)
        error = await asyncio.to_thread(in_another_loop, use, client)
        assert isinstance(error, ClientError), error
        assert "belongs to the event loop on which it was first used, and that is another one" in str(error)
        assert "make a Client for each event loop" in str(error)
        # It goes on where it belongs.
        await client.publish(CREATED)


@pytest.mark.parametrize("use", USES[:5])
def test_after_its_event_loop_has_ended_every_use_is_refused_at_once(use: Any) -> None:
    clients: list[Client] = []

    async def first() -> None:
        async with FakeRecorder() as server:
            clients.append(Client(server.url))
            await clients[0].publish(CREATED)

    asyncio.run(first())
    error = in_another_loop(use, clients[0])
    assert isinstance(error, ClientError), error
    assert "that is closed" in str(error)


def test_after_its_event_loop_has_ended_it_can_still_be_closed() -> None:
    clients: list[Client] = []

    async def first() -> None:
        async with FakeRecorder() as server:
            clients.append(Client(server.url))
            await clients[0].publish(CREATED)
            await anext(clients[0].subscribe())

    asyncio.run(first())
    assert in_another_loop(close, clients[0]) is None


def test_made_outside_of_any_event_loop_it_belongs_to_the_first_one_that_uses_it() -> None:
    client = Client("http://127.0.0.1:9")
    client.subscribe()  # nothing is connected by that
    assert in_another_loop(close, client) is None
