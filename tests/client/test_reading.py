"""Reading what was recorded with the client, over HTTP, from a recorder that runs."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from recorder.client import (
    Client,
    ClientOptions,
    Delta,
    Live,
    NewDelta,
    RawJson,
    SessionInfo,
    TokenRefused,
    Touch,
    reading,
)
from recorder.core.errors import ClientError, Closed, NotFound, NotRecording, Unavailable
from tests.client.fake_recorder import FakeRecorder
from tests.support.app import delta, running_app
from tests.support.tokens import key_file, signed

T = TypeVar("T")
ODD = '{"n" : 123456789012345678901234567890, "s":"\\ud83d"}'


async def all_of(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


async def test_history_is_what_a_subscription_yields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGE", 4)
    async with running_app(tmp_path) as app, Client(app.url) as client:
        await client.publish(NewDelta("created", "odd", after=RawJson(ODD)))
        await app.publish(*[delta(name, n) for n in range(5) for name in ("a", "b/c d")])
        live: list[Delta] = []
        async for event in client.subscribe(since="earliest"):
            if isinstance(event, Live):
                break
            assert isinstance(event, Delta)
            live.append(event)
        read = await all_of(client.history())
        assert len(read) == 11
        assert [(one.position, one.after_raw, one.before_raw) for one in read] == [
            (one.position, one.after_raw, one.before_raw) for one in live
        ]
        assert read[0].after_raw == ODD.encode()
        assert [one.seq for one in await all_of(client.history(order="desc"))] == list(range(11, 0, -1))
        assert [one.seq for one in await all_of(client.history("b/c d", after=5, before=11))] == [7, 9]
        assert await all_of(client.history(types="deleted")) == []
        assert await all_of(client.history(since=datetime(2100, 1, 1, tzinfo=UTC))) == []


async def test_sessions_states_diffs_and_blame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGE", 1)
    async with running_app(tmp_path) as app, Client(app.url) as client:
        name = "a/diff é"
        await client.publish(NewDelta("created", name, after={"v": 1, "w": [1]}))
        await client.publish(NewDelta("updated", name, after={"v": 2, "w": [1]}))
        await client.publish(NewDelta("created", "odd", after=RawJson(ODD)))
        await client.publish(NewDelta("deleted", "odd"))
        listed = await all_of(client.sessions())
        assert [(one.session_id, one.seq, one.count, one.deleted) for one in listed] == [
            ("odd", 4, 2, True),
            (name, 2, 2, False),
        ]
        assert isinstance(listed[0], SessionInfo)
        now, then = await client.state(name), await client.state(name, at=1)
        assert (now.state, now.seq, then.state, then.seq) == ({"v": 2, "w": [1]}, 2, {"v": 1, "w": [1]}, 1)
        assert (await client.state("odd", at=3)).state_raw == ODD.encode()
        gone = await client.state("odd")
        assert (gone.state, gone.deleted, gone.erased) == (None, True, False)
        assert await client.diff(name) == [{"op": "replace", "path": "/v", "value": 2}]
        assert await client.diff(name, 1, 2, form="merge") == {"v": 2}
        touches = await all_of(client.blame(name, "/v"))
        assert [(one.seq, one.type, one.before, one.after) for one in touches] == [
            (2, "updated", 1, 2),
            (1, "created", None, 1),
        ]
        assert isinstance(touches[0], Touch)


async def test_stats_head_and_export(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, Client(app.url) as client:
        await app.publish(delta("a", 1), delta("b", 2))
        assert (await client.stats())["head"] == 2
        lines = b"".join(await all_of(client.export("b"))).splitlines()
        assert [json.loads(line)["seq"] for line in lines] == [2]
        assert len(json.loads(b"".join(await all_of(client.export(format="json"))))) > 0
        head = await client.head()
        assert (head["seq"], len(head["hash"]), "signature" in head) == (2, 64, True)


async def test_what_the_recorder_answers_is_raised_as_its_error(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, Client(app.url) as client:
        await app.publish(delta("a"))
        with pytest.raises(NotFound, match="is not known"):
            await client.state("nobody")
        with pytest.raises(NotFound):
            await all_of(client.blame("nobody"))
        with pytest.raises(ClientError, match="an empty list names none"):
            client.history([])
        with pytest.raises(ClientError, match="must have an offset"):
            client.history(since=datetime(2026, 1, 1))
        with pytest.raises(ClientError, match="UTF-8"):
            await client.state("\ud83d")
    async with running_app(None) as app, Client(app.url) as client:
        with pytest.raises(NotRecording):
            await all_of(client.history())
        with pytest.raises(NotRecording):
            await all_of(client.export())


async def test_the_token_is_the_clients_and_a_function_is_asked_again(tmp_path: Path) -> None:
    tokens = [signed(exp=1), signed(exp=time.time() + 600)]
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path)) as app:
        await app.publish(delta("a"))
        async with Client(app.url, token=lambda: tokens.pop(0) if len(tokens) > 1 else tokens[0]) as client:
            assert (await client.state("a")).seq == 1
        async with Client(app.url, token=signed(exp=1)) as client:
            with pytest.raises(TokenRefused, match="expired"):
                await client.stats()
            with pytest.raises(TokenRefused, match="expired"):
                await all_of(client.export())


async def test_a_recorder_that_is_not_there_is_said_at_once() -> None:
    async with Client("http://127.0.0.1:9") as client:
        for ask in (
            client.stats,
            client.head,
            lambda: all_of(client.export()),
            lambda: all_of(client.sessions()),
        ):
            with pytest.raises(Unavailable, match="is a recorder running there"):
                await ask()


async def test_what_is_no_recorder_is_said_in_words() -> None:
    async with FakeRecorder() as server, Client(server.url) as client:
        server.refusals.extend([404, 502])
        with pytest.raises(ClientError, match="is this the URL of a recorder"):
            await client.stats()
        with pytest.raises(Unavailable, match="answered 502"):
            await client.stats()


async def test_a_closed_client_reads_no_more(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        client = Client(app.url, options=ClientOptions())
        await client.stats()
        await client.aclose()
        await client.aclose()
        for ask in (client.stats, lambda: client.state("a"), lambda: all_of(client.history())):
            with pytest.raises(Closed):
                await ask()
