"""How many may come in, and that whoever leaves makes room."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from recorder.core.clock import FakeClock
from recorder.core.errors import TooMany
from recorder.core.metrics import Metrics
from recorder.net.connection_limits import (
    MAX_REJECTED,
    Admission,
    AdmissionLimits,
    max_rejected,
    network_of,
)
from tests.support.app import running_app, turn_until
from tests.support.http import bare, client, refused, request
from tests.support.wire import Refused


def admission(**limits: int) -> Admission:
    return Admission(AdmissionLimits(**limits), FakeClock(), Metrics())


class Accepted:
    """A connection that was accepted."""

    is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


def test_one_more_than_allowed_is_told_why_and_gets_in_when_another_has_left() -> None:
    limits, (a, b, c) = admission(connections=2), [Accepted() for _ in range(3)]
    assert limits.enter(a, "10.0.0.1") is None
    assert limits.enter(b, "10.0.0.2") is None
    refusal = limits.enter(c, "10.0.0.3")
    assert refusal is not None
    assert "MAX_CONNECTIONS sets the limit" in str(refusal)
    assert limits.connections == 2
    limits.leave(c)
    limits.leave(a)
    limits.leave(a)
    assert limits.enter(c, "10.0.0.3") is None


def test_one_address_cannot_take_every_place() -> None:
    limits, (a, b, c) = admission(per_address=1), [Accepted() for _ in range(3)]
    assert limits.enter(a, "10.0.0.1") is None
    refusal = limits.enter(b, "10.0.0.1")
    assert "MAX_CONNECTIONS_PER_ADDRESS" in str(refusal)
    assert limits.enter(c, "10.0.0.2") is None
    limits.leave(a)
    assert limits.enter(b, "10.0.0.1") is None


def test_of_many_that_wait_to_be_rejected_the_oldest_is_cut() -> None:
    limits = admission(connections=1000)
    for _ in range(1000):
        limits.enter(Accepted(), "")
    waiting = [Accepted() for _ in range(MAX_REJECTED)]
    for one in waiting:
        assert limits.enter(one, "") is not None
    newest = Accepted()
    assert limits.enter(newest, "") is not None
    assert [one.is_aborted for one in [*waiting, newest]] == [True, *[False] * MAX_REJECTED]
    limits.leave(waiting[1])
    assert limits.enter(Accepted(), "") is not None
    assert not waiting[2].is_aborted


async def test_health_is_answered_however_many_idle_connections_there_are() -> None:
    async with running_app(None, max_connections=1) as app, AsyncExitStack() as idle:
        for _ in range(40):
            await idle.enter_async_context(bare(app))
        async with client(app) as http:
            assert (await http.get("/readyz")).status_code == 200


def test_upgrades_of_one_address_have_a_rate() -> None:
    clock = FakeClock()
    door = Admission(AdmissionLimits(upgrades_per_minute=3), clock, Metrics())
    for _ in range(3):
        door.upgrade("::1")
    with pytest.raises(TooMany, match="MAX_UPGRADES_PER_MINUTE"):
        door.upgrade("::2")
    door.upgrade("10.0.0.1")
    clock.advance(20)
    door.upgrade("::1")


async def test_behind_a_proxy_limits_are_for_whom_it_names_and_not_for_the_proxy() -> None:
    settings = {
        "max_connections_per_address": 1,
        "max_upgrades_per_minute": 1,
        "trusted_proxies": "127.0.0.1",
    }
    async with (
        running_app(None, **settings) as app,
        app.connect("/ws", [("x-forwarded-for", "192.0.2.1")]),
        app.connect("/ws", [("x-forwarded-for", "198.51.100.1, 192.0.2.2")]),
    ):
        for again in ("192.0.2.1", "203.0.113.5, 192.0.2.2"):
            with pytest.raises(Refused, match="429"):
                async with app.connect("/ws", [("x-forwarded-for", again)]):
                    pass
    async with (
        running_app(None, **{**settings, "trusted_proxies": ""}) as app,
        app.connect("/ws", [("x-forwarded-for", "192.0.2.1")]),
    ):
        with pytest.raises(Refused, match="429"):
            async with app.connect("/ws", [("x-forwarded-for", "192.0.2.2")]):
                pass


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:0:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("not:an:address", "not:an:address", True),
        ("", "10.0.0.1", False),
    ],
)
def test_an_ipv6_address_counts_with_its_network(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


# Over the wire


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_address"])
async def test_a_connection_too_many_is_told_so_over_http_and_before_an_upgrade(limit: str) -> None:
    limits: dict[str, Any] = {limit: 2}
    async with running_app(None, **limits) as app, app.connect() as wire, app.connect() as other:
        await wire.until("live")
        await other.until("live")
        async with client(app) as http:
            await refused(await http.get("/api/stats"), 429, "too_many")
        with pytest.raises(Refused, match="429"):
            async with app.connect():
                pass
        await turn_until(lambda: not app.gateway.upgrades.admission._rejected)
        reason = limit.removeprefix("max_")
        assert app.gateway.metrics.rejected == {reason: 2}
        assert app.gateway.upgrades.admission.connections == 2
        await other.close()
        await turn_until(lambda: app.gateway.upgrades.admission.connections == 1)
        async with app.connect() as again:
            await again.until("live")


async def test_every_kind_of_connection_is_counted_out_when_it_has_gone() -> None:
    async with running_app(None) as app:
        door = app.gateway.upgrades.admission
        async with app.connect(), app.connect("/publish"), client(app) as http, bare(app) as raw:
            await http.get("/healthz")
            await raw.send(
                request(app, "GET /nowhere", [("Upgrade", "websocket"), ("Connection", "upgrade")])
            )
            await raw.head()
            with pytest.raises(Refused):
                async with app.connect("/nowhere"):
                    pass
            await turn_until(lambda: door.connections in (3, 4))
        await turn_until(lambda: door.connections == 0)
        assert door._per_network == {}


async def test_upgrades_beyond_the_rate_get_429_and_when_to_come_back() -> None:
    async with running_app(None, max_upgrades_per_minute=2, clock=FakeClock()) as app:
        for _ in range(2):
            async with app.connect() as wire:
                await wire.until("live")
        with pytest.raises(Refused, match=r"429.*more than 2 upgrades"):
            async with app.connect():
                pass
        assert app.gateway.metrics.rejected == {"upgrades_per_minute": 1}


async def test_a_full_recorder_still_says_that_it_is_alive_and_ready() -> None:
    async with running_app(None, max_connections=1) as app, app.connect() as wire:
        await wire.until("live")
        async with client(app) as http:
            for path, status in (("/healthz", 200), ("/readyz?from=probe", 200), ("/api/stats", 429)):
                answer = await http.get(path)
                assert (answer.status_code, answer.headers["connection"]) == (status, "close")
        await turn_until(lambda: not app.gateway.upgrades.admission._rejected)


async def test_one_too_many_that_asks_for_nothing_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.net.http.ONE_TOO_MANY_SECONDS", 0.05)
    async with running_app(None, max_connections=1) as app, app.connect(), bare(app) as silent:
        assert (await silent.answer())[2]["code"] == "too_many"
        await turn_until(lambda: not app.gateway.upgrades.admission._rejected)


def test_few_connections_leave_room_for_few_that_are_too_many() -> None:
    assert [max_rejected(count) for count in (1, 28, 100, 512, 10_000)] == [8, 8, 12, 64, 64]
