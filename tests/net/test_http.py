"""HTTP connections that stand still: told so where they can be, ended in any case, and nothing of them stays."""

from __future__ import annotations

import gc
import weakref
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

STILL = {"http_stall_timeout": 60}


async def until_left(app: App) -> None:
    await turn_until(lambda: app.gateway.upgrades.admission.connections == 0)
    assert app.server.server_state.connections == set()
    await turn_until(lambda: not app.server.server_state.tasks)


@pytest.mark.parametrize("sent", [b"", b"[{"])
async def test_a_body_that_stops_coming_is_told_so(sent: bytes) -> None:
    async with running_app(None, **STILL) as app, bare(app) as wire:
        await wire.send(request(app, "POST /api/deltas", [*JSON.items(), ("Content-Length", "100")], sent))
        status, headers, problem = await wire.answer()
        assert (status, problem["code"], headers["connection"]) == (408, "request_timeout", "close")
        assert "HTTP_STALL_TIMEOUT" in problem["hint"]
        assert await wire.rest() == b""
        await until_left(app)
        assert app.gateway.metrics.rejected == {"stall_timeout": 1}


async def test_an_answer_that_is_not_read_is_broken_off(tmp_path: Path) -> None:
    async with running_app(tmp_path, **STILL) as app:
        await app.publish(*some(3000, size=3000))
        async with bare(app, receive_buffer=2048) as wire:
            await wire.send(request(app, "GET /api/export"))
            await turn_until(lambda: app.gateway.metrics.rejected)
            assert app.gateway.metrics.rejected == {"stall_timeout": 1}
            await until_left(app)


async def test_what_moves_is_left_alone(tmp_path: Path) -> None:
    async with running_app(tmp_path, http_stall_timeout=20_000) as app, client(app) as http:
        await app.publish(*some(1000, size=1000))
        assert len((await http.get("/api/export")).content) > 1_000_000
        assert (await http.post("/api/deltas", json=some(5))).status_code == 201
        async with app.connect() as wire:
            await wire.until("live")
        assert app.gateway.metrics.rejected == {}


