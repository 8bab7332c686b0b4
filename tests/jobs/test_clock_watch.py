"""The wall clock, watched: what it may not do is remove everything, postpone a snapshot, or go wrong unseen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from recorder.core.clock import FakeClock
from recorder.core.metrics import Metrics
from recorder.core.timestamps import format_ms
from recorder.jobs.clock_watch import DAY_MS, ClockWatch
from tests.support.app import delta, running_app, some
from tests.support.http import client, get, refused
from tests.support.log_lines import log_lines
from tests.support.store import DAY
from tests.support.wire import PATIENCE

YEARS = 10 * 365 * DAY_MS


def watch(clock: FakeClock, newest: str = "", **options: Any) -> ClockWatch:
    return ClockWatch(clock, Metrics(), lambda: newest, **options)


# Steps


def test_a_step_is_noted_once_in_its_direction_and_time_that_passes_is_none() -> None:
    clock, steps = FakeClock(), []
    it = watch(clock, on_step=lambda: steps.append(1))
    clock.advance(3 * DAY)
    it.look()
    with log_lines() as lines:
        clock.set_wall_ms(clock.now_ms() - 30_000)
        it.look()
        it.look()
        clock.set_wall_ms(clock.now_ms() + 5_000)
        it.look()
    assert it._metrics.clock_steps == {"forward": 1, "back": 1}
    assert [(line["message"], line["seconds"]) for line in lines] == [
        ("the clock was set back", -30.0),
        ("the clock was set forward", 5.0),
    ]
    assert len(steps) == 2


def test_a_clock_behind_the_newest_record_is_a_warning_until_it_has_caught_up() -> None:
    clock = FakeClock()
    it = watch(clock, format_ms(clock.now_ms() + 60_000))
    with log_lines() as lines:
        it.look()
        it.look()
        assert it.behind_ms == 60_000
        clock.advance(60)
        it.look()
        assert it.behind_ms == 0
    assert [line["level"] for line in lines] == ["WARNING", "INFO"]


# What is believed


def test_a_clock_is_believed_for_a_week_without_a_record_and_not_for_more() -> None:
    clock = FakeClock()
    newest = format_ms(clock.now_ms() - 7 * DAY_MS)
    assert watch(clock, newest).doubt() is None
    clock.set_wall_ms(clock.now_ms() + 1)
    assert "7 days later" in (watch(clock, newest).doubt() or "")
    assert watch(clock, newest, is_trusted=True).doubt() is None
    assert watch(clock).doubt() is None, "nothing is recorded, so nothing speaks against it"


def test_a_doubt_that_is_no_time_is_none() -> None:
    clock = FakeClock()
    newest = format_ms(clock.now_ms())
    it = ClockWatch(clock, Metrics(), lambda: newest, doubted_since="other")
    assert (it.doubted_since, it.doubt()) == ("", None)


def test_time_that_passes_while_it_runs_is_believed_and_a_jump_is_not() -> None:
    clock = FakeClock()
    it = watch(clock, format_ms(clock.now_ms()))
    clock.advance(400 * DAY)
    assert it.doubt() is None
    clock.set_wall_ms(clock.now_ms() + YEARS)
    assert it.doubt() is not None
    clock.set_wall_ms(clock.now_ms() - YEARS)
    assert it.doubt() is None
    # A machine without a battery begins in 1970, and is set right by the network.
    clock.set_wall_ms(1000)
    it.look()
    clock.set_wall_ms(FakeClock().now_ms() + 400 * DAY_MS)
    assert it.doubt() is None


# In a running recorder


async def test_a_start_with_the_clock_years_ahead_removes_nothing_until_a_person_says_so(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app:
        await app.publish(*some(10))
    clock.set_wall_ms(clock.now_ms() + YEARS)
    with log_lines() as lines:
        async with running_app(tmp_path, clock=clock) as app, client(app) as http:
            await _pruned(http)
            assert app.recorder.recording.count == 10
            assert "3650 days later" in (await get(http, "/api/stats"))["pruneWithheld"]
            # A record that is made now must not vouch for the clock at the next start.
            await app.publish(delta())
    assert any(line["message"].startswith("pruning by age waits for confirmation") for line in lines)
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:
        await _pruned(http)
        assert app.recorder.recording.count == 11
        # No prune is due on the same day; that the clock is in doubt is told all the same.
        async with asyncio.timeout(PATIENCE):
            while (await get(http, "/api/stats"))["pruneWithheld"] is None:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        problem = await refused(await http.post("/api/admin/prune"), 409, "clock_doubtful")
        assert "--trust-clock" in problem["hint"]
        answer = (await http.post("/api/admin/prune", json={"trustClock": True})).json()
        assert answer["deleted"] == 10
        assert (await get(http, "/api/stats"))["pruneWithheld"] is None


async def test_a_clock_that_is_set_right_again_is_believed_and_stuck_times_are_seen(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app:
        await app.publish(delta())
    clock.set_wall_ms(clock.now_ms() + YEARS)
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:
        await _pruned(http)
        await app.publish(delta())
    clock.set_wall_ms(clock.now_ms() - YEARS + 31 * DAY_MS)
    async with running_app(tmp_path, clock=clock, trust_clock="on") as app, client(app) as http:
        await _pruned(http, 2)
        # The first is older than 30 days now; the one of the future stays, and every other gets its time.
        assert app.recorder.recording.oldest == 2
        await app.publish(delta(), delta())
        times = {item["recordedAt"] for item in (await get(http, "/api/deltas"))["deltas"]}
        assert len(times) == 1
        behind = YEARS - 31 * DAY_MS
        assert (await get(http, "/api/stats"))["clockBehindMs"] == behind
        metrics = (await http.get("/metrics")).text
        (line,) = [line for line in metrics.splitlines() if line.startswith("recorder_clock_behind_seconds")]
        assert float(line.split()[1]) == behind / 1000


async def test_the_setting_says_that_the_clock_is_right(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app:
        await app.publish(*some(10))
    clock.advance(100 * DAY)
    async with running_app(tmp_path, clock=clock, trust_clock="on") as app, client(app) as http:
        await _pruned(http)
        assert app.recorder.recording.count == 0


async def test_other_limits_are_kept_while_pruning_by_age_waits(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app:
        await app.publish(*some(100))
    clock.set_wall_ms(clock.now_ms() + YEARS)
    async with running_app(tmp_path, clock=clock, max_deltas=10) as app, client(app) as http:
        await _pruned(http)
        assert app.recorder.recording.count == 10


@pytest.mark.parametrize("seconds", [-30, -10 * 365 * DAY, 10 * 365 * DAY])
async def test_setting_the_clock_does_not_keep_a_snapshot_or_the_daily_prune_away(
    tmp_path: Path, seconds: int
) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, snapshot_interval=20, retention_days=0) as app:
        store = app.recorder.recording
        await app.publish(delta())
        clock.set_wall_ms(clock.now_ms() + seconds * 1000)
        app.recorder.clock_watch.look()
        for seq in (2, 3):
            await app.publish(delta())
            async with asyncio.timeout(PATIENCE):
                while store.durable < seq:  # noqa: ASYNC110 - the interval is what is tested
                    await asyncio.sleep(0.01)
        # It is another day now: that it has been pruned on some other day says nothing.
        async with asyncio.timeout(PATIENCE):
            while app.recorder.maintenance.missed():  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def _pruned(http: Any, times: int = 1) -> None:
    """Wait until a prune has run so often."""
    async with asyncio.timeout(PATIENCE):
        while len((await get(http, "/api/jobs", name="prune"))["jobs"]) < times:  # noqa: ASYNC110 - nobody tells when a job has run
            await asyncio.sleep(0.01)
