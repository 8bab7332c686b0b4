"""How the recorder says it is: ready or why not, and its figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.api.health import stats
from recorder.app import open_recorder
from recorder.core.clock import FakeClock
from recorder.core.errors import StoreError
from tests.support.app import running_app, settings_for, some
from tests.support.trouble import refuse_writing


def gauges(text: bytes) -> dict[str, float]:
    pairs = (line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


async def test_it_is_ready_once_loaded_until_it_stops_and_not_while_snapshots_fail(tmp_path: Path) -> None:
    async with running_app(tmp_path, load=False) as app:
        assert app.gateway.not_ready() == "loading"
        await app.gateway.load()
        assert app.gateway.not_ready() is None
        await app.publish(*some(3))
        await refuse_writing(app)
        for times in (1, 2):
            with pytest.raises(StoreError):
                await app.recorder.maintenance.snapshot()
            said = app.gateway.not_ready()
            assert said is not None
            assert said.startswith(f"snapshots fail ({times} in a row): ")
        await refuse_writing(app, yes=False)
        await app.recorder.maintenance.snapshot()
        assert app.gateway.not_ready() is None
        app.gateway.stop_ingest()
        assert app.gateway.not_ready() == "stopping"


async def test_the_figures_are_there_from_the_first_moment_on(tmp_path: Path) -> None:
    """Stats work before the first snapshot, and count nothing anew."""
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, snapshot_interval=5000) as app:
        figures = await stats(app.gateway)
        assert figures["enabled"] is True
        assert (figures["deltaCount"], figures["sessionCount"], figures["head"], figures["oldest"]) == (
            0,
            0,
            0,
            1,
        )
        assert (figures["durable"], figures["lossWindowMs"], figures["lastSnapshotAt"]) == (0, 5000, None)
        async with app.connect() as wire, app.connect("/publish") as out:
            await wire.until("live")
            await out.until("hello")
            await app.publish(*some(3, "a"), *some(2, "b"))
            await app.recorder.maintenance.snapshot()
            figures = await stats(app.gateway)
        assert (figures["deltaCount"], figures["sessionCount"], figures["durable"]) == (5, 2, 5)
        assert (figures["subscribers"], figures["publishers"]) == (1, 1)
        assert figures["fileSize"] > 0


async def test_without_a_recording_the_figures_say_so() -> None:
    async with running_app(None) as app:
        app.publish_nowait(*some(3))
        figures = await stats(app.gateway)
        keys = {"enabled", "epoch", "head", "subscribers", "publishers"}
        assert (figures["enabled"], figures["head"], set(figures) >= keys) == (False, 3, True)
        assert "recorder_head 3.0" in app.gateway.metrics.render().decode()
        assert "recorder_durable_head" not in app.gateway.metrics.render().decode()


async def test_gauges_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_recorder(settings_for(tmp_path), clock=clock) as recorder:
        before = gauges(recorder.metrics.render())
        assert before["recorder_ready"] == 1
        assert "recorder_snapshot_age_seconds" not in before
        await recorder.publish(b'{"type":"created","sessionId":"s","after":1}')
        await recorder.maintenance.snapshot()
        clock.advance(7)
        after = gauges(recorder.metrics.render())
        assert after["recorder_snapshot_age_seconds"] == 7
        names = ("head", "recorded_head", "durable_head", "deltas", "oldest", "queue_deltas", "subscribers")
        assert [after[f"recorder_{name}"] for name in names] == [1, 1, 1, 1, 1, 0, 0]
        assert after["recorder_snapshot_size_bytes"] > 0
    assert gauges(recorder.metrics.render())["recorder_ready"] == 0
