"""The hub as a whole: what it counts, how it keeps deadlines, how it closes everyone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from recorder.app import Loading
from recorder.core.clock import FakeClock
from recorder.core.errors import Closed
from tests.support.app import delta, running_app, some, turn, turn_until
from tests.support.wire import CLOSE, close_payload


async def test_stopping_says_going_away_to_all_after_all_they_are_owed(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        async with (
            app.connect() as live,
            app.connect("/ws?since=earliest") as behind,
            app.connect("/publish") as out,
        ):
            await live.until("live")
            await behind.until("live")
            await out.until("hello")
            await out.texts(some(200))
            await turn_until(lambda: app.head == 200)
            app.gateway.stop_intake()
            await out.text(delta())
            await turn()
            for connection in list(app.server.server_state.connections):
                connection.shutdown()
            endings = await asyncio.gather(live.ending(), behind.ending(), out.ending())
            assert [(ending.code, ending.reason) for ending in endings] == [(1001, "going away")] * 3
            assert [event["seq"] for event in endings[0].events] == list(range(1, 201))
            assert [event["seq"] for event in endings[1].events] == list(range(1, 201))
            assert [event.get("seq", event.get("code")) for event in endings[2].events] == [
                *range(1, 201),
                "closed",
            ]
        await app.until_gone()


async def test_leaving_the_recorder_closes_every_connection_and_leaves_no_task(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with running_app(tmp_path, load=False) as app:
        loading = app.gateway._behind
        assert isinstance(loading, Loading)
        await app.gateway.load()
        await app.publish(*some(3000, size=500))
        async with app.connect() as live, app.connect("/ws?since=earliest", receive_buffer=2048) as behind:
            await live.until("live")
            await behind.event()
            subscription = app.recorder.subscribe(since="earliest")
            async with subscription as events:
                await anext(aiter(events))
                await loading._stack.aclose()
                await turn_until(lambda: not app.recorder.hub._sockets)
                assert (await live.ending()).code == 1001
                assert asyncio.all_tasks() - before <= {
                    task for task in asyncio.all_tasks() if task.get_name() == "store-writer"
                }
                with pytest.raises(Closed):
                    async for _ in events:
                        pass


def fail(*_: object) -> None:
    raise ZeroDivisionError


async def test_trouble_with_one_connection_does_not_end_the_deadlines_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_app(None, heartbeat_interval=1) as app, app.connect() as one, app.connect() as two:
        wires = {wire.sock.getsockname(): wire for wire in (one, two)}
        for wire in wires.values():
            await wire.until("live")
        broken = next(iter(app.recorder.hub._sockets))
        monkeypatch.setattr(broken, "sweep", fail)
        await turn_until(lambda: len(app.recorder.hub._sockets) == 1)
        del wires[broken.transport.get_extra_info("peername")]
        (healthy,) = wires.values()
        for _ in range(3):
            await healthy.until("heartbeat")


async def test_a_heartbeat_that_fails_does_not_end_the_keeping_of_deadlines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_app(None, heartbeat_interval=1) as app, app.connect() as wire:
        with monkeypatch.context() as patch:
            failed: list[None] = []
            patch.setattr(app.recorder.hub, "_send_heartbeat", lambda: fail(failed.append(None)))
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
        assert (hub.subscribers, hub.publishers, hub.lag_bytes, hub.outbox_bytes, hub.lag_deltas) == (
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
