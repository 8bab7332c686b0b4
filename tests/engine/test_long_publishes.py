"""Long publishes are looked into beside the loop: others are served meanwhile, and nothing is out of order."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest

from recorder.core.errors import Closed, TooMany
from recorder.core.redaction import Redactor
from recorder.engine.prepare import LARGE_BYTES, Preparer
from tests.support.app import delta, running_app, some, turn, turn_until

LONG = some(100, "long", size=1000)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Every long text waits in its thread until this is set."""
    opened, real = threading.Event(), Preparer.prepare_now

    def prepare(self: Preparer, text: bytes, *args: Any, **options: Any) -> Any:
        if len(text) > LARGE_BYTES:
            opened.wait(30)
        return real(self, text, *args, **options)

    monkeypatch.setattr(Preparer, "prepare_now", prepare)
    return opened


async def test_while_a_long_one_is_looked_into_others_publish_and_its_own_frames_stay_in_order(
    tmp_path: Path, gate: threading.Event
) -> None:
    async with (
        running_app(tmp_path) as app,
        app.connect("/publish") as slow,
        app.connect("/publish") as other,
    ):
        await slow.event()
        await other.event()
        await slow.texts([delta("s", 1), LONG, delta("s", 2), LONG, {"bad": 1}, delta("s", 3)])
        assert (await slow.event())["seq"] == 1
        await other.text(delta("t", 1))
        assert (await other.event())["seq"] == 2
        gate.set()
        answers = [await slow.event() for _ in range(5)]
        assert [(answer.get("firstSeq"), answer.get("seq"), answer["event"]) for answer in answers] == [
            (3, 102, "ack"),
            (103, 103, "ack"),
            (104, 203, "ack"),
            (None, None, "error"),
            (204, 204, "ack"),
        ]
        assert app.gateway.upgrades.partial_messages.total == 0


async def test_a_long_one_over_http_and_in_process_waits_alone(tmp_path: Path, gate: threading.Event) -> None:
    async with running_app(tmp_path) as app:
        publishing = asyncio.create_task(app.recorder.publish(orjson.dumps(LONG)), name="publishing")
        await turn()
        assert (await app.publish(delta("t", 1))) == 1
        gate.set()
        assert (await publishing).first_seq == 2


async def test_one_that_leaves_or_is_lost_meanwhile_takes_nothing_with_it(
    tmp_path: Path, gate: threading.Event
) -> None:
    async with running_app(tmp_path) as app:
        async with app.connect("/publish") as gone, app.connect("/publish") as leaving:
            await gone.event()
            await leaving.event()
            for wire in (gone, leaving):
                await wire.text(LONG)
            await turn_until(lambda: app.gateway.upgrades.partial_messages.total > 2 * LARGE_BYTES)
            gone.reset()
            await turn_until(lambda: app.gateway.connections.publishers == 1)
            closing = asyncio.create_task(leaving.close(), name="closing")
            await turn()
            gate.set()
            ending = await closing
            assert [event["event"] for event in ending.events] == ["ack"]
        await app.until_gone()
        assert (app.head, app.gateway.upgrades.partial_messages.total) == (100, 0)


async def test_where_more_waits_than_may_be_held_the_largest_gives_way(
    tmp_path: Path, gate: threading.Event
) -> None:
    limits = {"max_partial_message_bytes": 16 << 20, "max_message_bytes": 12 << 20}
    async with (
        running_app(tmp_path, **limits) as app,
        app.connect("/publish") as large,
        app.connect("/publish") as small,
    ):
        await large.event()
        await small.event()
        await large.text(some(50, "large", size=200_000))
        await turn_until(lambda: app.gateway.upgrades.partial_messages.total > 9 << 20)
        await turn()
        await small.text(some(40, "small", size=200_000))
        assert (await large.ending()).code == TooMany.close_code
        gate.set()
        assert ((await small.event())["seq"], app.head) == (40, 40)


async def test_what_is_in_a_thread_when_the_recorder_stops_is_refused(
    tmp_path: Path, gate: threading.Event
) -> None:
    async with running_app(tmp_path) as app:
        publishing = asyncio.create_task(app.recorder.publish(orjson.dumps(LONG)), name="publishing")
        await turn()
        app.recorder.stop_ingest()
        gate.set()
        with pytest.raises(Closed):
            await publishing
        with pytest.raises(Closed):
            await app.recorder.publish(orjson.dumps(LONG))


async def test_a_long_publish_is_taken_where_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async with running_app(None) as app:
        monkeypatch.setattr(threading.Thread, "start", no_thread)
        publishes = [app.recorder.publish(orjson.dumps(LONG)) for _ in range(3)]
        await asyncio.gather(*publishes)
        assert app.head == 3 * len(LONG)


