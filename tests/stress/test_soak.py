"""The soak in short, and that it sees what it looks for."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import httpx
import orjson
from stress import soak

from tests.support.app import running_app, turn_until

LOOK = {
    "recorder_connections": 1.0, "recorder_tasks": 7.0, "recorder_memory_bytes": 1000.0, "files": 17.0,
    "threads": 3.0, "rss": 100.0,
}  # fmt: skip


async def test_for_a_moment_the_recorder_is_as_it_was_and_nothing_is_lost() -> None:
    assert await soak.soak(2, 25, seed=3) == []


async def test_guests_and_strangers_are_seen_to_be_sent_away_or_not(tmp_path: Path) -> None:
    tokens = soak.Tokens(tmp_path)
    async with running_app(None, jwt_key_file=tokens.key_file, jwt_leeway=0) as app:
        url = app.url.replace("http", "ws")
        tally = soak.Tally()
        await asyncio.gather(
            *[soak.stranger(url, random.Random(seed), tokens, tally) for seed in range(20)],
            *[soak.guest(url, random.Random(seed), tokens, tally) for seed in range(3)],
        )
        assert (tally.faults, tally.done) == (Counter(), Counter({"guest closed with 4401": 6}))
    # Where everybody is let in, and nobody sent away but by the end of it all.
    async with running_app(None) as app:
        tally = soak.Tally()
        url = app.url.replace("http", "ws")
        await soak.stranger(url, random.Random(1), tokens, tally)
        staying = asyncio.create_task(soak.guest(url, random.Random(1), tokens, tally), name="guest")
        await turn_until(lambda: app.recorder.hub.subscribers)
        app.gateway.stop_ingest()
        await app.gateway.connections.close()
        await asyncio.gather(staying, return_exceptions=True)
    assert len(tally.faults) == 2


def test_what_does_not_come_back_is_named() -> None:
    assert soak.compare(LOOK, LOOK) == []
    for name in ("recorder_connections", "recorder_tasks", "files", "threads"):
        (fault,) = soak.compare(LOOK, {**LOOK, name: LOOK[name] + 1})
        assert fault.startswith(f"{name}: ")
    (fault,) = soak.compare(LOOK, {**LOOK, "rss": LOOK["rss"] + soak.SPARE_BYTES + 1})
    assert fault.startswith("memory: ")


async def missing(rows: list[tuple[int, str]], acked: set[str]) -> list[str]:
    body = b"\n".join(orjson.dumps({"seq": seq, "delta": {"id": name}}) for seq, name in rows)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with httpx.AsyncClient(transport=transport, base_url="http://recorder") as http:
        return await soak._missing(http, soak.Tally(acked, Counter()))


async def test_what_is_lost_or_recorded_twice_is_named() -> None:
    assert await missing([(1, "a"), (2, "b")], {"a", "b"}) == []
    assert await missing([(1, "a")], {"a", "b"}) == ["1 acked deltas are not recorded"]
    assert await missing([(1, "a"), (2, "a")], {"a"}) == ["1 deltas are recorded twice"]
    assert await missing([(1, "a"), (3, "b")], {"a"}) == ["the order has a gap"]
