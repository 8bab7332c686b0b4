"""Upkeep: what is kept, by every policy and at its exact edge; every run noted; failures counted and told."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loguru import logger

from recorder.config.settings import load_settings
from recorder.core.clock import FakeClock
from recorder.core.errors import InvalidSetting, StoreError
from recorder.core.metrics import Metrics
from recorder.core.timestamps import format_ms
from recorder.jobs.retention import DAY_MS, HEADROOM, Maintenance, Retention
from recorder.store.contract import Query
from tests.support.store import DAY, Opened, columns_of, file_rows, opened

NOON = 1_763_640_000_000 // DAY_MS * DAY_MS + DAY_MS // 2


class Kept:
    """A store with its upkeep.

    Args:
        it: The store.
        upkeep: Its upkeep.
        clock: Of both.
        metrics: Of the upkeep.
    """

    def __init__(self, it: Opened, upkeep: Maintenance, clock: FakeClock, metrics: Metrics) -> None:
        self.it = it
        self.store = it.store
        self.upkeep = upkeep
        self.clock = clock
        self.metrics = metrics

    async def seqs(self) -> list[int]:
        """What is kept."""
        piece = await self.store.read(Query(), 1000)
        return [int(item.partition(b",")[0].rpartition(b":")[2]) for item in piece.items]

    async def runs(self) -> list[tuple[str, str, dict[str, int], str | None]]:
        """Name, outcome, counts and error of every run, oldest first."""
        return [
            (run.name, run.outcome, run.counts, run.error)
            for run in reversed(await self.store.runs.latest(100))
        ]


@asynccontextmanager
async def kept(path: Path, clock: FakeClock | None = None, **limits: Any) -> AsyncIterator[Kept]:
    clock, metrics = clock or FakeClock(NOON), Metrics()
    async with opened(path, clock, busy_seconds=0) as it:
        upkeep = Maintenance(
            it.store, Retention(**limits), clock, metrics, it.loaded.meta.get("last_prune_at")
        )
        yield Kept(it, upkeep, clock, metrics)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program reads the file in a transaction."""
    conn = sqlite3.connect(path, isolation_level=None)
    try:
        conn.execute("BEGIN")
        conn.execute("SELECT count(*) FROM session_deltas").fetchone()
        yield
    finally:
        conn.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite"


# By age


async def test_what_is_exactly_as_old_as_may_be_stays_and_a_millisecond_more_goes(path: Path) -> None:
    async with kept(path, days=30) as it:
        for _ in range(3):
            await it.it.record(1)
            it.clock.advance(0.001)
        it.clock.set_wall_ms(NOON + 30 * DAY_MS + 1)
        assert await it.upkeep.prune() == 1
        assert await it.seqs() == [2, 3]
        it.clock.advance(0.001)
        assert await it.upkeep.prune() == 1
        assert await it.seqs() == [3]