async def test_redaction_of_a_long_one_leaves_the_loop_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    text = orjson.dumps([delta("s", n, after={"password": "x" * 40, "pad": "y" * 1300}) for n in range(5000)])
    loop, real = asyncio.get_running_loop(), Redactor.redact
    halfway, served = asyncio.Event(), threading.Event()
    on_loop, beside = [], []

    def redact(self: Redactor, state: str) -> tuple[str, int]:
        calls = on_loop if threading.current_thread() is threading.main_thread() else beside
        calls.append(state)
        if len(beside) == 2500 and calls is beside:
            loop.call_soon_threadsafe(halfway.set)
            served.wait(30)
        return real(self, state)

    monkeypatch.setattr(Redactor, "redact", redact)
    async with running_app(None, redact_keys="password") as app:
        publishing = asyncio.create_task(app.recorder.publish(text), name="publishing")
        watching = asyncio.create_task(halfway.wait(), name="watching")
        await asyncio.wait((publishing, watching), return_when=asyncio.FIRST_COMPLETED)
        assert (await app.publish(delta("t"))) == 1  # while the other is in the middle of its states
        served.set()
        assert (await publishing).first_seq == 2
        await watching
        assert (len(on_loop), len(beside), app.recorder.metrics.redacted) == (1, 5000, 5000)


async def test_while_a_long_one_is_numbered_the_loop_serves_others_who_see_nothing_of_it(
    tmp_path: Path,
) -> None:
    async with running_app(tmp_path) as app, app.connect() as wire:
        await wire.until("live")
        await app.publish(delta("long"))
        heads: list[int] = []
        publishing = asyncio.create_task(app.recorder.publish(orjson.dumps(some(3000, "long", size=1000))))
        while not publishing.done():
            if app.recorder.ingest.is_numbering:
                heads.append(app.head)
                assert [state[0] for state in app.recorder.hub.states(None)] == [1]
            await asyncio.sleep(0)
        assert len(heads) >= 10
        assert set(heads) == {1}
        assert (await publishing).first_seq == 2
        assert await wire.deltas(3001) == list(range(1, 3002))


async def test_frames_that_come_while_a_long_one_is_numbered_wait_for_it_and_keep_their_order(
    tmp_path: Path,
) -> None:
    async with running_app(tmp_path) as app, app.connect("/publish") as out:
        await out.event()
        ingest = app.recorder.ingest
        publishing = asyncio.create_task(app.recorder.publish(orjson.dumps(some(3000, "long", size=1000))))
        await turn_until(lambda: ingest.is_numbering)
        await out.texts([delta("s", 1), {"bad": 1}, delta("s", 2)])
        (publisher,) = app.gateway.connections._publishers
        await turn_until(lambda: publisher._preparing or not ingest.is_numbering)
        assert (len(publisher._later), app.gateway.upgrades.partial_messages.total) == (3, 0)
        assert (await publishing).seq == 3000
        answers = [await out.event() for _ in range(3)]
        assert [(answer["event"], answer.get("seq")) for answer in answers] == [
            ("ack", 3001),
            ("error", None),
            ("ack", 3002),
        ]
        assert app.gateway.upgrades.partial_messages.total == 0
        await out.text(delta("s", 3))
        assert (await out.event())["seq"] == 3003


async def test_what_is_accepted_amid_a_long_one_gets_its_place_before_it(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, app.connect() as wire:
        await wire.until("live")
        publishing = asyncio.create_task(app.recorder.publish(orjson.dumps(some(3000, "long", size=1000))))
        others = 0
        for _ in range(2):
            await turn_until(lambda: app.recorder.ingest.is_numbering)
            others = app.publish_nowait(delta("other"))
            await turn(3)
        accepted = await publishing
        assert (accepted.first_seq, accepted.count) == (others + 1, 3000)
        assert await wire.deltas(others + 3000) == list(range(1, others + 3001))


@pytest.mark.parametrize("end", ["cancel", "close"])
async def test_one_that_is_broken_off_while_it_is_numbered_leaves_nothing(tmp_path: Path, end: str) -> None:
    async with running_app(tmp_path) as app:
        ingest = app.recorder.ingest
        publishing = asyncio.create_task(app.recorder.publish(orjson.dumps(some(3000, "long", size=1000))))
        await turn_until(lambda: ingest.is_numbering)
        error: type[BaseException] = asyncio.CancelledError
        if end == "cancel":
            publishing.cancel()
        else:
            error = Closed
            app.recorder.stop_ingest()
        with pytest.raises(error):
            await publishing
        assert (app.head, ingest.is_numbering, app.recorder.hub.states(None)) == (0, False, [])
        if end == "cancel":
            assert (await app.publish(delta())) == 1


async def test_the_ids_of_a_long_one_are_known_beyond_the_window(tmp_path: Path) -> None:
    many = [delta("s", n, id=f"k{n}") for n in range(2000)]
    async with running_app(tmp_path, dedupe_ids=100) as app:
        assert (await app.recorder.publish(orjson.dumps(many))).duplicates == 0
        assert len(app.recorder.ingest._ids._ids) == 100
        again = await app.recorder.publish(orjson.dumps(many))
        assert (again.duplicates, app.head) == (2000, 2000)
