"""HTTP connections that stand still: told so where they can be, ended in any case, and nothing of them stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.http11 import Request

from recorder.engine.catchup import Feed
from recorder.engine.conflation import Conflation
from recorder.net.http import HttpConnection
from recorder.net.publisher import Publisher
from recorder.net.subscriber import Subscriber
from recorder.net.websocket import WebSocket
from recorder.net.ws_protocol import StateMachine
from tests.support.app import App, running_app, some, turn_until
from tests.support.http import JSON, bare, client, request
from tests.support.wire import TEXT

STILL = {"stall_timeout": 60}


async def until_left(app: App) -> None:
    await turn_until(lambda: app.recorder.door.admission.connections == 0)
    assert app.server.server_state.connections == set()
    await turn_until(lambda: not app.server.server_state.tasks)


@pytest.mark.parametrize("sent", [b"", b"[{"])
async def test_a_body_that_stops_coming_is_told_so(sent: bytes) -> None:
    async with running_app(None, **STILL) as app, bare(app) as wire:
        await wire.send(request(app, "POST /api/deltas", [*JSON.items(), ("Content-Length", "100")], sent))
        status, headers, problem = await wire.answer()
        assert (status, problem["code"], headers["connection"]) == (408, "request_timeout", "close")
        assert "STALL_TIMEOUT" in problem["hint"]
        assert await wire.rest() == b""
        await until_left(app)
        assert app.recorder.metrics.turned_away == {"stall_timeout": 1}


async def test_an_answer_that_is_not_read_is_broken_off(tmp_path: Path) -> None:
    async with running_app(tmp_path, **STILL) as app:
        await app.publish(*some(3000, size=3000))
        async with bare(app, receive_buffer=2048) as wire:
            await wire.send(request(app, "GET /api/export"))
            await turn_until(lambda: app.recorder.metrics.turned_away)
            assert app.recorder.metrics.turned_away == {"stall_timeout": 1}
            await until_left(app)


async def test_what_moves_is_left_alone(tmp_path: Path) -> None:
    async with running_app(tmp_path, stall_timeout=20_000) as app, client(app) as http:
        await app.publish(*some(1000, size=1000))
        assert len((await http.get("/api/export")).content) > 1_000_000
        assert (await http.post("/api/deltas", json=some(5))).status_code == 201
        async with app.connect() as wire:
            await wire.until("live")
        assert app.recorder.metrics.turned_away == {}


@contextmanager
def without_collector() -> Iterator[None]:
    """What nobody holds any more goes at once, or stays."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def alive(kind: type) -> int:
    """How many of a kind there are."""
    return sum(type(each) is kind for each in gc.get_objects())


async def test_what_answered_a_request_is_gone_with_it_and_waits_for_no_collector() -> None:
    with without_collector():
        async with running_app(None) as app:
            async with app.connect() as wire:
                await wire.until("live")
                assert alive(HttpConnection) == 0
            async with bare(app) as wire:
                await turn_until(lambda: alive(HttpConnection) == 1)
                await wire.send(request(app, "GET /healthz", [("Connection", "close")]))
                assert (await wire.head())[0] == 200
            await until_left(app)
            await turn_until(lambda: alive(HttpConnection) == 0)


async def test_an_open_websocket_does_not_hold_its_request_or_an_inbox_of_its_own() -> None:
    with without_collector():
        async with running_app(None) as app, app.connect() as one, app.connect("/publish") as other:
            await one.until("live")
            await other.send(TEXT, b'{"type":"created","sessionId":"s","after":1}')
            await other.until("ack")
            assert alive(Request) == 0
            inboxes = {id(connection._inbox) for connection in app.recorder.hub._sockets}
            assert len(inboxes) == 1
            await other.send(TEXT, b'{"type":"created","sessionId":"s","after":1}')
            assert (await other.until("ack"))[-1]["seq"] == 2


async def test_what_a_websocket_was_made_of_is_gone_with_it_and_waits_for_no_collector(
    tmp_path: Path,
) -> None:
    """Full collections are seldom, on purpose: each connection would leave some kilobytes behind for hours."""
    kinds = (WebSocket, StateMachine, Subscriber, Publisher, Feed, Conflation)
    with without_collector():
        async with running_app(tmp_path) as app:
            await app.publish(*some(3))
            for _ in range(3):
                async with (
                    app.connect("/ws?since=earliest&slow=conflate") as one,
                    app.connect("/publish") as other,
                ):
                    await one.until("live")
                    await other.send(TEXT, b'{"type":"created","sessionId":"s","after":1}')
                    await other.until("ack")
                async with app.connect() as closed:
                    await closed.until("live")
                    await closed.close()
            await app.until_gone()
            await turn_until(lambda: not any(alive(kind) for kind in kinds))
