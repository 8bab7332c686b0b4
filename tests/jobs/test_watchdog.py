"""What should happen and does not makes the recorder not ready, though nothing has failed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from recorder.core.clock import FakeClock
from recorder.jobs.watchdog import Watchdog
from tests.support.app import delta, running_app, some
from tests.support.http import client, get, refused
from tests.support.trouble import recording_held_up


class Watched:
    """A store and its upkeep whose figures the test decides."""

    def __init__(self) -> None:
        self.recorded = 0
        self.on_file = 0
        self.waiting = 0
        self.pruned_at = 0.0


def make(interval_ms: int = 10_000) -> tuple[Watchdog, Watched, FakeClock]:
    watched, clock = Watched(), FakeClock()
    return Watchdog(watched, watched, clock, interval_ms, ()), watched, clock


def test_a_file_that_is_kept_up_is_fine_however_long_nothing_is_looked_at() -> None:
    dog, watched, clock = make()
    for seq in range(10):
        watched.recorded = seq
        clock.advance(9)
        watched.on_file = seq
        assert dog.overdue() is None
    clock.advance(10_000)
    watched.recorded = 100
    assert (dog.overdue(), dog.lag_seconds) == (None, 0.0)


def test_a_file_that_is_behind_for_more_than_three_intervals_is_overdue() -> None:
    dog, watched, clock = make()
    watched.recorded = 5
    assert dog.overdue() is None
    clock.advance(30)
    watched.recorded = 9
    assert dog.overdue() is None
    clock.advance(0.1)
    assert dog.overdue() == "no snapshot has saved seq 5 for 30 s: the file ends at 0"
    watched.on_file = 4
    assert dog.overdue() is not None, "that it moves is not enough"
    watched.on_file = 5
    assert dog.overdue() is None
    clock.advance(30.1)
    assert "seq 9" in (dog.overdue() or "")


def test_setting_the_wall_clock_hides_nothing() -> None:
    dog, watched, clock = make()
    watched.recorded = 5
    dog.look()
    clock.advance(31)
    clock.set_wall_ms(clock.now_ms() - 86_400_000)
    assert dog.overdue() is not None


def test_records_that_wait_while_none_is_recorded_are_overdue() -> None:
    dog, watched, clock = make()
    watched.waiting = 7
    for _ in range(5):
        watched.recorded = watched.on_file = watched.recorded + 1
        clock.advance(9)
        assert dog.overdue() is None
    clock.advance(10.1)
    assert dog.overdue() == "recording stands still: 7 deltas wait for 10 s"
    watched.waiting = 0
    assert dog.overdue() is None


def test_a_prune_that_has_not_run_for_more_than_a_day_is_overdue() -> None:
    dog, watched, clock = make()
    clock.advance(26 * 3600)
    assert dog.overdue() is None
    clock.advance(3600)
    assert dog.overdue() == "no prune has succeeded for 27 hours"
    watched.pruned_at = clock.monotonic()
    assert dog.overdue() is None


async def test_a_task_that_has_ended_is_told_by_name() -> None:
    watched = Watched()
    ended = asyncio.create_task(asyncio.sleep(0), name="jobs-prune")
    async with Watchdog.run(watched, watched, FakeClock(), 1000, [ended]) as dog:
        await ended
        assert dog.overdue() == "the task jobs-prune has ended"


async def test_readyz_is_red_when_snapshots_do_not_come_though_none_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, snapshot_interval=60_000) as app, client(app) as http:
        await app.publish(*some(3))
        assert (await get(http, "/readyz"))["ready"] is True
        clock.advance(181)
        problem = await refused(await http.get("/readyz"), 503, "not_ready")
        assert problem["detail"] == "no snapshot has saved seq 3 for 181 s: the file ends at 0"
        metrics: Any = (await http.get("/metrics")).text
        assert "recorder_snapshot_lag_seconds 181.0" in metrics
        assert "recorder_ready 0.0" in metrics
        await http.post("/api/admin/snapshot")
        assert (await get(http, "/readyz"))["ready"] is True


async def test_readyz_is_red_when_recording_stands_still(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:
        async with recording_held_up(app):
            app.publish_nowait(delta())
            assert (await get(http, "/readyz"))["ready"] is True
            clock.advance(11)
            problem = await refused(await http.get("/readyz"), 503, "not_ready")
            assert "recording stands still" in problem["detail"]
        await app.publish(delta())
        assert (await get(http, "/readyz"))["ready"] is True
