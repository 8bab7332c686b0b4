"""The connections as a whole: how their deadlines are kept apart, and how all of them are closed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from recorder.app import Loading
from recorder.core.errors import Closed
from recorder.wire.subscribe import Subscription
from tests.support.app import delta, running_app, some, turn, turn_until


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
            app.gateway.stop_ingest()
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
                await app.gateway._stack.aclose()  # the connections first, as at the end of the block
                await loading._stack.aclose()
                await turn_until(lambda: not app.gateway.connections._sockets)
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
        broken = next(iter(app.gateway.connections._sockets))
        monkeypatch.setattr(broken, "sweep", fail)
        await turn_until(lambda: len(app.gateway.connections._sockets) == 1)
        del wires[broken.transport.get_extra_info("peername")]
        (healthy,) = wires.values()
        for _ in range(3):
            await healthy.until("heartbeat")


async def test_one_that_is_closed_at_the_end_is_told_so_though_nobody_else_is_there() -> None:
    async with running_app(None) as app, app.connect() as wire:
        await wire.until("live")
        await app.gateway._stack.aclose()
        assert (await wire.ending()).code == 1001


async def test_when_all_are_closed_no_stream_begins_any_more() -> None:
    async with running_app(None) as app:
        connections = app.gateway.connections
        await connections.close()
        await connections.close()
        with pytest.raises(Closed), connections.stream(Subscription()):
            pass
