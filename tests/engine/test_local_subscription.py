"""A subscription inside the process keeps the same promises as one over a socket."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from recorder.app import open_recorder
from recorder.core.clock import FakeClock
from recorder.core.errors import BadSubscription, Closed, TooSlow, Unavailable, WrongEventLoop
from recorder.engine import local_subscription as embedded
from tests.support.app import delta, running_app, settings_for, some, turn


async def until_live(events: embedded.Subscription) -> list[dict[str, Any]]:
    got = [await anext(events)]
    while got[-1]["event"] != "live":
        got.append(await anext(events))
    return got


async def test_its_events_are_those_of_a_socket(tmp_path: Path) -> None:
    async with running_app(tmp_path, clock=FakeClock()) as app:
        await app.publish(*some(5, "a"), *some(5, "b"))
        for query, options in {
            "": {},
            "since=earliest": {"since": "earliest"},
            "since=7": {"since": 7},
            "since=99&session=b": {"since": 99, "sessions": ["b"]},
            "since=state": {"since": "state"},
            "since=earliest&type=created": {"since": "earliest", "types": ["created"]},
        }.items():
            async with app.connect(f"/ws?{query}") as wire, app.recorder.subscribe(**options) as events:
                assert await until_live(events) == (await wire.until("live"))[1:]
                await app.publish(delta("b", 7))
                if "types" not in options:
                    assert await anext(events) == await wire.event()


async def test_a_lone_name_is_one_session_or_type_and_not_its_letters(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(delta("my-session", 1), delta("m", 2))
        async with app.recorder.subscribe(sessions="my-session", types="updated", since="earliest") as events:
            assert [event.get("seq") for event in await until_live(events)] == [1, 2]


async def test_numbers_of_any_length_and_texts_of_any_kind_come_out(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, app.recorder.subscribe() as events:
        await until_live(events)
        await app.recorder.publish(
            b'[{"type":"created","sessionId":"a","after":' + b"1" * 5000 + b"},"
            b'{"type":"created","sessionId":"b","after":123456789012345678901234567890},'
            b'{"type":"created","sessionId":"c","after":"\\ud800"}]'
        )
        states = [(await anext(events))["delta"]["after"] for _ in range(3)]
        assert states == [Decimal("1" * 5000), 123456789012345678901234567890, "\ud800"]


async def test_history_waits_for_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LOW_WATER_BYTES", 50_000)
    async with running_app(tmp_path) as app:
        await app.publish(*some(8000, size=200))
        async with app.recorder.subscribe(since="earliest") as events:
            await anext(events)
            await turn(500)
            assert len(events._events) < 4000
            rest = await until_live(events)
            assert [event["seq"] for event in rest[:-1]] == list(range(2, 8001))
            assert events._bytes == 0


@pytest.mark.parametrize(("name", "bound"), [("MAX_WAITING", 20), ("MAX_WAITING_BYTES", 2000)])
async def test_who_leaves_too_much_unread_is_told_where_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, bound: int
) -> None:
    monkeypatch.setattr(embedded, name, bound)
    async with running_app(tmp_path) as app:
        async with app.recorder.subscribe() as events:
            for _ in range(30):
                await app.publish(*some(3))
            assert app.recorder.hub.fanout.receivers == 0
            # All that fitted can be read: `live`, then deltas.
            seen = [(await anext(events))["seq"] for _ in range(len(events._events))][1:]
            for _ in range(2):
                with pytest.raises(TooSlow, match=f"since={app.epoch}:") as told:
                    await anext(events)
        assert seen == list(range(1, seen[-1] + 1))
        assert told.value.hint == f"since={app.at(seen[-1])}"
        async with app.recorder.subscribe(since=told.value.hint.removeprefix("since=")) as events:
            again = await until_live(events)
        assert [event["seq"] for event in again[:-1]] == list(range(seen[-1] + 1, 91))


async def test_reading_can_be_left_and_taken_up_again(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, app.recorder.subscribe(since="earliest") as events:
        await app.publish(*some(10))
        async for event in events:
            if event.get("seq") == 3:
                break
        reading = asyncio.create_task(anext(events), name="reading")  # type: ignore[arg-type]
        assert (await reading)["seq"] == 4
        assert [(await anext(events))["seq"] for _ in range(7)] == [5, 6, 7, 8, 9, 10, 10]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.01)
        await app.publish(delta())
        async for event in events:
            if event.get("seq") == 11:
                break


async def test_leaving_ends_it(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*some(3000))
        for since in ("latest", "earliest"):
            async with app.recorder.subscribe(since=since):
                pass
        await turn()
        assert app.recorder.hub.fanout.receivers == 0
        assert app.recorder.hub._feeds == set()
        assert app.recorder.hub._locals == {}


async def test_when_the_recorder_stops_what_was_sent_can_be_read_and_then_it_says_so(tmp_path: Path) -> None:
    async with open_recorder(settings_for(tmp_path)) as recorder:
        subscription = recorder.subscribe()
        events = await subscription.__aenter__()
        await recorder.publish(b'{"type":"created","sessionId":"s","after":1}')
    assert [event["event"] for event in [await anext(events), await anext(events)]] == ["live", "delta"]
    with pytest.raises(Closed):
        await anext(events)
    await subscription.__aexit__(None, None, None)
    with pytest.raises(Closed):
        async with recorder.subscribe():
            pass


async def test_what_cannot_be_asked_for_is_refused_at_once(tmp_path: Path) -> None:
    async with running_app(tmp_path, load=False) as app:
        with pytest.raises(Unavailable):
            app.recorder.subscribe()
        await app.gateway.load()
        for options in ({"since": "soon"}, {"sessions": [""]}, {"types": ["moved"]}, {"since": -1}):
            with pytest.raises(BadSubscription):
                app.recorder.subscribe(**options)  # type: ignore[arg-type]


async def test_reading_outside_of_async_with_is_an_error_at_once() -> None:
    async with running_app(None) as app:
        subscription = app.recorder.subscribe()
        with pytest.raises(Closed, match="async with"):
            await anext(subscription)
        async with subscription as events:
            await until_live(events)
        with pytest.raises(Closed, match="is closed"):
            await anext(subscription)
        with pytest.raises(Closed, match="opened before"):
            async with subscription:
                pass


async def test_one_that_waits_while_its_subscription_is_left_is_told() -> None:
    async with running_app(None) as app:
        async with app.recorder.subscribe() as events:
            await until_live(events)
            waiting = asyncio.create_task(anext(events), name="waiting")  # type: ignore[arg-type]
            await turn()
        with pytest.raises(Closed, match="is closed"):
            await waiting


async def test_reading_in_another_event_loop_is_an_error_at_once() -> None:
    async with running_app(None) as app, app.recorder.subscribe() as events:
        await until_live(events)

        async def read() -> None:
            with pytest.raises(WrongEventLoop, match="another thread"):
                await anext(events)

        await asyncio.to_thread(asyncio.run, read())


async def test_the_position_of_a_quiet_one_moves_with_heartbeats() -> None:
    clock = FakeClock()
    async with (
        running_app(None, clock=clock, heartbeat_interval=1000) as app,
        app.recorder.subscribe(sessions=["quiet"]) as events,
    ):
        await until_live(events)
        await app.publish(*some(5, "loud"))
        clock.advance(1)
        app.sweep()
        assert events.position == 5
