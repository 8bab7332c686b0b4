"""The store's life: opened, closed whatever happens, and what it tells about itself."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from itertools import count
from pathlib import Path

import pytest

from recorder.core.clock import FakeClock
from recorder.core.errors import Closed, Pruned, StoreError, StoreUnreadable
from recorder.core.metrics import Metrics
from recorder.core.timestamps import format_ms
from recorder.store.sqlite import retention
from recorder.store.sqlite.config import StoreConfig
from recorder.store.sqlite.store import SqliteStore
from tests.support.store import DAY, columns_of, file_rows, leftovers, opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite"


def database_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if "_connection_worker_thread" in thread.name}


async def break_recording(store: SqliteStore) -> None:
    """Have the next group fail."""
    await store._memory.run(
        lambda conn: conn.execute("ALTER TABLE session_states RENAME COLUMN count TO amount")
    )


async def test_closing_waits_for_a_snapshot_under_way_and_takes_the_last_one(path: Path) -> None:
    async with opened(path) as it:
        await it.record(3000)
        running = asyncio.create_task(it.store.snapshot())
        await asyncio.sleep(0)
        it.put(after='"the last one"')
        await it.store.close()
        assert (await running).head >= 3000
        assert it.store.durable == 3001
    assert file_rows(path) == [columns_of(entry) for entry in it.feeder.entries]
    assert leftovers(path) == []


async def test_closing_twice_and_at_once_is_fine(path: Path) -> None:
    async with opened(path) as it:
        await it.record(100)
        await asyncio.gather(it.store.close(), it.store.close())
        await it.store.close()
    assert file_rows(path, "SELECT count(*) FROM session_deltas") == [(100,)]


async def test_who_leaves_while_it_is_being_closed_waits_for_that(path: Path) -> None:
    async with opened(path) as it:
        for _ in range(3000):
            it.put()
        closing = asyncio.create_task(it.store.close())
        await asyncio.sleep(0)
    await closing
    assert file_rows(path, "SELECT count(*) FROM session_deltas") == [(3000,)]


async def test_when_the_last_snapshot_fails_everything_is_closed_and_it_is_told(path: Path) -> None:
    async with opened(path):
        pass
    before, epochs = database_threads(), []
    reader = sqlite3.connect(path, isolation_level=None)

    async def fail() -> None:
        async with opened(path, busy_seconds=0) as it:
            epochs.append(it.loaded.epoch)
            await it.record(10)
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM session_deltas").fetchone()

    with pytest.raises(StoreError, match="database is locked"):
        await fail()
    reader.close()
    assert database_threads() <= before
    assert leftovers(path) == []
    async with opened(path) as again:
        assert again.loaded.head == 0
        assert again.loaded.epoch > epochs[0], "what was acked is lost, so old positions must not count"


async def test_what_was_recorded_before_recording_failed_is_saved(path: Path) -> None:
    epochs = []

    async def fail() -> None:
        async with opened(path) as it:
            epochs.append(it.loaded.epoch)
            await it.record(10)
            await break_recording(it.store)
            it.put()
            with pytest.raises(StoreError, match="nothing can be recorded"):
                await it.store.flush()
            with pytest.raises(StoreError, match="nothing can be recorded"):
                it.store.extend([it.feeder.entry()])
            health = await it.store.health_check()
            assert not health.ok
            assert "recording failed" in health.reason
            assert (await it.store.snapshot()).rows == 10

    with pytest.raises(StoreError, match=r"nothing can be recorded after seq 10: OperationalError"):
        await fail()
    async with opened(path) as again:
        assert again.loaded.head == 10
        assert again.loaded.epoch > epochs[0]


async def test_a_store_that_was_never_loaded_closes_and_leaves_the_file_alone(path: Path) -> None:
    async with opened(path) as it:
        await it.record(5)
    before = path.read_bytes()  # noqa: ASYNC240
    async with SqliteStore.open(StoreConfig(path), FakeClock(), Metrics()) as store:
        assert store.file_size() == len(before)
    assert path.read_bytes() == before  # noqa: ASYNC240
    with pytest.raises(Closed):
        await store.load()


async def test_nothing_is_left_open_whatever_the_way_out(path: Path) -> None:
    async with opened(path):
        pass
    threads, descriptors = database_threads(), len(os.listdir("/proc/self/fd"))

    async def record(*, wrong: bool) -> None:
        async with opened(path) as it:
            await it.record(5 // (not wrong))

    for _ in range(10):
        await record(wrong=False)
        with pytest.raises(ZeroDivisionError):
            await record(wrong=True)
    assert database_threads() <= threads
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "store-writer"]


async def test_before_the_first_snapshot_there_is_no_time_of_one(path: Path) -> None:
    async with opened(path) as it:
        store = it.store
        assert store.last_snapshot_at is None
        assert (store.count, await store.states.count()) == (0, 0)
        assert store.file_size() == path.stat().st_size  # noqa: ASYNC240
        await it.record(3)
        await store.snapshot()
        assert store.last_snapshot_at is not None
        assert (store.count, await store.states.count()) == (3, 1)
        os.rename(path, path.with_name("aside"))
        assert store.file_size() is None
        os.rename(path.with_name("aside"), path)
    async with opened(path) as again:
        assert again.store.last_snapshot_at is not None


async def test_counts_are_kept_not_counted(path: Path) -> None:
    async with opened(path) as it:
        await it.record(50)
        asked: list[str] = []
        await it.store._memory.run(lambda conn: conn.set_trace_callback(asked.append))
        assert (it.store.count, await it.store.states.count()) == (50, 1)
        assert asked == ["SELECT value FROM counters WHERE name = 'sessions'"]


async def test_ids_survive_pruning_and_restart(path: Path) -> None:
    clock = FakeClock()
    async with opened(path, clock, keep_ids=30) as it:
        for n in range(40):
            it.put(delta_id=f"id-{n}")
            it.put()
        await it.store.snapshot()
        await it.store.prune(60, "count")
        known = (await it.store.ids(0))[-30:]
        assert [delta_id for delta_id, _, _ in known] == [f"id-{n}" for n in range(10, 40)]
        assert [seq for _, seq, _ in known] == list(range(21, 81, 2))
        assert all(len(content) == 32 for _, _, content in known)
    async with opened(path, clock, keep_ids=30) as again:
        assert (await again.store.ids(0))[-30:] == known
        assert await again.store.ids(known[-4][1]) == known[-3:]
        await again.store.prune(80, "count")
        assert await again.store.ids(0) == known


async def test_no_more_ids_are_remembered_than_asked_for(path: Path) -> None:
    async with opened(path, keep_ids=0) as it:
        for n in range(10):
            it.put(delta_id=f"id-{n}")
        await it.store.snapshot()
        await it.store.prune(10, "count")
        assert await it.store.ids(0) == []
        await it.store.snapshot()
        assert file_rows(path, "SELECT * FROM pruned_ids") == []


async def test_times_find_their_seq_and_say_when_it_is_pruned(path: Path) -> None:
    clock = FakeClock()
    async with opened(path, clock) as it:
        entries = []
        for _ in range(5):
            entries.append(it.put())
            clock.advance(DAY)
        await it.store.snapshot()
        moments = [entry.recorded_at for entry in entries]
        assert [await it.store.first_at(moment) for moment in moments] == [1, 2, 3, 4, 5]
        assert [await it.store.last_at(moment) for moment in moments] == [1, 2, 3, 4, 5]
        assert await it.store.first_at("2999-01-01T00:00:00.000Z") == 6
        await it.store.prune(2, "count")
        assert await it.store.seq_at(moments[1]) is None
        assert await it.store.seq_at(moments[2]) == 3
        assert await it.store.seq_at("2999-01-01T00:00:00.000Z") == 6


async def test_a_time_between_the_last_pruned_and_the_first_kept_is_known_and_an_earlier_one_is_not(
    path: Path,
) -> None:
    clock = FakeClock()
    async with opened(path, clock) as it:
        assert await it.store.last_at(format_ms(clock.now_ms())) == 0
        for _ in range(4):
            it.put()
            clock.advance(10)
        await it.store.snapshot()
        await it.store.prune(2, "count")
        second = it.feeder.entries[1].recorded_at
        assert await it.store.last_at(second) == 2
        assert await it.store.last_at(format_ms(clock.now_ms() - 25_000)) == 2
        with pytest.raises(Pruned, match=f"it is known from {second} on"):
            await it.store.last_at(it.feeder.entries[0].recorded_at)


async def test_two_prunes_at_once_take_turns(path: Path) -> None:
    async with opened(path) as it:
        await it.record(3000)
        await it.store.snapshot()
        removed = await asyncio.gather(it.store.prune(1500, "a"), it.store.prune(2500, "b"))
        assert removed == [1500, 1000]
        await it.store.snapshot()
        receipts = file_rows(path, "SELECT first_seq, last_seq, count, policy FROM prunes")
        assert receipts == [(1, 1500, 1500, "a"), (1501, 2500, 1000, "b")]


async def test_a_prune_takes_only_what_is_on_disk(path: Path) -> None:
    async with opened(path) as it:
        await it.record(10)
        assert await it.store.prune(10, "count") == 0
        await it.store.snapshot()
        await it.record(10)
        assert await it.store.prune(20, "count") == 10


async def test_wherever_a_prune_is_cancelled_what_it_did_is_known(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MEMORY_SLICE", retention.Slice(20, 1 << 20))
    async with opened(path) as it:
        await it.record(3000)
        await it.store.snapshot()
        for steps in count():
            # Until some were cancelled between two slices, which the database's thread decides.
            if steps > 20 and it.store.oldest > 1:
                break
            task = asyncio.create_task(it.store.prune(it.store.oldest + 100, "count"))
            for _ in range(10 * steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            kept = await it.store._memory.run(
                lambda conn: conn.execute("SELECT min(id), count(*) FROM session_deltas").fetchone()
            )
            assert kept == (it.store.oldest, it.store.count)


async def test_recording_goes_on_between_the_slices_of_a_prune(path: Path) -> None:
    async with opened(path) as it:
        await it.record(20_000)
        await it.store.snapshot()
        task = asyncio.create_task(it.store.prune(19_000, "count"))
        seen = set()
        while not task.done():
            await it.record(1)
            seen.add(it.store.oldest)
        assert await task == 19_000
        assert len(seen) > 10


async def test_a_prune_that_the_database_refuses_is_a_clear_error(path: Path) -> None:
    async with opened(path) as it:
        await it.record(10)
        await it.store.snapshot()
        await it.store._memory.run(lambda conn: conn.execute("ALTER TABLE pruned_ids RENAME TO aside"))
        with pytest.raises(StoreError, match="pruning failed: no such table"):
            await it.store.prune(5, "count")
        assert it.store.oldest == 1
        await it.store._memory.run(lambda conn: conn.execute("ALTER TABLE aside RENAME TO pruned_ids"))
        assert await it.store.prune(5, "count") == 5


async def test_it_says_what_a_crash_costs(path: Path) -> None:
    async with opened(path, snapshot_interval_ms=1234) as it:
        guarantee = it.store.guarantee
        assert guarantee.loss_window_ms == 1234
        assert "durable" in guarantee.durability


async def test_a_database_that_cannot_be_written_at_start_is_refused(path: Path) -> None:
    async with opened(path):
        pass
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreUnreadable, match="database is locked"):
            async with opened(path, busy_seconds=0):
                pass
    finally:
        reader.close()
