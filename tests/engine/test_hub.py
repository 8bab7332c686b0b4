"""The hub as a whole: what it counts, its heartbeat, and what those leave behind who go."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.core.clock import FakeClock
from tests.support.app import running_app, some, turn, turn_until
from tests.support.wire import CLOSE, close_payload


async def test_a_heartbeat_that_fails_does_not_end_the_keeping_of_deadlines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_app(None, heartbeat_interval=1) as app, app.connect() as wire:
        with monkeypatch.context() as patch:
            failed: list[None] = []

            def fail() -> None:
                failed.append(None)
                raise ZeroDivisionError

            patch.setattr(app.recorder.hub, "_send_heartbeat", fail)
            await turn_until(lambda: len(failed) > 2)
        await wire.until("heartbeat")


async def test_it_counts_who_is_there_and_how_far_behind(tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        running_app(tmp_path, clock=clock) as app,
        app.connect() as live,
        app.connect("/publish") as out,
    ):
        await live.until("live")
        await out.until("hello")
        hub = app.recorder.hub
        assert (
            hub.subscribers,
            app.gateway.connections.publishers,
            hub.lag_bytes,
            hub.outbox_bytes,
            hub.lag_deltas,
        ) == (
            1,
            1,
            0,
            0,
            0,
        )
        await app.publish(*some(4000, size=500))
        await live.deltas(4000)
        async with app.connect("/ws?since=earliest", receive_buffer=2048) as behind:
            app.narrow()
            await turn_until(lambda: hub.outbox_bytes > 100_000)
            assert hub.subscribers == 2
            assert hub.lag_bytes == hub.outbox_bytes
            assert hub.lag_deltas > 1000
            behind.open_wide()
            await behind.until("live")
        assert app.gateway.metrics.resumes == {"latest": 1, "resumed": 1}
        assert app.gateway.metrics.deliveries == 8000


async def test_a_subscriber_that_leaves_in_the_middle_of_history_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*some(4000, size=500))
        for _ in range(5):
            async with app.connect("/ws?since=earliest", receive_buffer=2048) as wire:
                await wire.take(5)
                await wire.send(CLOSE, close_payload(1000))
                await turn(5)
            await app.until_gone()
        assert app.recorder.hub._feeds == set()
        assert app.recorder.hub.fanout.receivers == 0


async def test_a_heartbeat_waits_for_the_pieces_of_a_long_publish_but_not_for_ever() -> None:
    clock = FakeClock()
    async with running_app(None, clock=clock, heartbeat_interval=10_000) as app, app.connect() as wire:
        await wire.until("live")
        hub = app.recorder.hub
        app.publish_nowait(*some(200, size=20_000))
        assert hub.fanout.is_behind
        clock.advance(11)
        hub.sweep()
        assert hub.fanout.is_behind
        clock.advance(10)
        hub.sweep()
        assert not hub.fanout.is_behind
        assert await wire.deltas(200) == list(range(1, 201))
        clock.advance(10)
        hub.sweep()
        assert (await wire.event())["through"] == 200
