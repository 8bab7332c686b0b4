"""Erasing in a running recorder: from all that it has, told to all who may have seen it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from recorder.core.clock import FakeClock
from recorder.core.errors import NotFound, NotRecording, StoreError
from recorder.store.sqlite import erasure
from recorder.verify.file import verify_file
from recorder.verify.report import Level
from tests.support.app import App, delta, running_app, turn_until
from tests.support.http import client, get, refused
from tests.support.wire import Wire

SECRET = "the secret"


def secret(number: int, **fields: Any) -> dict[str, Any]:
    return delta("taken", after=f"{SECRET} {number}", **fields)


async def erase(http: httpx.AsyncClient, session: str = "taken") -> Any:
    response = await http.post("/api/admin/erase", json={"sessionId": session, "reason": "asked to"})
    assert response.status_code == 200, response.text
    return response.json()


async def events_until(wire: Wire, name: str) -> list[dict[str, Any]]:
    return [event for event in await wire.until(name) if event["event"] != "hello"]


async def assert_gone(app: App) -> None:
    """It is neither in memory, nor in a file beside the database, nor among what subscribers may still get."""
    store = app.recorder.recording
    image = await store._memory.run(lambda conn: conn.serialize())
    assert SECRET.encode() not in image
    for path in store.path.parent.iterdir():
        assert SECRET.encode() not in path.read_bytes(), path.name
    tail = app.recorder.hub.tail
    for entry in tail.after(tail.first_seq - 1) or []:
        assert SECRET.encode() not in entry.frame
        assert SECRET not in f"{entry.before}{entry.after}"


@pytest.mark.parametrize("durability", ["snapshot", "commit"])
async def test_what_a_session_said_is_gone_everywhere_and_the_rest_stays(
    tmp_path: Path, durability: str
) -> None:
    async with running_app(tmp_path, clock=FakeClock(), durability=durability) as app, client(app) as http:
        await app.publish(
            delta("other", after="kept"), secret(1), secret(2), delta("other", after="kept too")
        )
        await app.recorder.recording.snapshot()
        await app.publish(secret(3, id="once"), {"type": "deleted", "sessionId": "gone"})
        answer = await erase(http)
        assert (answer["count"], answer["receipt"]["headSeq"], answer["copies"]) == (3, 6, [])
        assert ["digest" in answer["remains"][0], "memory" in answer["remains"][1]] == [True, True]
        await assert_gone(app)
        # From the tail and from the store alike.
        items = [item for item in (await get(http, "/api/deltas", order="asc"))["deltas"]]
        assert [("erased" in item, "after" in item["delta"]) for item in items] == [
            (False, True), (True, False), (True, False), (False, True), (True, False), (False, False),
        ]  # fmt: skip
        async with app.connect("/ws?since=earliest") as wire:
            sent = [event for event in await events_until(wire, "live") if event["event"] == "delta"]
            assert [{key: value for key, value in event.items() if key != "event"} for event in sent] == items
        found = await get(http, "/api/sessions/taken")
        assert (found["state"], found["deleted"], found["erased"]) == (None, False, True)
        async with app.connect("/ws?since=state") as wire:
            names = [event.get("sessionId") for event in await events_until(wire, "live")]
            assert names == ["other", None]
        # Nothing is left, and asking again is harmless.
        assert (await erase(http))["receipt"] is None
        # It goes on, and knows nothing of before; an id is still known.
        await app.publish({"type": "updated", "sessionId": "taken", "after": 4}, secret(3, id="once"))
        last = (await get(http, "/api/deltas", limit=1))["deltas"][0]
        assert (last["seq"], "before" in last["delta"], last.get("lineage")) == (7, False, None)
    report = verify_file(tmp_path / "sessions.sqlite", frozenset())
    assert (report.of(Level.BROKEN), report.erased) == ([], 3)


async def test_whoever_may_have_seen_it_is_told(tmp_path: Path) -> None:
    async with running_app(tmp_path, clock=FakeClock()) as app, client(app) as http:
        await app.publish(secret(1), delta("other"))
        told = {
            "event": "erased", "sessionId": "taken", "through": 2, "count": 1, "erasedAt": "2025-11-20T12:00:00.000Z"
        }  # fmt: skip
        async with (
            app.connect("/ws") as everything,
            app.connect("/ws?session=taken&type=deleted") as some,
            app.connect("/ws?session=other") as other,
            app.recorder.subscribe() as inside,
        ):
            for wire in (everything, some, other):
                await wire.until("live")
            assert (await anext(inside))["event"] == "live"
            await erase(http)
            assert [await wire.event() for wire in (everything, some)] == [told, told]
            assert await anext(inside) == told
            await app.publish(delta("other"))
            assert (await everything.event())["seq"] == 3
            assert (await other.event())["seq"] == 3
        for since, first in (
            ("1", told),
            ("2", told),
            ("3", "live"),
            ("earliest", "delta"),
            ("latest", "live"),
        ):
            async with app.connect(f"/ws?since={since}") as wire:
                event = (await events_until(wire, "live"))[0]
                assert event == first or event["event"] == first, since
        async with app.connect("/ws?since=1&session=other") as wire:
            assert [event["event"] for event in await events_until(wire, "live")] == [
                "delta",
                "delta",
                "live",
            ]


async def test_who_asked_and_went_away_does_not_stop_it(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(secret(1))
        eraser = app.recorder.eraser
        asking = asyncio.create_task(eraser.erase("taken"), name="asking")
        await turn_until(lambda: eraser._running)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert SECRET.encode() not in (tmp_path / "sessions.sqlite").read_bytes()


async def test_where_the_disk_says_no_the_state_is_known_again(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(secret(1))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(erasure, "erase", _fail)
            await refused(
                await http.post("/api/admin/erase", json={"sessionId": "taken"}),
                StoreError.http_status,
                "store_error",
            )
        (run,) = (await get(http, "/api/jobs", name="erase"))["jobs"]
        assert (run["outcome"], run["counts"]) == ("failed", {"erased": 0})
        await app.publish({"type": "updated", "sessionId": "taken", "after": 2})
        last = (await get(http, "/api/deltas", limit=1))["deltas"][0]
        assert last["delta"]["before"] == f"{SECRET} 1"


def _fail(*_: object) -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    "body",
    [
        {}, {"sessionId": 1}, {"sessionId": ""}, {"session": "a"}, {"sessionId": "a", "reason": 1},
        {"sessionId": "a", "reason": "x" * 501}, [],
    ],
)  # fmt: skip
async def test_what_is_asked_wrongly_is_refused(tmp_path: Path, body: Any) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await refused(await http.post("/api/admin/erase", json=body), 400, "invalid_query")


async def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await refused(await http.post("/api/admin/erase", json={"sessionId": "a"}), 404, "not_found")
        await refused(await http.post("/api/admin/erase", content=b"{"), 400, "invalid_json")
        with pytest.raises(NotFound):
            await app.recorder.eraser.erase("a")
    async with running_app(None) as app:
        with pytest.raises(NotRecording):
            _ = app.recorder.eraser


async def test_an_export_of_what_was_erased_says_so(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(secret(1))
        await erase(http)
        (line,) = (await http.get("/api/export")).content.splitlines()
        assert set(json.loads(line)["erased"]) == {"after"}
        assert SECRET not in (await http.get("/api/export?format=csv")).text
