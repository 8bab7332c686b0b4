"""Slow readers that are moved on: every delta is seen or covered by a `conflated`, and the states say how it ended."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from recorder.core.clock import FakeClock
from recorder.engine.fanout import Batch
from recorder.net.subscriber import Subscriber
from tests.support.app import App, delta, running_app, some, turn, turn_until
from tests.support.http import client, seqs
from tests.support.wire import Wire

NARROW = {
    "slow_soft_bytes": 50_000,
    "slow_soft_time": 1000,
    "slow_hard_bytes": 400_000,
    "slow_close_grace": 5000,
}


@asynccontextmanager
async def slow_reader(
    tmp_path: Path | None, query: str = "", **settings: Any
) -> AsyncIterator[tuple[App, Wire, FakeClock]]:
    clock = FakeClock()
    async with (
        running_app(tmp_path, clock=clock, **{**NARROW, **settings}) as app,
        app.connect(f"/ws?slow=conflate{query}", receive_buffer=2048) as wire,
    ):
        await wire.until("live")
        app.narrow()
        yield app, wire, clock


async def fall_behind(app: App, clock: FakeClock, session: str = "s") -> None:
    """Publish until the reader is found too slow."""
    for _ in range(40):
        app.publish_nowait(*some(20, session, size=1000))
        await turn()
        clock.advance(0.3)
        app.sweep()
        if app.gateway.metrics.conflations:
            return
    raise AssertionError("it was not found to be slow")


def covered(events: list[dict[str, Any]]) -> list[int]:
    """The seqs that the events speak of: each delta's, and those that a `conflated` covers."""
    found: list[int] = []
    for event in events:
        if event["event"] == "delta":
            found.append(event["seq"])
        elif event["event"] == "conflated":
            found += range(event["from"] + 1, event["to"] + 1)
    return found


async def test_it_is_told_what_it_skipped_gets_the_states_and_goes_on(tmp_path: Path) -> None:
    async with slow_reader(tmp_path) as (app, wire, clock):
        await fall_behind(app, clock)
        app.publish_nowait(delta("s", 5), delta("gone", 1), {"type": "deleted", "sessionId": "gone"})
        app.publish_nowait(*some(300, "other", size=1000))
        last = app.head
        await turn()
        wire.open_wide()
        events = await wire.until("conflated")
        told = events[-1]
        assert (told["epoch"], told["from"], told["to"]) == (app.epoch, events[-2]["seq"], last)
        assert told["count"] == last - told["from"]
        assert covered(events) == list(range(1, last + 1))
        states = await wire.take(3)
        assert [(state["event"], state["sessionId"]) for state in states] == [
            ("state", "s"),
            ("state", "gone"),
            ("state", "other"),
        ]
        assert states[1]["state"] is None
        assert states[2]["state"]["n"] == 299
        live = await wire.event()
        assert (live["event"], live["seq"]) == ("live", last)
        assert await app.hash_at(last) == live["hash"]
        # It goes on, and can fetch what it skipped.
        assert await app.publish(delta("s", 7)) == last + 1
        assert (await wire.event())["seq"] == last + 1
        async with client(app) as http:
            skipped = await seqs(http, after=told["from"], before=told["to"] + 1, order="asc", limit=500)
        assert skipped == list(range(told["from"] + 1, last + 1))
        metrics = app.gateway.metrics
        assert (metrics.conflations, metrics.slow_closed) == (1, 0)


async def test_the_hard_limit_conflates_too_and_what_is_unsent_stays_bounded(tmp_path: Path) -> None:
    async with slow_reader(tmp_path, slow_soft_time=60_000) as (app, wire, clock):
        (connection,) = app.gateway.connections._sockets
        most = 0
        for _ in range(100):
            app.publish_nowait(*some(20, size=1000))
            await turn()
            clock.advance(0.3)
            most = max(most, connection.unsent)
        assert most < 500_000
        assert app.gateway.metrics.conflations == 1
        wire.open_wide()
        events = await wire.until("state")
        assert covered(events) == list(range(1, 2001))
        assert events[-1]["state"]["n"] == 19


async def test_a_filter_counts_what_matches_and_tells_of_no_other_session(tmp_path: Path) -> None:
    async with slow_reader(tmp_path, "&session=s") as (app, wire, clock):
        await fall_behind(app, clock)
        app.publish_nowait(*some(100, "other", size=100), *some(5, "s"))
        await turn()
        wire.open_wide()
        events = await wire.until("conflated")
        deltas = [event for event in events if event["event"] == "delta"]
        async with client(app) as http:
            matching = await seqs(http, session="s", limit=1000)
        assert len(deltas) + events[-1]["count"] == len(matching)
        assert (await wire.event())["sessionId"] == "s"
        assert (await wire.event())["event"] == "live"
        await app.publish(delta("other"), delta("s"))
        assert (await wire.event())["delta"]["sessionId"] == "s"


async def test_one_that_takes_nothing_at_all_is_closed_as_ever_and_resumes_without_loss(
    tmp_path: Path,
) -> None:
    async with slow_reader(tmp_path, ping_timeout=2000) as (app, wire, clock):
        await fall_behind(app, clock)
        app.publish_nowait(*some(5))
        await turn()
        app.sweep()
        clock.advance(2)
        app.sweep()
        assert app.recorder.hub.subscribers == 0
        wire.open_wide()
        ending = await wire.ending()
        assert ending.code == 4408
        assert ending.reason == app.at(ending.events[-1]["seq"])
        async with app.connect(f"/ws?since={ending.reason}") as again:
            assert (await again.deltas(app.head))[0] == ending.events[-1]["seq"] + 1


