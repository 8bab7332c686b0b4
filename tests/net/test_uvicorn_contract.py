"""What uvicorn does with a WebSocket protocol class. It is documented nowhere, and `hub.socket` stands on it.

Where one of these fails after an update of uvicorn, `hub/socket.py` wants to be read again beside its release notes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvicorn

from recorder.server.serve import base_url, listen
from tests.support.wire import Wire, answer, frame, open_socket, request_head


class Recording(asyncio.Protocol):
    """Notes everything that uvicorn does to it; answers the upgrade by hand."""

    made: Any = None  # the last one

    def __init__(self, **options: Any) -> None:
        Recording.made = self
        self.options = options
        self.calls: list[str] = []
        self.data: list[bytes] = []
        self.protocol_while_upgrading: object = None
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("connection_made")
        self.transport = cast(asyncio.Transport, transport)
        self.in_connections = self in self.options["server_state"].connections
        self.options["server_state"].connections.add(self)

    def data_received(self, data: bytes) -> None:
        self.calls.append("data_received")
        self.data.append(data)
        if len(self.data) == 1:
            self.protocol_while_upgrading = self.transport.get_protocol()
            self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    def shutdown(self) -> None:
        self.calls.append("shutdown")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("connection_lost")
        self.options["server_state"].connections.discard(self)
        self.lost.set()


async def no_content(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http", "uvicorn must not start the application for an upgrade"
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@asynccontextmanager
async def running() -> AsyncIterator[tuple[uvicorn.Server, str]]:
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        no_content,
        ws=Recording,
        http="httptools",
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield server, base_url(listener)
    finally:
        for listening in server.servers:
            listening.close()
        listener.close()


@asynccontextmanager
async def upgraded(url: str, *, more: bytes = b"") -> AsyncIterator[Wire]:
    wire = Wire(await open_socket(url))
    try:
        await wire.raw(request_head(url, "/ws?session=a%20b", [("X-Mixed", "Case Kept")]) + more)
        assert await answer(wire) == (101, "")
        yield wire
    finally:
        wire.sock.close()
        await Recording.made.lost.wait()


async def test_the_class_is_called_with_the_configuration_and_the_servers_state() -> None:
    async with running() as (server, url), upgraded(url):
        options = Recording.made.options
        assert set(options) == {"config", "server_state", "app_state"}
        assert options["config"] is server.config
        assert options["server_state"] is server.server_state


async def test_it_gets_the_transport_first_and_then_the_whole_head_of_the_request_in_one_piece() -> None:
    async with running() as (_, url), upgraded(url):
        made = Recording.made
        assert made.calls == ["connection_made", "data_received"]
        lines = made.data[0].split(b"\r\n")
        assert lines[0] == b"GET /ws?session=a%20b HTTP/1.1"
        assert lines[-2:] == [b"", b""]
        assert b"x-mixed: Case Kept" in lines


async def test_it_becomes_the_transports_protocol_only_after_it_has_taken_the_head() -> None:
    """So a `pause_writing` out of what is written meanwhile goes to the HTTP protocol, and is never heard of."""
    async with running() as (_, url):
        async with upgraded(url) as wire:
            made = Recording.made
            assert made.protocol_while_upgrading is not made
            assert made.transport.get_protocol() is made
            await wire.raw(b"more")
        assert made.data[1:] == [b"more"]


async def test_uvicorn_counts_only_what_adds_itself_and_forgets_its_own_protocol() -> None:
    async with running() as (server, url), upgraded(url):
        assert not Recording.made.in_connections
        assert server.server_state.connections == {Recording.made}


async def test_what_comes_along_with_the_requests_head_is_dropped() -> None:
    """No client may send before it has the answer (RFC 6455, section 4.1); one that does is not heard."""
    async with running() as (_, url):
        async with upgraded(url, more=frame(1, b"too early")) as wire:
            await wire.raw(b"in time")
        assert Recording.made.data[1:] == [b"in time"]


async def test_stopping_calls_shutdown_once_and_waits_until_the_connection_has_discarded_itself() -> None:
    async with running() as (server, url), upgraded(url):
        await server.shutdown()
        assert Recording.made.calls[2:] == ["shutdown", "connection_lost"]
        assert server.server_state.connections == set()


async def test_stopping_waits_no_longer_than_it_was_told_for_one_that_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Recording, "shutdown", lambda self: self.calls.append("shutdown"))
    async with running() as (server, url), upgraded(url):
        # uvicorn's annotation says whole seconds; parts of one do as well.
        server.config.timeout_graceful_shutdown = 0.2
        await server.shutdown()
        assert Recording.made.calls[2:] == ["shutdown"]


async def test_an_upgrade_to_anything_else_goes_to_the_application_as_plain_http() -> None:
    async with running() as (_, url):
        Recording.made = None
        wire = Wire(await open_socket(url))
        await wire.raw(request_head(url, "/ws", [("upgrade", "h2c")]))
        assert (await answer(wire))[0] == 204
        assert Recording.made is None
        wire.sock.close()
