"""Publishing over a WebSocket: answers in order, once they are true; too much of anything is waited for, not dropped."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from recorder.core.clock import FakeClock
from recorder.core.errors import StoreError
from recorder.net import publisher
from tests.support.app import delta, running_app, some, turn, turn_until
from tests.support.trouble import break_recording, recording_held_up
from tests.support.wire import BINARY, CLOSE, TEXT, Wire, close_payload, frame

BAD = {"type": "updated", "sessionId": "s"}


async def hello(wire: Wire) -> None:
    assert (await wire.event())["event"] == "hello"


async def test_a_frame_is_acked_with_its_places_once_it_is_recorded(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, app.connect("/publish") as wire:
        await hello(wire)
        await wire.text(delta())
        ack = {"event": "ack", "epoch": app.epoch, "firstSeq": 1, "seq": 1, "count": 1, "durable": False}
        assert await wire.event() == ack
        assert app.recorder.recording.recorded == 1
        await wire.text([delta(n=1), delta(n=2), delta(n=3)])
        assert await wire.event() == {**ack, "firstSeq": 2, "seq": 4, "count": 3}


async def test_thousands_at_once_are_acked_in_order(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, app.connect("/publish") as wire:
        await hello(wire)
        await wire.texts([delta(f"s{n % 7}", n) for n in range(5000)])
        assert [event["seq"] for event in await wire.take(5000)] == list(range(1, 5001))


async def test_errors_come_in_order_among_the_acks_and_say_where(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, app.connect("/publish") as wire:
        await hello(wire)
        good, array, broken = delta(), [delta(), delta(), BAD], "{"
        async with recording_held_up(app):
            for _ in range(50):
                await wire.text(good)
                await wire.text(array)
                await wire.text(broken)
            await turn()
        answers = await wire.take(150)
        assert [event.get("seq") for event in answers[0::3]] == list(range(1, 51))
        assert {(event["code"], event["index"]) for event in answers[1::3]} == {("invalid_delta", 2)}
        assert {event["code"] for event in answers[2::3]} == {"invalid_json"}
        assert all("[2].after" in event["message"] for event in answers[1::3])
        assert app.head == 50


async def test_an_array_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, app.connect("/publish") as wire, app.connect() as watcher:
        await hello(wire)
        await watcher.until("live")
        for array in ([BAD, *some(50)], [*some(50), BAD], [*some(25), BAD, *some(25)], []):
            await wire.text(array)
            assert (await wire.event())["event"] == "error"
        assert (app.head, app.recorder.recording.recorded) == (0, 0)
        await wire.text(some(50))
        assert (await wire.event())["count"] == 50
        assert await watcher.deltas(50) == list(range(1, 51))


async def test_who_asks_for_no_acks_gets_errors_only_and_is_recorded_all_the_same(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, app.connect("/publish?ack=none") as wire:
        await hello(wire)
        for n in range(100):
            await wire.text(delta(n=n))
            if n % 25 == 0:
                await wire.text(BAD)
        events = (await wire.close()).events
        assert [event["code"] for event in events] == ["invalid_delta"] * 4
        await app.recorder.recording.flush()
        assert app.recorder.recording.recorded == 100


async def test_an_ack_says_whether_it_is_on_disk(tmp_path: Path) -> None:
    """`durable` is in every ack."""
    async with running_app(tmp_path) as app, app.connect("/publish") as wire:
        await hello(wire)
        await wire.text(delta(id="i1"))
        assert (await wire.event())["durable"] is False
        await app.recorder.recording.snapshot()
        await wire.text(delta(id="i1"))
        again = await wire.event()
        assert (again["seq"], again["durable"]) == (1, True)


async def test_what_was_sent_before_a_goodbye_is_answered_before_the_servers(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, app.connect("/publish") as wire:
        await hello(wire)
        async with recording_held_up(app):
            await wire.raw(
                b"".join([frame(TEXT, orjson.dumps(item)) for item in [*some(500), BAD]])
                + frame(CLOSE, close_payload(1000))
            )
            await turn_until(lambda: app.head == 500)
            await turn()
        ending = await wire.ending()
        assert [event.get("seq") for event in ending.events] == [*range(1, 501), None]
        assert ending.code == 1000


async def test_of_frames_that_come_at_once_those_before_a_broken_one_are_taken_and_those_after_it_are_not(
    tmp_path: Path,
) -> None:
    async with running_app(tmp_path) as app, app.connect("/publish") as wire:
        await hello(wire)
        good = [frame(TEXT, orjson.dumps(item)) for item in some(5)]
        await wire.raw(b"".join([*good[:3], frame(TEXT, b'"\xff"'), *good[3:]]))
        ending = await wire.ending()
        assert ([event["seq"] for event in ending.events], ending.code) == ([1, 2, 3], 1007)
        assert app.head == 3


@pytest.mark.parametrize(
    ("broken", "code"),
    [(frame(TEXT, b"\xff"), 1007), (frame(BINARY, b"x"), 1003), (frame(TEXT, b"{}", masked=False), 1002)],
)
async def test_who_half_closes_behind_a_broken_frame_still_gets_the_answers_to_those_before_it(
    tmp_path: Path, broken: bytes, code: int
) -> None:
    async with running_app(tmp_path) as app, app.connect("/publish") as wire:
        await hello(wire)
        async with recording_held_up(app):
            (connection,) = app.gateway.connections._sockets
            await wire.raw(frame(TEXT, orjson.dumps(delta())) + broken)
            await turn_until(lambda: connection._proto.close_sent)
            await wire.send(CLOSE, close_payload(1000))
            wire.half_close()
            await turn_until(lambda: connection._proto.reader.eof)
            await turn()
        ending = await wire.ending()
        assert ([event["seq"] for event in ending.events], ending.code) == ([1], code)
        await app.until_gone()


async def test_much_that_comes_at_once_is_taken_in_pieces_and_answered_in_order(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, app.connect("/publish") as wire:
        await hello(wire)
        many = 2 * publisher.MAX_AT_ONCE + 3
        await wire.raw(b"".join([frame(TEXT, orjson.dumps(item)) for item in some(many)]))
        assert [event["seq"] for event in await wire.take(many)] == [*range(1, many + 1)]


async def test_when_recording_has_failed_who_waits_for_an_answer_is_told_and_let_go(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            running_app(tmp_path) as app,
            app.connect("/publish") as wire,
            app.connect("/publish") as late,
        ):
            await hello(wire)
            await late.until("hello")
            await break_recording(app)
            await wire.texts([delta(), delta()])
            ending = await wire.ending()
            assert (ending.code, ending.events) == (1012, [])
            assert ending.reason.startswith("recording failed: ")
            await late.text(delta())
            assert (await late.event())["code"] == "unavailable"

    # What was accepted cannot be in the last snapshot.
    with pytest.raises(StoreError):
        await run()


async def test_a_full_queue_slows_the_publisher_and_drops_nothing(tmp_path: Path) -> None:
    """Nothing accepted is dropped, and what waits is bounded: it is TCP that holds the publisher back."""
    async with running_app(tmp_path, queue_max_deltas=20) as app, app.connect("/publish") as wire:
        await hello(wire)
        async with recording_held_up(app):
            await wire.texts(some(300))
            await turn_until(lambda: app.recorder.ingest.is_full)
            await turn(300)
            # A frame is taken while there is room, so at most one is beyond.
            assert app.head == 20
        assert [event["seq"] for event in await wire.take(300)] == list(range(1, 301))
        assert app.recorder.recording.recorded == 300


async def test_a_full_queue_is_told_in_bytes_too_and_what_is_not_read_stays_with_the_publisher(
    tmp_path: Path,
) -> None:
    async with running_app(tmp_path, queue_max_bytes=100_000) as app, app.connect("/publish") as wire:
        await hello(wire)
        frames = b"".join([frame(TEXT, orjson.dumps(item)) for item in some(2000, size=10_000)])
        async with recording_held_up(app):
            sending = asyncio.create_task(wire.raw(frames), name="sending")
            await turn_until(lambda: app.recorder.ingest.is_full)
            await turn(500)
            assert app.head <= 10
            assert not sending.done()
            (connection,) = app.gateway.connections._sockets
            assert sum(len(bytes(getattr(item, "data", item))) for item in connection._inbox) < 1 << 19
        assert [event["seq"] for event in await wire.take(2000)] == list(range(1, 2001))
        await sending


async def test_two_publishers_before_a_full_queue_both_get_through(tmp_path: Path) -> None:
    async with (
        running_app(tmp_path, queue_max_deltas=1) as app,
        app.connect("/publish") as one,
        app.connect("/publish") as two,
    ):
        await hello(one)
        await hello(two)
        await one.texts(some(150, "one"))
        await two.texts(some(150, "two"))
        seqs = [event["seq"] for wire in (one, two) for event in await wire.take(150)]
        assert sorted(seqs) == list(range(1, 301))
        assert seqs[:150] == sorted(seqs[:150])


async def test_answers_that_are_owed_are_bounded_however_small_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MAX_OWED", 50)
    async with running_app(tmp_path) as app, app.connect("/publish") as wire:
        await hello(wire)
        async with recording_held_up(app):
            await wire.texts([delta(), *[BAD] * 400])
            await turn(300)
            (role,) = app.gateway.connections._publishers
            assert len(role._answers) == 50
        assert [event["event"] for event in await wire.take(401)] == ["ack", *["error"] * 400]


async def test_who_does_not_read_its_answers_is_read_from_no_more_and_then_let_go(tmp_path: Path) -> None:
    clock = FakeClock()
    limits = {
        "slow_soft_bytes": 20_000,
        "slow_soft_time": 1000,
        "ping_timeout": 1000,
        "slow_close_grace": 5000,
    }
    running = running_app(tmp_path, clock=clock, **limits)
    async with running as app, app.connect("/publish", receive_buffer=2048) as wire:
        app.narrow()
        (connection,) = app.gateway.connections._sockets
        sending = asyncio.create_task(wire.texts([delta(n=n) for n in range(30_000)]), name="sending")
        await turn_until(lambda: not connection._reading and not app.recorder.recording.waiting)
        await turn(200)
        taken = app.head
        assert taken < 30_000
        assert connection.unsent < publisher.MAX_OWED * 150
        app.sweep()
        clock.advance(1.1)
        app.sweep()
        assert connection._ended
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert app.head == taken
        # What it has not read yet is there for it, and then why.
        wire.open_wide()
        ending = await wire.ending()
        assert (ending.code, ending.reason.startswith("the answers are not being read")) == (4408, True)
        assert [event["seq"] for event in ending.events[1:]] == list(range(1, taken + 1))
        assert app.gateway.metrics.slow_closed == 1


async def test_who_reads_its_answers_slowly_is_not_let_go(tmp_path: Path) -> None:
    clock = FakeClock()
    running = running_app(
        tmp_path, clock=clock, slow_soft_bytes=20_000, slow_soft_time=1000, ping_timeout=1000
    )
    async with running as app, app.connect("/publish", receive_buffer=2048) as wire:
        app.narrow()
        (connection,) = app.gateway.connections._sockets
        sending = asyncio.create_task(wire.texts([delta(n=n) for n in range(12_000)]), name="sending")
        await hello(wire)
        seen = 0
        while seen < 12_000:
            seen += len(await wire.take(1500))
            await turn(5)
            clock.advance(0.7)
            app.sweep()
        assert not connection._ended
        await sending
        assert app.head == 12_000
