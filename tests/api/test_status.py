"""How the recorder says that it is: stats, readiness, metrics, the page for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from recorder.auth.signing import known_keys
from recorder.core.clock import FakeClock
from recorder.core.errors import StoreError
from recorder.core.statements import Head, PruneReceipt
from recorder.core.timestamps import format_ms
from recorder.verify.statements import holds
from recorder.wire.statements import signed_of
from tests.support.app import delta, running_app, some
from tests.support.http import client, get, refused
from tests.support.trouble import break_recording, refuse_writing


async def samples(http: httpx.AsyncClient) -> dict[str, float]:
    """Every sample of /metrics: `name` or `name{label}`."""
    response = await http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(response.text):
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(sample.labels.values())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_stats_are_there_before_the_first_snapshot(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        stats = await get(http, "/api/stats")
        assert stats["enabled"] is True
        assert stats["dbPath"] == str(tmp_path / "sessions.sqlite")
        assert (stats["lastSnapshotAt"], stats["lastSnapshotError"], stats["lastPruneAt"]) == (
            None,
            None,
            None,
        )
        assert (stats["deltaCount"], stats["sessionCount"], stats["head"], stats["oldest"]) == (0, 0, 0, 1)
        assert (stats["durability"], stats["lossWindowMs"]) == ("snapshot", 60_000)
        assert stats["epoch"] == app.epoch
        (tmp_path / "sessions.sqlite").rename(tmp_path / "elsewhere")
        assert (await get(http, "/api/stats"))["fileSize"] is None
        (tmp_path / "elsewhere").rename(tmp_path / "sessions.sqlite")


async def test_counters_are_right_after_every_kind_of_change(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:

        async def counts() -> tuple[Any, ...]:
            stats = await get(http, "/api/stats")
            names = ("deltaCount", "sessionCount", "head", "recorded", "durable", "oldest")
            return tuple(stats[name] for name in names)

        for body in (delta("a", type="created"), delta("a"), delta("b")):
            await http.post("/api/deltas", json=body)
        assert await counts() == (3, 2, 3, 3, 0, 1)
        # A deleted session is known as long as something of it is kept.
        await http.post("/api/deltas", json={"type": "deleted", "sessionId": "b"})
        assert await counts() == (4, 2, 4, 4, 0, 1)
        clock.advance(1)
        await http.post("/api/deltas", json=delta("c"))
        await http.post("/api/admin/prune", json={"olderThan": format_ms(clock.now_ms())})
        assert await counts() == (1, 2, 5, 5, 5, 5)
        stats = await get(http, "/api/stats")
        assert stats["lastPruneAt"] == stats["lastSnapshotAt"] == format_ms(clock.now_ms())
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:
        assert await counts() == (1, 2, 5, 5, 5, 5)


async def test_connections_are_counted(tmp_path: Path) -> None:
    async with (
        running_app(tmp_path) as app,
        client(app) as http,
        app.connect() as one,
        app.connect() as two,
        app.connect("/publish") as three,
    ):
        for wire in (one, two, three):
            await wire.until("hello")
        stats = await get(http, "/api/stats")
        assert (stats["subscribers"], stats["publishers"]) == (2, 1)


async def test_with_recording_off_stats_say_so(tmp_path: Path) -> None:
    async with running_app(None) as app, client(app) as http:
        await app.publish(delta())
        stats = await get(http, "/api/stats")
        assert stats == {
            "enabled": False,
            "recording": False,
            "epoch": app.epoch,
            "head": 1,
            "subscribers": 0,
            "publishers": 0,
            "clockBehindMs": 0,
        }
        assert (await samples(http))["recorder_recording"] == 0
        assert (await get(http, "/readyz")) == {"ready": True, "recording": False}
        for target in (
            "/api/deltas",
            "/api/deltas/s",
            "/api/sessions",
            "/api/sessions/s",
            "/api/export",
            "/api/jobs",
        ):
            problem = await refused(await http.get(target), 409, "not_recording")
            assert "PERSIST=1" in problem["hint"]
        assert (await samples(http))["recorder_head"] == 1


async def test_it_is_ready_when_it_is_loaded_and_alive_all_the_time(tmp_path: Path) -> None:
    async with running_app(tmp_path, load=False) as app, client(app) as http:
        response = await http.get("/readyz")
        problem = await refused(response, 503, "not_ready")
        assert problem["detail"].startswith("loading")
        assert response.headers["retry-after"] == "1"
        assert (await http.get("/healthz")).text == "ok\n"
        assert (await http.get("/metrics")).status_code == 200
        await refused(await http.get("/api/stats"), 503, "unavailable")
        await app.gateway.load()
        assert await get(http, "/readyz") == {"ready": True, "recording": True}
        app.gateway.stop_ingest()
        assert (await refused(await http.get("/readyz"), 503, "not_ready"))["detail"] == "stopping"
        assert (await http.get("/healthz")).status_code == 200


async def test_it_is_not_ready_while_snapshots_keep_failing(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(delta())
        await refuse_writing(app)
        for failures in (1, 2):
            await http.post("/api/admin/snapshot")
            problem = await refused(await http.get("/readyz"), 503, "not_ready")
            assert f"snapshots fail ({failures} in a row)" in problem["detail"]
            assert "readonly" in problem["detail"]
        stats = await get(http, "/api/stats")
        assert "readonly" in stats["lastSnapshotError"]
        assert stats["lastSnapshotAt"] is None
        await refuse_writing(app, yes=False)
        await http.post("/api/admin/snapshot")
        assert await get(http, "/readyz") == {"ready": True, "recording": True}
        assert (await get(http, "/api/stats"))["lastSnapshotError"] is None


async def test_it_is_not_ready_when_recording_has_failed(tmp_path: Path) -> None:
    async def fail() -> None:
        async with running_app(tmp_path) as app, client(app) as http:
            await break_recording(app)
            await refused(await http.post("/api/deltas", json=delta()), 503, "unavailable")
            problem = await refused(await http.get("/readyz"), 503, "not_ready")
            assert problem["detail"].startswith("recording failed: ")
            assert (await samples(http))["recorder_ready"] == 0

    with pytest.raises(StoreError, match="nothing can be recorded"):
        await fail()


async def test_metrics_parse_and_hold_all_that_is_to_be_measured(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http, app.connect("/ws?since=earliest") as wire:
        await wire.until("live")
        assert (await http.post("/api/deltas", content=b"{")).status_code == 400
        await http.post("/api/deltas", json=[delta(n=1, id="x"), delta(before={"n": 9})])
        await http.post("/api/deltas", json=delta(n=1, id="x"))
        await wire.deltas(2)
        await http.post("/api/admin/snapshot")
        await http.post("/api/admin/prune", json={"olderThan": "9999-01-01T00:00:00Z"})
        await get(http, "/api/deltas")
        found = await samples(http)
    exact = {
        "recorder_deltas_accepted_total": 2,
        "recorder_deltas_duplicate_total": 1,
        "recorder_publishes_rejected_total{invalid_json}": 1,
        "recorder_lineage_breaks_total": 1,
        "recorder_deliveries_total": 2,
        "recorder_subscribers": 1,
        "recorder_publishers": 0,
        "recorder_slow_readers_closed_total": 0,
        "recorder_head": 2,
        "recorder_recorded_head": 2,
        "recorder_durable_head": 2,
        "recorder_oldest": 3,
        "recorder_deltas": 0,
        "recorder_queue_deltas": 0,
        "recorder_pruned_deltas_total": 2,
        "recorder_prunes_total{ok}": 1,
        "recorder_prunes_total{failed}": 0,
        "recorder_snapshots_total{failed}": 0,
        "recorder_resumes_total{resumed}": 1,
        "recorder_outbox_bytes": 0,
        "recorder_slowest_lag_bytes": 0,
        "recorder_slowest_lag_deltas": 0,
        "recorder_requests_failed_total": 0,
        "recorder_ready": 1,
    }
    assert {name: found.get(name) for name in exact} == exact
    assert found["recorder_delivered_bytes_total"] > 100
    assert found["recorder_snapshot_size_bytes"] > 1000
    assert found["recorder_snapshot_duration_seconds"] > 0
    assert 0 <= found["recorder_snapshot_age_seconds"] < 60
    assert found["recorder_history_seconds_count"] >= 1
    assert found["recorder_history_seconds_bucket{+Inf}"] == found["recorder_history_seconds_count"]


async def test_metrics_count_snapshots_that_fail(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*some(3))
        await refuse_writing(app)
        await http.post("/api/admin/snapshot")
        await refuse_writing(app, yes=False)
        found = await samples(http)
        assert (found["recorder_snapshots_total{failed}"], found["recorder_durable_head"]) == (1, 0)
        # No figure yet is no sample, not a 0.
        assert "recorder_snapshot_age_seconds" not in found


async def test_probes_may_add_what_they_like(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await http.get(f"{path}?name[]=up&_=1")).status_code == 200


async def test_the_head_is_where_the_recording_ends_and_says_what_is_on_disk(tmp_path: Path) -> None:
    async with running_app(tmp_path, key_file=tmp_path / "k") as app, client(app) as http:
        empty = signed_of(Head, await get(http, "/api/head"))
        assert (empty.payload.seq, empty.payload.count, empty.payload.hash, empty.payload.durable) == (
            0,
            0,
            None,
            0,
        )
        await app.publish(*some(2))
        await http.post("/api/admin/snapshot")
        await app.publish(*some(3))
        head = signed_of(Head, await get(http, "/api/head"))
        (last,) = (await get(http, "/api/deltas", limit=1))["deltas"]
        assert (head.payload.epoch, head.payload.seq, head.payload.count, head.payload.durable) == (
            app.epoch,
            5,
            5,
            2,
        )
        assert head.payload.hash == bytes.fromhex(last["hash"])
        assert holds(head)
        assert head.by is not None
        assert {head.by.key_id} == known_keys(tmp_path / "k")


async def test_what_was_pruned_has_a_receipt_that_is_signed_once_it_is_on_disk(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*some(5))
        assert await get(http, "/api/receipts") == {
            "epochs": [{"epoch": app.epoch, "firstSeq": 1}],
            "prunes": [],
            "erasures": [],
        }
        await app.recorder.maintenance.snapshot()
        await app.recorder.recording.prune(3, "3 deltas")
        (unsigned,) = (await get(http, "/api/receipts"))["prunes"]
        assert (unsigned["signature"], unsigned["basesDigest"]) == (None, None)
        await app.recorder.maintenance.snapshot()
        (receipt,) = (await get(http, "/api/receipts"))["prunes"]
        assert holds(signed_of(PruneReceipt, receipt))
        assert (receipt["firstSeq"], receipt["lastSeq"], receipt["count"], receipt["policy"]) == (
            1,
            3,
            3,
            "3 deltas",
        )
        assert receipt["basesDigest"] is not None
        head: Any = await get(http, "/api/head")
        assert (head["seq"], head["count"]) == (5, 2)


async def test_where_nothing_is_signed_or_recorded_it_is_said(tmp_path: Path) -> None:
    async with running_app(tmp_path, key_file="none") as app, client(app) as http:
        assert (
            "KEY_FILE" in orjson.dumps(await refused(await http.get("/api/head"), 404, "not_found")).decode()
        )
        await refused(await http.get("/api/receipts?x=1"), 400, "invalid_query")
    async with running_app(None) as app, client(app) as http:
        for path in ("/api/head", "/api/receipts"):
            await refused(await http.get(path), 409, "not_recording")
