"""Readers that take less than they are sent: closed with a position that loses nothing, and at nobody else's cost."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from recorder.core.clock import FakeClock
from recorder.net.peer_state import outstanding
from recorder.net.websocket import SLOWEST_RATE
from tests.support.app import App, delta, running_app, some, turn, turn_until
from tests.support.wire import CLOSE, PATIENCE, PING, Ending, Wire, frame

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is acknowledged")
NARROW = {
    "slow_soft_bytes": 50_000,
    "slow_soft_time": 1000,
    "slow_hard_bytes": 400_000,
    "slow_close_grace": 5000,
}


def seqs(events: list[dict[str, Any]]) -> list[int]:
    return [event["seq"] for event in events if event["event"] == "delta"]


async def let_go(app: App, wire: Wire) -> Ending:
    """What a reader that was closed as too slow can still read; the position in the reason is the last of it."""
    wire.open_wide()
    ending = await wire.ending()
    assert ending.code == 4408
    sent = seqs(ending.events)
    assert ending.reason == app.at(sent[-1])
    return ending


async def test_one_that_never_reads_is_closed_with_the_last_position_it_can_still_read(
    tmp_path: Path,
) -> None:
    """A slow client is closed with its position and resumes; the others notice nothing."""
    clock = FakeClock()
    async with (
        running_app(tmp_path, clock=clock, **NARROW) as app,
        app.connect(receive_buffer=2048) as slow,
        app.connect() as healthy,
        app.connect("/ws?session=s", receive_buffer=2048) as slow_too,
    ):
        await slow.until("live")
        await healthy.until("live")
        await slow_too.until("live")
        app.narrow()
        took: list[int] = []
        while app.recorder.hub.subscribers > 1:
            await app.publish(*some(20, size=1000))
            took += await healthy.deltas(app.head)
            clock.advance(0.3)
            # The limit, what came within the time of a burst, and one batch more.
            assert app.recorder.hub.lag_bytes <= 400_000 + 3 * 50_000
        for _ in range(3):
            await app.publish(*some(20, size=1000))
            took += await healthy.deltas(app.head)
        assert took == list(range(1, app.head + 1))
        assert app.gateway.metrics.slow_closed == 2
        for wire in (slow, slow_too):
            ending = await let_go(app, wire)
            sent = seqs(ending.events)
            assert sent == list(range(1, sent[-1] + 1))
            async with app.connect(f"/ws?since={ending.reason}") as again:
                assert await again.deltas(app.head) == list(range(sent[-1] + 1, app.head + 1))


async def test_the_soft_limit_has_time_and_counts_only_while_it_is_exceeded(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, **NARROW) as app, app.connect(receive_buffer=2048) as wire:
        await wire.until("live")
        app.narrow()
        (connection,) = app.gateway.connections._sockets
        await app.publish(*some(100, size=1000))
        clock.advance(0.9)
        app.sweep()
        # It reads until it is below the limit for a moment, though still far from having read all.
        while connection.unsent > 45_000:
            await wire.event()
        assert connection.unsent > 12_500
        app.sweep()
        await app.publish(*some(100, size=1000))
        assert connection.unsent > 50_000
        clock.advance(0.9)
        app.sweep()
        assert app.gateway.metrics.fallbacks == 0
        clock.advance(0.1)
        app.sweep()
        assert app.gateway.metrics.fallbacks == 1


async def test_one_that_goes_on_reading_but_stays_behind_is_served_from_history_instead_of_closed(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, **NARROW) as app, app.connect(receive_buffer=2048) as wire:
        await wire.until("live")
        app.narrow()
        (connection,) = app.gateway.connections._sockets
        events: list[dict[str, Any]] = []
        while not app.gateway.metrics.fallbacks:
            await app.publish(*some(10, size=1000))
            events += await wire.take(5)
            clock.advance(0.05)
            app.sweep()
        # From here on it is sent no more than it takes, however much is published.
        held = connection.unsent
        await app.publish(*some(1000, size=1000))
        assert connection.unsent <= held
        wire.open_wide()
        events += await wire.until("live")
        assert seqs(events) == list(range(1, app.head + 1))
        assert (await app.publish(*some(1)), app.head) == ((await wire.event())["seq"], app.head)
        assert app.gateway.metrics.slow_closed == 0


async def test_one_that_is_served_from_history_again_and_takes_nothing_is_closed(tmp_path: Path) -> None:
    clock = FakeClock()
    limits = {**NARROW, "ping_timeout": 2000}
    async with running_app(tmp_path, clock=clock, **limits) as app, app.connect(receive_buffer=2048) as wire:
        await wire.until("live")
        app.narrow()
        while not app.gateway.metrics.fallbacks:
            await app.publish(*some(10, size=1000))
            await wire.take(5)
            clock.advance(0.05)
            app.sweep()
        (connection,) = app.gateway.connections._sockets
        # What it still takes, and the pieces of history that still follow, come when the machine lets them.
        last_moved, taken = clock.monotonic(), -1
        async with asyncio.timeout(PATIENCE):
            while app.recorder.hub.subscribers:
                if connection.is_writable or connection._taken != taken:
                    last_moved, taken = clock.monotonic(), connection._taken
                await turn()
                clock.advance(1)
                app.sweep()
        assert clock.monotonic() - last_moved <= 4
        ending = await let_go(app, wire)
        async with app.connect(f"/ws?since={ending.reason}") as again:
            last = await app.publish(*some(1))
            assert (await again.deltas(last))[-1] == last


async def test_a_burst_beyond_the_hard_limit_closes_nobody_who_drains_it(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, **NARROW) as app, app.connect(receive_buffer=2048) as wire:
        await wire.until("live")
        app.narrow()
        (connection,) = app.gateway.connections._sockets
        # Several ticks one after the other, as a large array and what follows it make: no time to read between.
        for _ in range(6):
            app.publish_nowait(*some(150, size=1000))
            await turn(2)
        assert connection.unsent > 2 * 400_000
        app.sweep()
        wire.open_wide()
        assert await wire.deltas(900) == list(range(1, 901))
        # Long ago by now: the next burst is judged by itself.
        clock.advance(10)
        app.publish_nowait(*some(600, size=1000))
        app.publish_nowait(*some(1))
        assert await wire.deltas(1501) == list(range(901, 1502))
        assert app.gateway.metrics.slow_closed == 0


async def test_beyond_the_hard_limit_no_time_is_left(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, **NARROW) as app, app.connect(receive_buffer=2048) as wire:
        await wire.until("live")
        app.narrow()
        for _ in range(5):
            await app.publish(*some(100, size=1000))
        clock.advance(0.26)
        await app.publish(*some(1))
        assert app.recorder.hub.subscribers == 0
        assert seqs((await let_go(app, wire)).events) == list(range(1, 501))


async def test_one_that_is_let_go_and_never_reads_is_cut_when_its_time_to_fetch_is_over(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, **NARROW) as app, app.connect(receive_buffer=2048) as wire:
        await wire.until("live")
        app.narrow()
        await app.publish(*some(100, size=1000))
        clock.advance(1)
        app.sweep()
        assert app.gateway.connections._sockets
        clock.advance(4.9)
        app.sweep()
        await turn()
        assert app.gateway.connections._sockets
        clock.advance(0.2)
        app.sweep()
        await app.until_gone()


async def test_pongs_that_are_not_read_do_not_pile_up() -> None:
    async with (
        running_app(None, clock=FakeClock(), **NARROW) as app,
        app.connect(receive_buffer=2048) as wire,
    ):
        await wire.until("live")
        app.narrow()
        (connection,) = app.gateway.connections._sockets
        flood = asyncio.create_task(wire.raw(frame(PING, b"p" * 125) * 80_000), name="flood")
        await flood
        await turn_until(lambda: not app.recorder.hub.subscribers)
        assert connection.unsent < 2_000_000
        wire.open_wide()
        while (got := await wire.frame()).opcode != CLOSE:
            pass
        assert got.payload[:2] == (4408).to_bytes(2, "big")


# History


async def test_history_follows_the_readers_pace_and_recording_goes_on(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, slow_soft_time=1000, ping_timeout=2000) as app:
        await app.publish(*some(6000, size=500))
        async with app.connect("/ws?since=earliest", receive_buffer=2048) as wire:
            app.narrow()
            (connection,) = app.gateway.connections._sockets
            await turn_until(lambda: not connection.is_writable)
            most = 0
            for _ in range(5):
                await app.publish(*some(100, size=500))
                await turn(100)
                most = max(most, connection.unsent)
            assert most < 1_600_000
            assert app.recorder.recording.recorded == 6500
            assert app.recorder.hub.lag_deltas > 3000
            # Slowly is no fault, as long as it moves.
            events = []
            for _ in range(5):
                before = connection.unsent
                while connection.unsent == before:
                    events.append(await wire.event())
                clock.advance(1.9)
                app.sweep()
            assert app.recorder.hub.subscribers == 1
            wire.open_wide()
            events += await wire.until("live")
            assert seqs(events) == list(range(1, 6501))
            assert app.recorder.hub.lag_deltas == 0


@linux_only
async def test_one_that_takes_its_history_out_of_large_buffers_of_the_kernel_is_not_slow(
    tmp_path: Path,
) -> None:
    """The kernel asks for more only once a third of its megabytes is free: what it had acknowledged counts."""
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, slow_soft_time=1000, ping_timeout=2000) as app:
        for _ in range(4):
            await app.publish(*some(6000, size=500))
        async with app.connect("/ws?since=earliest", receive_buffer=30_000) as wire:
            (connection,) = app.gateway.connections._sockets
            await turn_until(lambda: not connection.is_writable)
            await turn(200)
            for _ in range(5):
                await wire.take(200)
                clock.advance(1.9)
                app.sweep()
            assert app.recorder.hub.subscribers == 1
            clock.advance(2)
            app.sweep()
            assert app.recorder.hub.subscribers == 0


@linux_only
async def test_a_pong_is_waited_for_while_what_stands_before_it_is_taken(tmp_path: Path) -> None:
    clock = FakeClock()
    pings = {"ping_interval": 2000, "ping_timeout": 2000}
    async with (
        running_app(tmp_path, clock=clock, **pings) as app,
        app.connect(receive_buffer=30_000) as wire,
    ):
        await wire.until("live")
        (connection,) = app.gateway.connections._sockets
        await app.publish(*some(700, size=500))
        await turn(200)
        assert connection.is_writable
        for _ in range(5):
            clock.advance(1.9)
            app.sweep()
            await wire.take(100)
        assert app.recorder.hub.subscribers == 1
        app.sweep()
        clock.advance(2 + 2_000_000 // SLOWEST_RATE)
        app.sweep()
        assert app.recorder.hub.subscribers == 0


async def test_what_was_acknowledged_may_wait_to_be_read_before_a_pong_is_due() -> None:
    clock = FakeClock()
    pings = {"ping_interval": 1000, "ping_timeout": 1000}
    async with running_app(None, clock=clock, **pings) as app, app.connect() as wire:
        await wire.until("live")
        (connection,) = app.gateway.connections._sockets
        app.publish_nowait(*some(30, size=1000))
        await turn()
        clock.advance(1)
        app.sweep()
        assert connection._pong_due
        # Two states of a kilobyte each in thirty deltas take four seconds at the slowest rate.
        await turn_until(lambda: outstanding(connection.transport) == 0)
        app.sweep()
        clock.advance(4)
        app.sweep()
        assert app.recorder.hub.subscribers == 1
        clock.advance(2)
        app.sweep()
        assert app.recorder.hub.subscribers == 0


async def test_a_delta_longer_than_every_limit_arrives_at_a_slow_reader(tmp_path: Path) -> None:
    clock = FakeClock()
    limits = {**NARROW, "max_delta_bytes": 8 << 20, "ping_timeout": 2000}
    async with running_app(tmp_path, clock=clock, **limits) as app:
        await app.publish(delta("long", 1, after={"pad": "x" * (6 << 20)}), delta("s", 2))
        async with app.connect("/ws?since=earliest", receive_buffer=30_000) as wire:
            app.narrow()
            taking = asyncio.create_task(wire.take(3), name="taking")
            while not taking.done():
                await turn(5)
                clock.advance(0.3)
                app.sweep()
            assert [event.get("seq") for event in await taking] == [None, 1, 2]
            assert app.gateway.metrics.slow_closed == 0


async def test_one_that_stops_reading_its_history_is_closed_with_its_position(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, slow_soft_time=1000, ping_timeout=2000) as app:
        await app.publish(*some(6000, size=500))
        async with app.connect("/ws?since=earliest", receive_buffer=2048) as wire:
            app.narrow()
            (connection,) = app.gateway.connections._sockets
            await turn_until(lambda: not connection.is_writable)
            app.sweep()
            clock.advance(1.9)
            app.sweep()
            assert app.recorder.hub.subscribers == 1
            clock.advance(0.1)
            app.sweep()
            ending = await let_go(app, wire)
            last = seqs(ending.events)[-1]
            assert last < 6000
        async with app.connect(f"/ws?since={ending.reason}") as again:
            assert await again.deltas(6000) == list(range(last + 1, 6001))


async def test_one_that_is_cut_among_states_begins_with_the_states_again(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, slow_soft_time=1000, ping_timeout=1000) as app:
        for n in range(2000):
            app.publish_nowait(*some(1, f"s{n}", size=2000))
        async with app.connect("/ws?since=other:1", receive_buffer=2048) as wire:
            app.narrow()
            (connection,) = app.gateway.connections._sockets
            await turn_until(lambda: not connection.is_writable)
            assert connection.unsent < 600_000
            app.sweep()
            clock.advance(1)
            app.sweep()
            wire.open_wide()
            ending = await wire.ending()
            assert (ending.code, ending.reason) == (4408, "state")
            assert 0 < len(ending.events) < 2000
        async with app.connect(f"/ws?since={ending.reason}") as again:
            assert len(await again.until("live")) == 2002


async def test_while_a_slow_one_catches_up_heartbeats_do_not_pile_up(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, heartbeat_interval=100) as app:
        await app.publish(*some(3000, size=500))
        async with app.connect("/ws?since=earliest", receive_buffer=2048):
            app.narrow()
            (connection,) = app.gateway.connections._sockets
            await turn_until(lambda: not connection.is_writable)
            before = connection.unsent
            for _ in range(20):
                clock.advance(0.2)
                app.sweep()
            assert connection.unsent <= before


@pytest.mark.parametrize("healthy_count", [20])
async def test_a_slow_one_among_many_costs_the_others_nothing(tmp_path: Path, healthy_count: int) -> None:
    """Proved by order and by nobody closed, not by a clock: each batch reaches all others before the next is sent."""
    limits = {**NARROW, "slow_soft_time": 60_000, "slow_hard_bytes": 1_000_000}
    async with running_app(tmp_path, **limits) as app, AsyncExitStack() as stack:
        slow = await stack.enter_async_context(app.connect(receive_buffer=2048))
        await slow.until("live")
        app.narrow()
        healthy = [await stack.enter_async_context(app.connect()) for _ in range(healthy_count)]
        for wire in healthy:
            await wire.until("live")
        for _ in range(30):
            await app.publish(*some(10, size=1000))
            for wire in healthy:
                assert (await wire.deltas(app.head))[-10:] == list(range(app.head - 9, app.head + 1))
        assert app.recorder.hub.fanout.receivers == healthy_count + 1
        assert app.gateway.metrics.slow_closed == 0
