"""A subscriber whose connection is cut at any byte, again and again under load, misses nothing, sees nothing twice."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

from recorder.core.clock import FakeClock
from tests.support.app import App, delta, running_app, turn, turn_until
from tests.support.proxy import Proxy
from tests.support.wire import Refused, connect

TOTAL = 4000
CUTS = 100


class Follower:
    """A client that keeps nothing but its position, and comes back with it.

    Args:
        url: Where to connect: the proxy's.
        session: Only this one; None for all.
        position: Where it begins.
    """

    def __init__(self, url: str, session: str | None, position: str) -> None:
        self.url = url
        self.session = session
        self.position = position
        self.deltas: list[tuple[int, dict[str, Any]]] = []  # (seq, delta) as they came
        self.lives: list[int] = []  # of each connection that got so far
        self.connections = 0

    async def follow(self, until: int) -> None:
        """Until everything up to a seq has been seen."""
        while not (self.lives and self.reached >= until):
            self.connections += 1
            try:
                await self.once(until)
            except (EOFError, ConnectionError, Refused):
                continue

    @property
    def reached(self) -> int:
        """The seq of its position."""
        return int(self.position.rpartition(":")[2])

    async def once(self, until: int) -> None:
        """One connection, to its end."""
        query = f"since={self.position}" + (f"&session={self.session}" if self.session else "")
        async with connect(self.url, f"/ws?{query}") as wire:
            epoch = (await wire.event())["epoch"]
            lives = 0
            while self.reached < until or not lives:
                event = await wire.event()
                assert event["event"] in ("delta", "live", "heartbeat"), event
                if event["event"] == "delta":
                    self.deltas.append((event["seq"], event["delta"]))
                    self.position = f"{epoch}:{event['seq']}"
                elif event["event"] == "live":
                    lives += 1
                    assert lives == 1
                    assert event["seq"] >= self.reached
                    self.lives.append(event["seq"])
                    # From here on it holds everything up to here, matching or not.
                    self.position = f"{epoch}:{event['seq']}"


async def pour(app: App, followers: list[Follower]) -> None:
    """All deltas, at the pace of who is cut most: the cuts are to happen while there is something to miss."""
    dice = random.Random(7)
    while app.head < TOTAL:
        count = min(dice.choice((1, 3, 10)), TOTAL - app.head)
        app.publish_nowait(*[delta(f"s{(app.head + n) % 3}", app.head + n) for n in range(count)])
        await turn(2)
        while min(follower.reached for follower in followers) < app.head - 400:
            await turn(1)
    app.publish_nowait(delta("s0", TOTAL), delta("s1", TOTAL), delta("s2", TOTAL))


async def test_cut_a_hundred_times_at_any_byte_under_load_nothing_is_missed_and_nothing_comes_twice(
    tmp_path: Path,
) -> None:
    dice = random.Random(11)

    def allowance() -> int | None:
        if proxy.cuts >= CUTS + 50:
            return None
        # In the answer to the handshake, in a frame's header, in its payload, between frames: anywhere.
        return dice.choice((dice.randrange(1, 400), dice.randrange(1, 3000), dice.randrange(1, 40_000)))

    async with running_app(tmp_path) as app, Proxy(app.url, allowance) as proxy:
        # A small tail, so that resuming goes through the store as well.
        app.recorder.hub.tail._max_bytes = 20_000
        start = app.at(0)
        followers = [Follower(proxy.url, session, start) for session in (None, "s1", None)]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pour(app, followers), name="load")
            for number, follower in enumerate(followers):
                # What comes last for everyone is one of each session.
                tasks.create_task(
                    follower.follow(TOTAL + (2 if follower.session else 3)), name=f"follower-{number}"
                )
        assert proxy.cuts >= CUTS
        assert app.head == TOTAL + 3
        for follower in followers:
            sessions = {follower.session} if follower.session else {"s0", "s1", "s2"}
            expected = [
                (seq, f"s{(seq - 1) % 3}" if seq <= TOTAL else f"s{seq - TOTAL - 1}")
                for seq in range(1, TOTAL + 4)
            ]
            wanted = [(seq, session) for seq, session in expected if session in sessions]
            got = [(seq, item["sessionId"]) for seq, item in follower.deltas]
            assert got == wanted
            states = {item["sessionId"]: item["after"]["n"] for _, item in follower.deltas}
            assert states == dict.fromkeys(sessions, TOTAL)
        assert app.gateway.metrics.slow_closed == 0
        assert not [name for name in app.gateway.metrics.resumes if name.startswith("reset")]


async def test_a_stalled_network_is_a_slow_reader_and_nothing_else(tmp_path: Path) -> None:
    """One behind a network that stands still is let go with its position; when it flows again, nothing is missing."""
    clock = FakeClock()
    limits = {"slow_soft_bytes": 20_000, "slow_soft_time": 1000, "slow_hard_bytes": 10_000_000}
    async with running_app(tmp_path, clock=clock, **limits) as app, Proxy(app.url) as proxy:
        follower = Follower(proxy.url, None, app.at(0))
        following = asyncio.create_task(follower.follow(3000), name="follower")
        await app.publish(*[delta("s0", n) for n in range(100)])
        await turn_until(lambda: follower.reached == 100)
        proxy.stall()
        app.narrow()
        async with app.connect() as healthy:
            await healthy.until("live")
            while not app.gateway.metrics.slow_closed:
                await app.publish(*[delta("s0", n, after={"pad": "x" * 5000}) for n in range(20)])
                await healthy.deltas(app.head)
                clock.advance(0.2)
                app.sweep()
            missing = 3000 - app.head
            assert missing > 0
            await app.publish(*[delta("s0", n) for n in range(missing)])
            proxy.flow()
            await following
        assert [seq for seq, _ in follower.deltas] == list(range(1, 3001))
        assert follower.connections == 2
