"""Tests of the client as a whole: arguments, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from recorder.client import Ack, Client, ClientOptions, Live, NewDelta
from recorder.core.errors import ClientError, Closed
from recorder.core.position import Position
from tests.client.fake_recorder import FakeRecorder


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"sessions": []}, "sessions: an empty list names none"),
        ({"types": ()}, "types: an empty list names none"),
        ({"sessions": b"abc"}, "neither a text nor a list of texts"),
        ({"sessions": 7}, "neither a text nor a list of texts"),
        ({"types": ["created", None]}, "is no text"),
        ({"sessions": [""]}, "1 to 256"),
        ({"types": "create"}, "not one of created"),
        ({"since": "yesterday"}, "no position"),
        ({"since": "E:x"}, "no position"),
        ({"since": datetime(2026, 11, 20)}, "no position"),
        ({"sessions": [str(number) for number in range(1001)]}, "at most 1000"),
    ],
)
async def test_a_wrong_subscription_is_refused_before_anything_is_connected(
    wrong: dict[str, Any], says: str
) -> None:
    async with FakeRecorder() as server, Client(server.url) as client:
        with pytest.raises(ClientError, match=says):
            client.subscribe(**wrong)
        assert server.connections == []


@pytest.mark.parametrize(
    ("since", "sent"),
    [
        ("latest", "latest"),
        (12, "12"),
        (Position("E", 3), "E:3"),
        (datetime(2026, 11, 20, 12, tzinfo=UTC), "2026-11-20T12:00:00.000Z"),
        (datetime(2026, 11, 20, 12, tzinfo=timezone(timedelta(hours=2))), "2026-11-20T10:00:00.000Z"),
    ],
)
async def test_since_may_be_given_in_many_forms(since: Any, sent: str) -> None:
    async with FakeRecorder() as server, Client(server.url) as client:
        async with client.subscribe(["a", "a", "b"], since=since):
            pass
        query = parse_qsl(urlsplit(server.connections[0]).query)
        assert query == [("session", "a"), ("session", "b"), ("since", sent)]


async def test_a_lone_name_is_one_session_not_its_letters() -> None:
    async with FakeRecorder() as server, Client(server.url) as client:
        await server.publish("abc")
        async with client.subscribe("abc", since="earliest") as events:
            assert (await anext(events)).seq == 1  # type: ignore[union-attr]


async def test_nothing_is_connected_before_it_is_needed() -> None:
    async with FakeRecorder() as server:
        async with Client(server.url) as client:
            client.subscribe()
        assert server.connections == []


async def test_the_loop_of_the_readme_works() -> None:
    async with FakeRecorder() as server, Client(server.url) as client:
        await client.publish(NewDelta("created", "s1", after={"plan": []}))
        async for event in client.subscribe(since="earliest"):
            if isinstance(event, Live):
                break


async def test_it_leaves_no_task_behind_and_closes_what_was_left_open() -> None:
    async with FakeRecorder() as server:
        before = len(asyncio.all_tasks())
        for _ in range(10):
            async with Client(server.url) as client:
                events = client.subscribe()
                await anext(events)
                await client.publish(NewDelta("created", "s", after=1))
                await anext(events)
            with pytest.raises(StopAsyncIteration):
                await anext(events)
        await client.aclose()
        async with asyncio.timeout(5):
            while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110 - the server's own tasks end on their own
                await asyncio.sleep(0)


async def test_when_it_is_closed_everything_says_so() -> None:
    async with Client("http://127.0.0.1:1") as client:
        pass
    with pytest.raises(Closed):
        client.subscribe()
    with pytest.raises(Closed):
        await client.publish(NewDelta("created", "s", after=1))
    with pytest.raises(Closed):
        await client.publish_raw("{}")


async def test_an_error_in_the_body_closes_at_once_and_comes_through() -> None:
    async with FakeRecorder() as server:
        server.refusals.extend([503] * 1000)
        tasks: list[asyncio.Future[Ack]] = []

        async def fail() -> None:
            async with Client(server.url, options=ClientOptions(backoff_base_s=60)) as client:
                tasks.append(asyncio.ensure_future(client.publish(NewDelta("created", "s", after=1))))
                while len(server.refusals) == 1000:  # noqa: ASYNC110 - a refusal is no event
                    await asyncio.sleep(0)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        with pytest.raises(Closed):
            await tasks[0]
