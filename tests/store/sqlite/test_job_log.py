"""The history of job runs: kept, latest first, bounded for each job."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from recorder.store.contract import JobRun
from recorder.store.sqlite import job_log as module
from recorder.store.sqlite import schema
from recorder.store.sqlite.connection import open_memory
from recorder.store.sqlite.job_log import JobRuns

AT = "2026-11-20T12:00:00.000Z"


@pytest.fixture
async def runs() -> AsyncIterator[JobRuns]:
    async with open_memory() as database:
        await database.run(schema.create)
        yield JobRuns(database)


async def test_a_run_comes_back_as_it_was_noted(runs: JobRuns) -> None:
    noted = JobRun("prune", AT, 12, "failed", {"deleted": 3}, "the disk is full")
    await runs.add(noted)
    (found,) = await runs.latest(10)
    assert found == JobRun("prune", AT, 12, "failed", {"deleted": 3}, "the disk is full", 1)


async def test_the_latest_come_first_of_all_or_of_one_job(runs: JobRuns) -> None:
    for n in range(6):
        await runs.add(JobRun("prune" if n % 3 == 0 else "snapshot", AT, n, "ok", {}))
    assert [run.duration_ms for run in await runs.latest(3)] == [5, 4, 3]
    assert [run.duration_ms for run in await runs.latest(9, "prune")] == [3, 0]
    assert await runs.latest(9, "nothing") == []


async def test_many_snapshots_do_not_crowd_out_the_daily_prune(
    runs: JobRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 20)
    await runs.add(JobRun("prune", AT, 0, "ok", {}))
    for n in range(100):
        await runs.add(JobRun("snapshot", AT, n, "ok", {}))
    found = await runs.latest(1000)
    assert [run.duration_ms for run in found] == [*range(99, 79, -1), 0]
    assert [run.id for run in found] == [*range(101, 81, -1), 1]