async def test_a_new_subscription_ends_it(tmp_path: Path) -> None:
    async with slow_reader(tmp_path) as (app, wire, clock):
        await fall_behind(app, clock)
        await wire.text({"op": "subscribe", "sessions": ["other"]})
        await turn_until(lambda: app.recorder.hub.fanout._by_session)
        wire.open_wide()
        events = await wire.until("live")
        assert "conflated" not in {event["event"] for event in events}
        await app.publish(delta("s"), delta("other"))
        assert (await wire.event())["delta"]["sessionId"] == "other"


async def test_what_is_erased_meanwhile_is_told_as_erased_and_never_as_null(tmp_path: Path) -> None:
    async with slow_reader(tmp_path) as (app, wire, clock):
        await fall_behind(app, clock)
        await app.publish(delta("secret", 1), delta("kept", 2), delta("deleted", 3))
        await app.publish({"type": "deleted", "sessionId": "deleted"})
        erasure = await app.recorder.eraser.erase("secret")
        assert erasure.receipt is not None
        # It has not been told yet: all that is not read stands before it.
        await app.publish(delta("other", 4))
        wire.open_wide()
        events = await wire.until("conflated")
        after = await wire.until("live")
        assert covered(events) == list(range(1, app.head + 1))
        assert "erased" not in {event["event"] for event in events}
        told = [event for event in after if event["event"] == "erased"]
        assert [(event["sessionId"], event["count"]) for event in told] == [("secret", 1)]
        states = {event["sessionId"]: event["state"] for event in after if event["event"] == "state"}
        assert "secret" not in states
        assert (states["deleted"], states["kept"], states["other"]) == (None, {"n": 2}, {"n": 4})


async def test_a_session_that_is_being_erased_is_not_shown_as_deleted(tmp_path: Path) -> None:
    """Its state is forgotten first, and `erased` said when the files have forgotten it, too."""
    async with slow_reader(tmp_path) as (app, wire, clock):
        await fall_behind(app, clock)
        await app.publish(delta("secret", 1))
        through = app.recorder.ingest.forget("secret")
        wire.open_wide()
        events = await wire.until("live")
        assert "secret" not in {event["sessionId"] for event in events if event["event"] == "state"}
        app.recorder.hub.erased("secret", through, 1, "2026-11-20T12:00:00.000Z")
        assert (await wire.event())["event"] == "erased"


async def test_a_reader_that_is_being_moved_on_is_handed_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand of them must cost a publisher no more than one."""
    async with slow_reader(tmp_path) as (app, wire, clock):
        await fall_behind(app, clock)
        handed: list[Batch] = []
        monkeypatch.setattr(Subscriber, "deliver", lambda self, batch: handed.append(batch))
        for _ in range(20):
            app.publish_nowait(delta())
            await turn()
        assert handed == []
        monkeypatch.undo()
        wire.open_wide()
        assert covered(await wire.until("live")) == list(range(1, app.head + 1))


async def test_without_it_a_slow_reader_is_closed_and_odd_wishes_are_refused(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        async with app.connect("/ws?slow=close") as wire:
            await wire.until("live")
        async with app.connect("/ws?slow=never") as wire:
            assert (await wire.ending()).code == 4400


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_comes_and_however_it_reads_nothing_is_missed(seed: int, tmp_path: Path) -> None:
    """A walk of publishes, pauses and reads; at its end every seq was seen once or covered, and the states agree."""
    dice = random.Random(seed)
    async with slow_reader(tmp_path) as (app, wire, clock):
        events: list[dict[str, Any]] = []
        for _ in range(60):
            if dice.random() < 0.7:
                session = f"s{dice.randrange(5)}"
                batch = some(dice.randrange(1, 40), session, size=dice.randrange(2000))
                if dice.random() < 0.2:
                    batch.append({"type": "deleted", "sessionId": session})
                app.publish_nowait(*batch)
            await turn(dice.randrange(1, 30))
            clock.advance(dice.random() * 0.4)
            app.sweep()
            if (dice.random() < 0.5 and events != []) or app.gateway.metrics.conflations:
                events += [await wire.event() for _ in range(dice.randrange(3)) if app.head > len(events)]
        assert app.gateway.metrics.conflations > 0
        wire.open_wide()
        await turn_until(lambda: app.recorder.hub.subscribers == 1)
        app.publish_nowait(delta("end", after={"end": True}))
        while not any(is_end(event) for event in events[-1:]):
            events.append(await wire.event())
        assert covered(events) == list(range(1, app.head + 1))
        known: dict[str, Any] = {}
        for event in events:
            if event["event"] == "delta":
                known[event["delta"]["sessionId"]] = event["delta"].get("after")
            elif event["event"] == "state":
                known[event["sessionId"]] = event["state"]
        async with client(app) as http:
            for session, state in known.items():
                answer = await http.get(f"/api/sessions/{session}")
                assert answer.json()["state"] == state


def is_end(event: dict[str, Any]) -> bool:
    """Whether it tells of the last session, live or in states."""
    return event.get("sessionId") == "end" or event.get("delta", {}).get("sessionId") == "end"
