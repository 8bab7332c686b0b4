"""`before` is compared with what was recorded last, as JSON: kept as sent, marked, counted, shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from recorder.core.clock import FakeClock
from tests.support.app import App, running_app
from tests.support.http import client, get


async def send(app: App, *texts: str) -> None:
    await app.recorder.publish(f"[{','.join(texts)}]".encode())


def updated(session: str, after: str, before: str | None = None) -> str:
    sent = "" if before is None else f',"before":{before}'
    return f'{{"type":"updated","sessionId":"{session}"{sent},"after":{after}}}'


async def marks(http: httpx.AsyncClient, **params: Any) -> list[tuple[int, str | None]]:
    found = (await get(http, "/api/deltas", order="asc", **params))["deltas"]
    return [(item["seq"], item.get("lineage")) for item in found]


@pytest.mark.parametrize("durability", ["snapshot", "commit"])
async def test_a_break_is_kept_as_sent_marked_counted_and_can_be_asked_for(
    tmp_path: Path, durability: str
) -> None:
    async with running_app(tmp_path, durability=durability) as app, client(app) as http:
        async with app.connect() as wire:
            await wire.until("live")
            await send(app, updated("a", '{"x": 1, "y": [true]}'))
            await send(app, updated("a", "2", '{"y":[true],"x":1.0}'))  # the same, told otherwise
            await send(app, updated("a", "3", '{ "other" : 1e2 }'))  # another
            await send(app, updated("a", "4", "3"), updated("b", "1", "0"))  # the last; of b nothing is known
            events = [await wire.event() for _ in range(5)]
        assert [event.get("lineage") for event in events] == [None, None, "broken", None, None]
        assert events[2]["delta"]["before"] == {"other": 100.0}
        assert b'"before":{ "other" : 1e2 }' in (await http.get("/api/deltas?lineage=broken")).content
        assert await marks(http, lineage="broken") == [(3, "broken")]
        assert await marks(http, lineage="broken", session="b") == []
        assert (await get(http, "/api/stats"))["lineageBreaks"] == 1
        assert "recorder_lineage_breaks_total 1.0" in (await http.get("/metrics")).text
        lines = (await http.get("/api/export?lineage=broken")).content.splitlines()
        assert [orjson.loads(line)["seq"] for line in lines] == [3]
    async with running_app(tmp_path, durability=durability) as app, client(app) as http:
        # What was recorded last is known after a restart, too.
        await send(app, updated("a", "5", "4"), updated("a", "6", "4"))
        assert await marks(http, after=5) == [(6, None), (7, "broken")]


async def test_what_was_pruned_still_counts_and_what_was_erased_does_not(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:
        await send(app, updated("a", "1"), updated("b", "1"), '{"type":"deleted","sessionId":"b"}')
        clock.advance(60)
        await http.post("/api/admin/prune", json={"olderThan": "2999-01-01T00:00:00Z"})
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:
        # a's state survived as its base; b was deleted, so nothing is known of it.
        await send(app, updated("a", "2", "9"), updated("b", "2", "9"))
        assert await marks(http) == [(4, "broken"), (5, None)]
        await http.post("/api/admin/erase", json={"sessionId": "a"})
        await send(app, updated("a", "3", "9"), updated("a", "4", "9"))
        assert await marks(http, after=5) == [(6, None), (7, "broken")]
        assert await marks(http, lineage="broken") == [(4, "broken"), (7, "broken")]


async def test_a_session_that_lives_and_is_created_again_has_a_broken_lineage(tmp_path: Path) -> None:
    def created(after: str) -> str:
        return f'{{"type":"created","sessionId":"a","after":{after}}}'

    async with running_app(tmp_path) as app, client(app) as http:
        await send(app, created('{"n":1,"lost":true}'), created('{"n":2}'))
        await send(app, '{"type":"deleted","sessionId":"a"}', created('{"n":3}'))
        assert await marks(http) == [(1, None), (2, "broken"), (3, None), (4, None)]
        second = (await get(http, "/api/deltas", lineage="broken"))["deltas"][0]
        # What was lost is told by the states that are recorded; what was sent stays as it was sent.
        assert "before" not in second["delta"]
        assert "beforeFilled" not in second
        patch = (await http.get("/api/sessions/a/diff?to=2")).json()
        assert {"op": "remove", "path": "/lost"} in patch
    async with running_app(tmp_path) as app, client(app) as http:
        await send(app, created('{"n":4}'))
        assert await marks(http, lineage="broken", after=3) == [(5, "broken")]
