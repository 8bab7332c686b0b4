"""What an operator does by hand: snapshots, pruning, and the list of what has run."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from recorder.api.admin import parse_prune
from recorder.core.clock import FakeClock
from recorder.core.errors import InvalidJson, InvalidQuery
from recorder.core.timestamps import format_ms
from tests.support.app import delta, running_app, some
from tests.support.http import client, get, refused, seqs
from tests.support.trouble import refuse_writing

DAY = 86_400


async def test_a_snapshot_brings_everything_to_disk_and_says_what_it_did(tmp_path: Path) -> None:
    clock = FakeClock()
    path = tmp_path / "sessions.sqlite"
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:
        await app.publish(*some(5))
        found = (await http.post("/api/admin/snapshot")).json()
        assert found == {
            "rows": 5,
            "durable": 5,
            "fileSize": path.stat().st_size,
            "lastSnapshotAt": format_ms(clock.now_ms()),
        }
        with closing(sqlite3.connect(path)) as conn:
            assert conn.execute("SELECT count(*) FROM session_deltas").fetchone() == (5,)
        # It is taken even where nothing has changed, since it was asked for.
        assert (await http.post("/api/admin/snapshot")).json()["rows"] == 0
        assert len((await get(http, "/api/jobs"))["jobs"]) == 2


async def test_a_snapshot_that_fails_is_a_503_and_stands_in_the_list(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(delta())
        await refuse_writing(app)
        problem = await refused(await http.post("/api/admin/snapshot"), 503, "store_error")
        assert "readonly" in problem["detail"]
        await refuse_writing(app, yes=False)
        assert (await http.post("/api/admin/snapshot")).status_code == 200
        runs = (await get(http, "/api/jobs"))["jobs"]
        assert [(run["outcome"], run["error"] is None) for run in runs] == [("ok", True), ("failed", False)]


async def test_pruning_by_a_time_removes_what_was_recorded_before_it(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:
        await app.publish(*some(3))
        clock.advance(1)
        await app.publish(*some(3))
        edge = format_ms(clock.now_ms())
        # The same moment elsewhere.
        asked = format_ms(clock.now_ms() + 3_600_000).replace("Z", "+01:00")
        found = (await http.post("/api/admin/prune", json={"olderThan": asked})).json()
        assert found == {"deleted": 3, "oldest": 4, "olderThan": edge}
        assert await seqs(http) == [6, 5, 4]
        assert (await http.post("/api/admin/prune", json={"olderThan": asked})).json()["deleted"] == 0


@pytest.mark.parametrize("body", [b"", b"  \n", b"{}", b'{"olderThan":null}'])
async def test_pruning_without_a_time_goes_by_the_settings(body: bytes, tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, retention_days=7) as app, client(app) as http:
        await app.publish(delta())
        clock.advance(1)
        await app.publish(delta())
        clock.advance(7 * DAY)
        found = (await http.post("/api/admin/prune", content=body)).json()
        # Kept is what is exactly as old as it may be.
        assert found == {"deleted": 1, "oldest": 2, "olderThan": None}


async def test_pruning_everything_leaves_the_order_where_it_was(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*some(5))
        found = (await http.post("/api/admin/prune", json={"olderThan": "9999-01-01T00:00:00Z"})).json()
        assert (found["deleted"], found["oldest"]) == (5, 6)
        assert (await get(http, "/api/deltas"))["deltas"] == []
        assert (await http.post("/api/deltas", json=delta())).json()["seq"] == 6
        assert await seqs(http) == [6]


async def test_prunes_at_the_same_time_take_turns(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*some(2500))
        asked = {"olderThan": "9999-01-01T00:00:00Z"}
        answers = await asyncio.gather(*[http.post("/api/admin/prune", json=asked) for _ in range(3)])
        assert sorted(answer.json()["deleted"] for answer in answers) == [0, 0, 2500]


@pytest.mark.parametrize(
    "body", [b"[]", b"1", b'"2026-01-01T00:00:00Z"', b'{"older_than":"2026-01-01T00:00:00Z"}',
             b'{"olderThan":"2026-01-01"}', b'{"olderThan":1}', b'{"olderThan":"1969"}', b'{"olderThan":{}}'],
)  # fmt: skip
def test_anything_else_that_is_asked_of_a_prune_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidQuery):
        parse_prune(body)


@pytest.mark.parametrize("body", [b"{", b"olderThan=2026", b"\xff", b"[" * 9999])
def test_a_prune_that_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse_prune(body)


async def test_a_prune_that_is_refused_removes_nothing(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(delta())
        at = "9999-01-01T00:00:00Z"
        await refused(await http.post(f"/api/admin/prune?olderThan={at}"), 400, "invalid_query")
        await refused(
            await http.post("/api/admin/prune", json={"olderThan": at, "x": 1}), 400, "invalid_query"
        )
        await refused(await http.post("/api/admin/prune", content=b" " * 20_000), 413, "message_too_large")
        assert await seqs(http) == [1]
        assert (await get(http, "/api/jobs"))["jobs"] == []


async def test_jobs_are_listed_latest_first_by_name_and_up_to_a_limit(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:
        await app.publish(delta())
        for path in ("snapshot", "prune", "snapshot"):
            assert (await http.post(f"/api/admin/{path}")).status_code == 200
            clock.advance(1)
        runs = (await get(http, "/api/jobs"))["jobs"]
        # A prune ends with a snapshot, which is one like any other.
        assert [run["name"] for run in runs] == ["snapshot", "prune", "snapshot", "snapshot"]
        assert [run["id"] for run in runs] == sorted((run["id"] for run in runs), reverse=True)
        assert runs[1]["counts"] == {"deleted": 0}
        assert runs[0]["startedAt"] == format_ms(clock.now_ms() - 1000)
        assert (await get(http, "/api/jobs", name="prune"))["jobs"] == [runs[1]]
        assert (await get(http, "/api/jobs", limit=2))["jobs"] == runs[:2]
        assert (await get(http, "/api/jobs", name="nothing"))["jobs"] == []
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:
        # They are kept over a restart.
        assert (await get(http, "/api/jobs"))["jobs"][-4:] == runs
