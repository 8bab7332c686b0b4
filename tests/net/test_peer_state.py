"""Publishers that are held back and go: noticed at once, though nobody reads what would say so."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from recorder.core.clock import FakeClock
from recorder.net.peer_state import End, end_of
from tests.support.app import App, delta, running_app, some, turn
from tests.support.wire import CLOSE, PING, Wire

SLOW = {"publish_rate": 1, "publish_burst": 10, "publish_max_delay": 86_400_000}
linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells of an end that is not read yet"
)


@asynccontextmanager
async def held_back(app: App) -> AsyncIterator[Wire]:
    """A publisher that is far ahead of its rate: nothing is read from it, and more of it is waiting in the kernel."""
    async with app.connect("/publish") as wire:
        await wire.event()
        await wire.text(some(1000))
        assert (await wire.event())["event"] == "ack"
        await turn()
        (connection,) = app.gateway.connections._sockets
        assert not connection._reading
        await wire.texts([delta("s", n) for n in range(100)])
        yield wire


async def test_one_that_resets_its_connection_is_gone_at_once(tmp_path: Path) -> None:
    async with running_app(tmp_path, clock=FakeClock(), **SLOW) as app, held_back(app) as wire:
        wire.reset()
        await app.until_gone()
        assert app.gateway.upgrades.admission.connections == 0


@linux_only
async def test_one_that_closes_with_more_on_its_way_is_asked_and_found_gone(tmp_path: Path) -> None:
    """Its end stands behind what is not read yet; what we write to it comes back as a reset."""
    async with running_app(tmp_path, clock=FakeClock(), **SLOW) as app, held_back(app) as wire:
        wire.sock.close()
        await app.until_gone()
        assert app.head == 1000


async def test_one_that_only_says_no_more_and_reads_on_is_served_to_its_end(tmp_path: Path) -> None:
    slowed = {**SLOW, "publish_rate": 1000}
    async with running_app(tmp_path, **slowed) as app, app.connect("/publish") as wire:
        await wire.event()
        await wire.texts([delta("s", n) for n in range(100)])
        await wire.send(CLOSE, b"\x03\xe8")
        wire.half_close()
        ended = await wire.ending()
        assert [event["seq"] for event in ended.events] == list(range(1, 101))


async def test_while_it_is_held_back_it_is_pinged_and_need_not_answer(tmp_path: Path) -> None:
    clock = FakeClock()
    pings = {"ping_interval": 20_000, "ping_timeout": 20_000}
    async with running_app(tmp_path, clock=clock, **pings, **SLOW) as app, held_back(app) as wire:
        (connection,) = app.gateway.connections._sockets
        for _ in range(3):
            clock.advance(20)
            app.sweep()
            assert (await wire.frame()).opcode == PING
        # Once it is read again its answers may still be on their way: not an instant later.
        connection.resume_reading()
        app.sweep()
        assert app.gateway.connections.publishers == 1


async def test_the_kernel_is_asked_and_nothing_is_read() -> None:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    async with server:
        address = server.sockets[0].getsockname()
        with socket.create_connection(address) as sock:

            class Transport:
                def get_extra_info(self, name: str) -> object:
                    return sock if name == "socket" else None

            assert end_of(Transport()) is End.OPEN  # type: ignore[arg-type]

        class Nothing:
            def get_extra_info(self, name: str) -> object:
                return None

        assert end_of(Nothing()) is End.OPEN  # type: ignore[arg-type]
        assert end_of(Transport()) is End.GONE  # type: ignore[arg-type]