@contextmanager
def without_collector() -> Iterator[None]:
    """What nobody holds any more goes at once, or stays."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Births:
    """Objects of some kinds that came to be since this was made: others in the process are no concern of a test.

    One look goes through the whole heap, which takes long where much was loaded; whether those found are still there
    is asked of weak references.

    Args:
        kinds: Which ones; their objects can be referred to weakly.
    """

    def __init__(self, *kinds: type) -> None:
        self._kinds = kinds
        self._before = {id(each): weakref.ref(each) for each in self._all()}
        self._seen: dict[int, weakref.ref[object]] = {}

    def look(self) -> set[type]:
        """Note those that are there now; their kinds."""
        found = set()
        for each in self._all():
            if (old := self._before.get(id(each))) is None or old() is not each:
                self._seen[id(each)] = weakref.ref(each)
                found.add(type(each))
        return found

    @property
    def living(self) -> list[type]:
        """The kinds of those that were noted and are still there."""
        return [type(each) for ref in self._seen.values() if (each := ref()) is not None]

    def _all(self) -> list[object]:
        kinds = self._kinds
        return [each for each in gc.get_objects() if type(each) in kinds]


async def test_what_answered_a_request_is_gone_with_it_and_waits_for_no_collector() -> None:
    with without_collector():
        async with running_app(None) as app:
            births = Births(HttpConnection)
            async with app.connect() as wire:
                await wire.until("live")
                assert births.look() == set()
            async with bare(app) as wire:
                await turn_until(lambda: app.gateway.upgrades.admission.connections == 1)
                assert births.look() == {HttpConnection}
                await wire.send(request(app, "GET /healthz", [("Connection", "close")]))
                assert (await wire.head())[0] == 200
            await until_left(app)
            await turn_until(lambda: not births.living)


async def test_an_open_websocket_does_not_hold_its_request_or_an_inbox_of_its_own() -> None:
    with without_collector():
        births = Births(Request)
        async with running_app(None) as app, app.connect() as one, app.connect("/publish") as other:
            await one.until("live")
            await other.send(TEXT, b'{"type":"created","sessionId":"s","after":1}')
            await other.until("ack")
            assert births.look() == set()
            inboxes = {id(connection._inbox) for connection in app.gateway.connections._sockets}
            assert len(inboxes) == 1
            await other.send(TEXT, b'{"type":"created","sessionId":"s","after":1}')
            assert (await other.until("ack"))[-1]["seq"] == 2


async def test_what_a_websocket_was_made_of_is_gone_with_it_and_waits_for_no_collector(
    tmp_path: Path,
) -> None:
    """Full collections are seldom, on purpose: each connection would leave some kilobytes behind for hours."""
    subscribing = {WebSocket, StateMachine, Subscriber, Feed, Conflation}
    with without_collector():
        async with running_app(tmp_path) as app:
            await app.publish(*some(3))
            births = Births(*subscribing, Publisher)
            for _ in range(3):
                async with (
                    app.connect("/ws?since=earliest&slow=conflate") as one,
                    app.connect("/publish") as other,
                ):
                    await one.until("live")
                    await other.send(TEXT, b'{"type":"created","sessionId":"s","after":1}')
                    await other.until("ack")
                    assert births.look() == {*subscribing, Publisher}
                async with app.connect() as closed:
                    await closed.until("live")
                    assert births.look() >= subscribing
                    await closed.close()
            await app.until_gone()
            await turn_until(lambda: not births.living)


# Answers in the order of the requests


UPGRADE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


async def test_an_upgrade_is_answered_after_the_request_before_it() -> None:
    async with running_app(None) as app, bare(app) as wire:
        await wire.send(request(app, "GET /healthz") + request(app, "GET /ws", UPGRADE))
        assert (await wire.head())[0] == 200
        assert await wire.reader.readexactly(3) == b"ok\n"
        status, headers = await wire.head()
        assert (status, headers["upgrade"].lower()) == (101, "websocket")
        assert b'"event":"hello"' in await wire.reader.readuntil(b"}")


async def test_what_is_sent_behind_an_upgrade_is_read_by_the_websocket() -> None:
    close = bytes([0x88, 0x82, 0, 0, 0, 0]) + (1000).to_bytes(2, "big")
    async with running_app(None) as app, bare(app) as wire:
        await wire.send(request(app, "GET /healthz") + request(app, "GET /publish", UPGRADE) + close)
        assert (await wire.head())[0] == 200
        assert await wire.reader.readexactly(3) == b"ok\n"
        assert (await wire.head())[0] == 101
        assert (await wire.rest()).endswith(bytes([0x88, 2]) + (1000).to_bytes(2, "big"))


@pytest.mark.parametrize(
    "bad",
    [b"nonsense\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"],
)
async def test_what_cannot_be_read_is_told_after_the_answers_before_it(bad: bytes) -> None:
    async with running_app(None) as app, bare(app) as wire:
        await wire.send(request(app, "GET /healthz") * 3 + bad)
        for _ in range(3):
            assert (await wire.head())[0] == 200
            assert await wire.reader.readexactly(3) == b"ok\n"
        status, headers, problem = await wire.answer()
        assert (status, problem["code"], headers["connection"]) == (400, "invalid_request", "close")
        assert await wire.rest() == b""
        await until_left(app)


async def test_a_late_head_does_not_stand_in_the_middle_of_an_answer() -> None:
    async with running_app(None, request_head_timeout=60) as app, bare(app) as wire:
        await wire.send(request(app, "GET /api/stream") + b"GET /hea")
        await turn_until(lambda: app.gateway.metrics.rejected)
        await app.publish({"type": "updated", "sessionId": "s", "after": {"n": 1}})
        app.gateway.end_streams()
        text = await wire.rest()
        stream, end, last = text.partition(b"\r\n0\r\n\r\n")
        assert b'"sessionId":"s"' in stream
        assert b"HTTP/1.1 408" not in stream
        assert end
        assert last.startswith(b"HTTP/1.1 408 ")


async def test_a_broken_body_is_told_in_its_turn() -> None:
    chunked = [*JSON.items(), ("Transfer-Encoding", "chunked")]
    async with running_app(None) as app, bare(app) as wire:
        await wire.send(request(app, "GET /healthz") + request(app, "POST /api/deltas", chunked, b"zz\r\n"))
        assert (await wire.head())[0] == 200
        assert await wire.reader.readexactly(3) == b"ok\n"
        assert (await wire.answer())[2]["code"] == "invalid_request"
        await until_left(app)


async def test_an_offer_of_http_2_is_passed_over_and_what_follows_is_answered() -> None:
    offer = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")]
    async with running_app(None) as app, bare(app) as wire:
        await wire.send((request(app, "GET /healthz", offer) + request(app, "GET /readyz")) * 2)
        for _ in range(2):
            assert (await wire.head())[0] == 200
            assert await wire.reader.readexactly(3) == b"ok\n"
            assert (await wire.answer())[0] == 200


@pytest.mark.parametrize("split", [False, True])
async def test_the_body_behind_an_offer_of_http_2_is_no_request_of_its_own(split: bool) -> None:
    offer = [
        ("Connection", "keep-alive, Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMA"),
    ]
    body = b'{"type":"updated","sessionId":"GET /healthz HTTP/1.1","after":1}'
    async with running_app(None) as app, bare(app) as wire:
        post = [*offer, *JSON.items(), ("Content-Length", str(len(body)))]
        await wire.send(request(app, "POST /api/deltas", post) + (b"" if split else body))
        if split:
            await turn_until(lambda: bool(app.server.server_state.tasks))
            await wire.send(body)
        status, _, accepted = await wire.answer()
        assert (status, accepted["seq"]) == (201, 1)
        await wire.send(request(app, "GET /readyz"))
        assert (await wire.answer())[0] == 200


async def test_a_tunnel_is_not_made() -> None:
    for target in ("example.org:80", "/healthz"):
        async with running_app(None) as app, bare(app) as wire:
            await wire.send(request(app, f"CONNECT {target}"))
            assert (await wire.answer())[2]["code"] == "invalid_request"
            assert await wire.rest() == b""


# The length of a head


@pytest.mark.parametrize("before", [0, 1])
async def test_a_head_that_comes_at_once_has_the_same_limit(before: int) -> None:
    async with running_app(None, max_header_bytes=8192) as app, bare(app) as wire:
        for _ in range(before):
            await wire.send(request(app, "GET /healthz"))
            assert (await wire.head())[0] == 200
            assert await wire.reader.readexactly(3) == b"ok\n"
        await wire.send(request(app, "GET /healthz", [("X", "x" * 9000)]))
        status, _, problem = await wire.answer()
        assert (status, problem["detail"]) == (400, "the head of the request is longer than 8192 bytes")
        assert app.gateway.metrics.rejected == {"header_bytes": 1}


async def test_the_limit_of_a_head_does_not_count_bodies() -> None:
    body = b'[{"type":"updated","sessionId":"s","after":"%b"}]' % (b"x" * 40_000)
    post = [*JSON.items(), ("Content-Length", str(len(body)))]
    async with running_app(None, max_header_bytes=8192) as app, bare(app) as wire:
        for _ in range(2):
            await wire.send(request(app, "POST /api/deltas", post, body) + request(app, "GET /readyz")[:-4])
            assert (await wire.answer())[0] == 201
            await wire.send(b"\r\n\r\n")
            assert (await wire.answer())[0] == 200


# Failures of ours are not the sender's


@pytest.mark.parametrize(
    "failure", [MemoryError(), RuntimeError("can't start new thread"), OSError(24, "files")]
)
async def test_what_the_system_refuses_while_a_request_is_read_is_no_bad_request(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: HttpConnection, *args: object) -> None:
        raise failure

    async with running_app(None) as app, bare(app) as wire:
        with monkeypatch.context() as patch:
            patch.setattr(HttpConnection, "_start_asgi_task", fail)
            await wire.send(request(app, "GET /healthz"))
            status, headers, problem = await wire.answer()
        assert (status, problem["code"], headers["retry-after"]) == (503, "unavailable", "1")
        assert app.gateway.metrics.failed_requests == 1
        await until_left(app)


async def test_a_connection_is_kept_as_long_as_the_setting_says() -> None:
    async with running_app(None, keep_alive_timeout=50) as app, bare(app) as wire:
        await wire.send(request(app, "GET /healthz"))
        assert (await wire.rest()).endswith(b"ok\n")
        await until_left(app)
    async with running_app(None) as app:
        assert app.server.config.timeout_keep_alive == 75


@pytest.mark.parametrize("size", [3_000_000, 40_000_000])
async def test_a_sender_that_is_refused_in_the_middle_of_its_body_finds_the_answer(size: int) -> None:
    async with running_app(None, max_message_bytes=1_000_000) as app, bare(app) as wire:
        await wire.send(request(app, "POST /api/deltas", [*JSON.items(), ("Content-Length", str(size))]))
        for _ in range(size // 100_000):  # as clients do that read nothing before they have sent all
            await wire.send(b"x" * 100_000)
        status, headers, problem = await wire.answer()
        assert (status, problem["code"], headers["connection"]) == (413, "message_too_large", "close")
        assert await wire.rest() == b""
        wire.writer.close()
        await until_left(app)


async def test_a_sender_that_is_refused_and_stays_is_left_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recorder.net.http.LINGER_SECONDS", 0.05)
    async with running_app(None, max_message_bytes=1_000_000) as app, bare(app) as wire:
        await wire.send(request(app, "POST /api/deltas", [*JSON.items(), ("Content-Length", "9000000")]))
        assert (await wire.answer())[0] == 413
        assert await wire.rest() == b""
        await until_left(app)
