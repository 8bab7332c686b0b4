"""How fast a publisher may go: slowed first, and nothing lost; refused after, and nothing taken."""

from __future__ import annotations

import asyncio

import pytest

from recorder.core.clock import FakeClock
from recorder.core.errors import RateLimited
from recorder.core.metrics import Metrics
from recorder.engine.rate_limit import Paces, PublishRate
from tests.support.app import delta, running_app, some, turn, turn_until
from tests.support.http import client, refused

SLOW = {"publish_rate": 100, "publish_burst": 10, "publish_max_delay": 1000}


def test_without_a_rate_nobody_has_a_pace() -> None:
    paces = Paces(PublishRate(), FakeClock(), Metrics())
    assert (paces.own(), paces.shared("a")) == (None, None)


def test_a_publish_ahead_of_the_rate_is_taken_and_waited_for_and_one_far_ahead_is_refused() -> None:
    clock, metrics = FakeClock(), Metrics()
    pace = Paces(PublishRate(10, 10, 1.0), clock, metrics).own()
    assert pace is not None
    pace.take(10)
    assert (pace.delay(), metrics.slowed) == (0, 0)
    pace.take(10)
    assert (pace.delay(), metrics.slowed) == (1.0, 1)
    with pytest.raises(RateLimited, match=r"1 deltas now are 1\.1 seconds ahead"):
        pace.take(1)
    clock.advance(1)
    assert pace.delay() == 0
    pace.charge()
    assert pace.delay() == pytest.approx(0.1)


def test_those_with_one_key_share_a_pace_and_others_do_not() -> None:
    paces = Paces(PublishRate(10, 10, 0.0), FakeClock(), Metrics())
    one, same, other = paces.shared("a"), paces.shared("a"), paces.shared("b")
    assert one is not None
    assert same is not None
    assert other is not None
    one.take(10)
    with pytest.raises(RateLimited):
        same.take(1)
    other.take(10)


async def test_a_publisher_above_the_rate_is_slowed_and_loses_nothing() -> None:
    clock = FakeClock()
    async with running_app(None, clock=clock, **SLOW) as app, app.connect("/publish") as wire:
        await wire.event()
        await wire.texts([delta(n=n) for n in range(40)])
        await turn_until(lambda: app.head == 11)
        await asyncio.sleep(0)
        await turn()
        assert app.head == 11  # the burst, and one that is paid off now
        assert not app.gateway.connections._publishers.copy().popitem()[0]._socket._reading
        while app.head < 40:
            clock.advance(0.02)
            await turn_until(
                lambda: app.gateway.connections._publishers.copy().popitem()[0]._ahead is not None
            )
            await turn(3)
        assert [event["seq"] for event in await wire.take(40)] == list(range(1, 41))
        assert app.gateway.metrics.slowed >= 1
        assert app.gateway.metrics.refused == {}


async def test_a_publish_far_ahead_of_the_rate_is_refused_and_a_smaller_one_taken() -> None:
    async with running_app(None, clock=FakeClock(), **SLOW) as app, app.connect("/publish") as wire:
        await wire.event()
        await wire.text(some(200))
        error = await wire.event()
        assert (error["code"], app.head) == ("rate_limited", 0)
        await wire.text(some(9))
        assert (await wire.event())["count"] == 9
        # Another connection has a pace of its own.
        async with app.connect("/publish") as other:
            await other.event()
            await other.text(some(10))
            assert (await other.event())["count"] == 10


async def test_frames_that_are_refused_cost_a_token_each() -> None:
    async with running_app(None, clock=FakeClock(), **SLOW) as app, app.connect("/publish") as wire:
        await wire.event()
        for _ in range(11):
            await wire.text("{")
        assert {event["code"] for event in await wire.take(11)} == {"invalid_json"}
        await wire.text("{")
        await turn()
        assert app.gateway.metrics.refused == {"invalid_json": 11}


async def test_a_publisher_that_leaves_while_it_is_slowed_leaves_nothing_behind() -> None:
    clock = FakeClock()
    async with running_app(None, clock=clock, **SLOW) as app:
        async with app.connect("/publish") as wire:
            await wire.event()
            await wire.text(some(50))
            assert (await wire.event())["count"] == 50
        clock.advance(1)  # it is not read from before
        await app.until_gone()


async def test_over_http_an_address_has_one_pace() -> None:
    async with running_app(None, clock=FakeClock(), **SLOW) as app, client(app) as http:
        answer = await http.post("/api/deltas", json=some(10))
        assert answer.status_code == 201
        answer = await http.post("/api/deltas", json=some(101))
        await refused(answer, 429, "rate_limited")
        assert answer.headers["retry-after"] == "1"
        # Slowed: the clock stands still, the wait is the machine's own and short.
        assert (await http.post("/api/deltas", json=some(2))).status_code == 201
        assert app.gateway.metrics.slowed == 1