async def test_at_midnight_a_day_that_is_younger_is_kept_whole(path: Path) -> None:
    """The same day, earlier and later than the edge."""
    async with kept(path, FakeClock(NOON // DAY_MS * DAY_MS), days=1) as it:
        for _ in range(24):
            await it.it.record(1)
            it.clock.advance(3600)
        assert await it.upkeep.prune() == 0
        it.clock.advance(3600 * 5)
        assert await it.upkeep.prune() == 5


async def test_zero_days_keep_for_ever(path: Path) -> None:
    async with kept(path, days=0) as it:
        await it.it.record(5)
        it.clock.advance(10_000 * DAY)
        assert await it.upkeep.prune() == 0
        assert await it.seqs() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("bad", ["-1", "NaN", "1.5", "", "thirty", "1e9"])
def test_retention_that_makes_no_sense_is_refused_at_start(bad: str) -> None:
    for name in ("retention_days", "max_deltas", "max_db_bytes"):
        with pytest.raises(InvalidSetting, match=name.upper()):
            load_settings(**{name: bad})


async def test_older_than_a_time_that_is_asked_for(path: Path) -> None:
    async with kept(path, days=30, max_deltas=2) as it:
        for _ in range(5):
            await it.it.record(1)
            it.clock.advance(1)
        edge = it.it.feeder.entries[2].recorded_at
        assert await it.upkeep.prune(edge) == 2, "the limits of the settings have no part in it"
        assert await it.seqs() == [3, 4, 5]
        assert file_rows(path, "SELECT policy FROM prunes") == [(f"asked: before {edge}",)]


# By count and bytes


async def test_by_count_the_oldest_go_first(path: Path) -> None:
    async with kept(path, days=0, max_deltas=10) as it:
        await it.it.record(25)
        assert it.upkeep.over_count()
        assert await it.upkeep.prune() == 15
        assert await it.seqs() == list(range(16, 26))
        assert not it.upkeep.over_count()


async def test_a_limit_has_some_headroom_so_that_not_each_entry_prunes(path: Path) -> None:
    async with kept(path, days=0, max_deltas=100) as it:
        await it.it.record(105)
        assert not it.upkeep.over_count()
        await it.it.record(1)
        assert it.upkeep.over_count()
        assert it.upkeep.limits_due()


async def test_by_bytes_the_database_is_really_bounded_in_memory_and_on_disk(path: Path) -> None:
    limit, largest, in_memory = 1_000_000, 0, 0
    async with kept(path, days=0, max_bytes=limit) as it:
        for n in range(60):
            # Small ones and large ones: the average says little.
            await it.it.record(100, after='"small"')
            await it.it.record(3, after=f'"{"x" * (n % 7 * 4000)}"')
            if it.upkeep.limits_due() and await it.upkeep.over_bytes():
                await it.upkeep.prune()
            largest = max(largest, path.stat().st_size)  # noqa: ASYNC240
            in_memory = max(in_memory, await it.store.used_bytes())
        assert it.it.feeder.head > 6000
        assert it.store.count > 500
        assert in_memory < limit * (1 + 2 * HEADROOM)
        assert largest < limit * (1 + 2 * HEADROOM)


async def test_a_limit_that_the_living_sessions_alone_pass_ends(path: Path) -> None:
    async with kept(path, days=0, max_bytes=100_000) as it:
        for n in range(200):
            it.it.put(f"s{n}", f'"{"x" * 1000}"')
        await it.store.flush()
        assert await it.upkeep.prune() == 200
        assert await it.upkeep.over_bytes()
        assert (await it.store.states.state("s7")) is not None
        assert await it.upkeep.prune() == 0


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    days=st.integers(0, 6),
    max_deltas=st.none() | st.integers(1, 40),
    gaps=st.lists(st.sampled_from([0, 1, 3600, 40_000, 86_400]), min_size=1, max_size=40),
)
def test_policies_together_keep_what_none_of_them_removes(
    tmp_path_factory: pytest.TempPathFactory, days: int, max_deltas: int | None, gaps: list[int]
) -> None:
    async def run() -> None:
        path = tmp_path_factory.mktemp("kept") / "data" / "sessions.sqlite"
        async with kept(path, days=days, max_deltas=max_deltas) as it:
            for gap in gaps:
                it.clock.advance(gap)
                await it.it.record(1)
            edge = format_ms(it.clock.now_ms() - days * DAY_MS) if days else ""
            wanted = [entry.seq for entry in it.it.feeder.entries if entry.recorded_at >= edge]
            wanted = wanted[-max_deltas:] if max_deltas is not None else wanted
            await it.upkeep.prune()
            assert await it.seqs() == wanted
            assert file_rows(path) == [columns_of(it.it.feeder.entries[seq - 1]) for seq in wanted]

    asyncio.run(run())


async def test_pruning_saves_first_and_shrinks_the_file(path: Path) -> None:
    async with kept(path, days=0, max_deltas=100) as it:
        await it.it.record(3000, after=f'"{"x" * 500}"')
        await it.upkeep.snapshot()
        full = path.stat().st_size  # noqa: ASYNC240
        await it.it.record(50)
        assert await it.upkeep.prune() == 2950
        assert path.stat().st_size < full * 0.2  # noqa: ASYNC240
        assert it.store.durable == 3050
        assert not it.store.is_dirty
        assert file_rows(path, "SELECT count(*) FROM session_deltas") == [(100,)]


async def test_runs_by_one_limit_do_not_fill_the_table_of_receipts(path: Path) -> None:
    async with kept(path, days=30, max_deltas=10) as it:
        for _ in range(20):
            await it.it.record(5)
            await it.upkeep.prune()
        assert file_rows(path, "SELECT first_seq, last_seq, count, policy FROM prunes") == [
            (1, 90, 90, "10 deltas")
        ]


# When


async def test_a_prune_was_missed_when_midnight_passed_without_one(path: Path) -> None:
    clock = FakeClock(NOON)
    async with kept(path, clock) as it:
        assert not it.upkeep.missed(), "nothing is recorded"
        await it.it.record(1)
        assert it.upkeep.missed(), "never pruned"
        await it.upkeep.prune()
        assert not it.upkeep.missed()
    clock.set_wall_ms(NOON // DAY_MS * DAY_MS + DAY_MS - 1)
    async with kept(path, clock) as it:
        assert it.upkeep.last_prune_at == format_ms(NOON)
        assert not it.upkeep.missed(), "it is still the same day"
    clock.advance(0.001)
    async with kept(path, clock) as it:
        assert it.upkeep.missed()
        await it.upkeep.prune()
        assert not it.upkeep.missed()


# Snapshots


async def test_there_is_no_snapshot_and_no_run_when_nothing_changed(path: Path) -> None:
    async with kept(path) as it:
        await it.it.record(3)
        assert await it.upkeep.snapshot() is not None
        before = path.read_bytes(), path.stat().st_mtime_ns  # noqa: ASYNC240
        for _ in range(5):
            assert await it.upkeep.snapshot() is None
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before  # noqa: ASYNC240
        assert [run[0] for run in await it.runs()] == ["snapshot"]
        asked = await it.upkeep.snapshot(even_if_clean=True)
        assert asked is not None
        assert asked.rows == 0


async def test_a_failure_is_noted_counted_and_told_until_one_succeeds(path: Path) -> None:
    async with kept(path) as it:
        await it.it.record(3)
        with locked(path):
            for failures in (1, 2):
                with pytest.raises(StoreError, match="database is locked"):
                    await it.upkeep.snapshot()
                assert it.upkeep.snapshot_failures == failures
                assert "database is locked" in (it.upkeep.snapshot_error or "")
        assert it.metrics.snapshots == {"ok": 0, "failed": 2}
        assert await it.upkeep.snapshot() is not None
        assert (it.upkeep.snapshot_failures, it.upkeep.snapshot_error) == (0, None)
        assert it.metrics.snapshots == {"ok": 1, "failed": 2}
        assert [run[:2] for run in await it.runs()] == [("snapshot", "failed")] * 2 + [("snapshot", "ok")]
        assert (await it.runs())[0][
            3
        ] == f"{path}: database is locked (is the disk full, read-only or locked?)"


async def test_a_prune_that_cannot_save_removes_nothing_and_counts_as_both(path: Path) -> None:
    async with kept(path, days=0, max_deltas=1) as it:
        await it.it.record(10)
        with locked(path), pytest.raises(StoreError, match="database is locked"):
            await it.upkeep.prune()
        assert it.store.count == 10
        assert it.metrics.prunes == {"ok": 0, "failed": 1}
        assert it.upkeep.snapshot_failures == 1
        assert it.upkeep.last_prune_at is None
        assert await it.upkeep.prune() == 9
        assert it.upkeep.snapshot_error is None
        assert it.metrics.prunes == {"ok": 1, "failed": 1}
        assert it.metrics.pruned_deltas == 9


async def test_an_error_that_nobody_foresaw_is_noted_too(path: Path) -> None:
    async with kept(path, days=0, max_bytes=1) as it:
        await it.it.record(10)

        async def fail() -> int:
            raise ZeroDivisionError("by accident")

        it.store.used_bytes = fail  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            await it.upkeep.prune()
        assert (await it.runs())[-1] == ("prune", "failed", {}, "ZeroDivisionError: by accident")
        assert it.metrics.prunes["failed"] == 1


async def test_every_run_is_kept_with_its_figures_across_a_restart(path: Path) -> None:
    async with kept(path, days=0, max_deltas=5) as it:
        await it.it.record(8)
        await it.upkeep.snapshot()
        await it.upkeep.prune()
    async with kept(path) as it:
        (snapshot, after, prune) = await it.runs()
        assert snapshot[:2] == after[:2] == ("snapshot", "ok")
        assert (snapshot[2]["rows"], snapshot[2]["head"]) == (8, 8)
        assert (after[2]["rows"], after[2]["head"]) == (0, 8)
        assert prune == ("prune", "ok", {"deleted": 3}, None)


async def test_prunes_take_turns(path: Path) -> None:
    async with kept(path, days=0, max_deltas=5) as it:
        await it.it.record(8)
        assert await asyncio.gather(it.upkeep.prune(), it.upkeep.prune()) == [3, 0]


async def test_the_log_has_the_lines_that_were_promised(path: Path) -> None:
    lines: list[tuple[str, str, dict[str, Any]]] = []
    logger.enable("recorder")
    sink = logger.add(
        lambda message: lines.append(
            (message.record["level"].name, message.record["message"], message.record["extra"])
        ),
        level="DEBUG",
    )
    try:
        async with kept(path, days=30) as it:
            await it.it.record(3)
            await it.upkeep.snapshot()
            it.clock.advance(31 * DAY)
            await it.upkeep.prune()
            edge = format_ms(it.clock.now_ms() - 30 * DAY_MS)
    finally:
        logger.remove(sink)
        logger.disable("recorder")
    saved = next(line for line in lines if line[1] == "snapshot saved")
    assert saved[0] == "DEBUG"
    assert saved[2] == {"db_path": str(path), "size": saved[2]["size"], "rows": 3, "seconds": 0.0}
    pruned = next(line for line in lines if line[1] == "pruned")
    assert pruned == ("INFO", "pruned", {"deleted": 3, "older_than": edge})


async def test_a_crash_right_after_a_prune_leaves_as_many_as_are_to_be_kept(tmp_path: Path) -> None:
    async with kept(tmp_path / "s.sqlite", days=0, max_deltas=5) as it:
        await it.it.record(10)
        save = it.upkeep._save

        async def save_while_more_comes() -> Any:
            saved = await save()
            await it.it.record(4)
            return saved

        it.upkeep._save = save_while_more_comes  # type: ignore[method-assign]
        # The four are in memory only: without them there must be five all the same.
        assert await it.upkeep.prune() == 5
        assert (await it.seqs())[0] == 6
