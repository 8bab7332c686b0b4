"""A recorder with its real server on a port of its own, inside the test's event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from recorder.app import Recorder
from recorder.config.settings import Settings, load_settings
from recorder.core.clock import Clock
from recorder.net.tls import server_tls
from recorder.server.gateway import Gateway, open_gateway
from recorder.server.serve import UvicornServer, base_url, listen
from tests.support.wire import PATIENCE, Wire, connect


class App:
    """A running recorder. Made by `running_app`.

    Args:
        gateway: Its recorder is loaded, unless asked otherwise.
        server: Listens.
        url: Its base URL.
    """

    def __init__(self, gateway: Gateway, server: UvicornServer, url: str) -> None:
        self.gateway = gateway
        self.server = server
        self.url = url

    @property
    def recorder(self) -> Recorder:
        """The recorder. Raises `Unavailable` before it is loaded."""
        return self.gateway.recorder

    @property
    def epoch(self) -> str:
        """The current epoch."""
        return self.recorder.hub.epoch

    @property
    def head(self) -> int:
        """The highest seq given."""
        return self.recorder.hub.head

    def at(self, seq: int) -> str:
        """A position in the current epoch."""
        return f"{self.epoch}:{seq}"

    def connect(
        self,
        target: str = "/ws",
        headers: Sequence[tuple[str, str]] = (),
        *,
        receive_buffer: int | None = None,
    ) -> AbstractAsyncContextManager[Wire]:
        """A bare WebSocket connection to it."""
        return connect(self.url, target, headers, receive_buffer=receive_buffer)

    async def until_gone(self) -> None:
        """Until no connection is left."""
        hub, connections = self.recorder.hub, self.gateway.connections
        await turn_until(lambda: not (hub.subscribers or connections.publishers or connections._sockets))

    def sweep(self) -> None:
        """Do at once what is done several times a second: enforce deadlines, send what is due."""
        self.gateway.connections.sweep()
        self.recorder.hub.sweep()

    def narrow(self) -> None:
        """Let the kernel hold little for the connections that are open: what is not read is soon felt."""
        for connection in self.gateway.connections._sockets:
            sock = connection.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    async def hash_at(self, seq: int) -> str | None:
        """The chain's hash at a recorded seq, in hex."""
        found = await self.recorder.recording.hash_at(seq)
        return None if found is None else found.hex()

    async def publish(self, *deltas: dict[str, Any]) -> int:
        """Publish deltas in one go, without a connection, and wait until they are recorded; the last seq."""
        return (await self.recorder.publish(orjson.dumps(deltas))).seq

    def publish_nowait(self, *deltas: dict[str, Any]) -> int:
        """The same without waiting for anything."""
        return self.recorder.ingest.accept(orjson.dumps(deltas)).seq


async def turn_until(condition: Callable[[], object]) -> None:
    """Let the event loop turn until something is so, for what nobody tells of."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


async def turn(times: int = 50) -> None:
    """Let the event loop turn this often: whatever could happen without anything from outside has happened."""
    for _ in range(times):
        await asyncio.sleep(0)


def delta(session: str = "s", n: int = 0, **fields: Any) -> dict[str, Any]:
    """A delta with a state that tells it apart."""
    return {"type": "updated", "sessionId": session, "after": {"n": n}, **fields}


def some(count: int, session: str = "s", *, size: int = 0) -> list[dict[str, Any]]:
    """Deltas of one session, each with `size` more bytes of state."""
    return [delta(session, n, after={"n": n, "pad": "x" * size}) for n in range(count)]


def settings_for(folder: Path | None, **flags: Any) -> Settings:
    """Settings of a recorder that records in a folder; None: one that does not record."""
    place = {} if folder is None else {"persist": "1", "db_path": folder / "sessions.sqlite"}
    return load_settings(port=0, **{**place, **flags})


@asynccontextmanager
async def running_app(
    folder: Path | None, *, clock: Clock | None = None, load: bool = True, **flags: Any
) -> AsyncIterator[App]:
    """A recorder that listens, and closes everything at the end of the block.

    Args:
        folder: Where it records; None where it does not.
        clock: Its clock; the machine's by default.
        load: Whether it is loaded at once.
        flags: More settings.
    """
    settings = settings_for(folder, **flags)
    tls = server_tls(settings)
    listener = listen(settings.host, 0)
    url = base_url(listener, is_secure=tls is not None)
    try:
        async with open_gateway(settings, clock=clock) as gateway:
            server = UvicornServer(gateway, tls)
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup(sockets=[listener])
            try:
                if load:
                    await gateway.load()
                yield App(gateway, server, url)
            finally:
                # Not uvicorn's shutdown: it sleeps. Who tests that calls it.
                for listening in server.servers:
                    listening.close()
    finally:
        listener.close()
