"""Loading: all of it, with progress, given up at once, and the right epoch afterwards."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from recorder.core.chain import GENESIS
from recorder.core.clock import FakeClock
from recorder.core.metrics import Metrics
from recorder.store.sqlite.config import StoreConfig
from recorder.store.sqlite.identity import KEYS
from recorder.store.sqlite.recovery import load as loading
from recorder.store.sqlite.store import SqliteStore
from tests.support.store import TABLES, file_dump, file_rows, memory_dump, opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite"


async def crash(path: Path, clock: FakeClock, entries: int) -> None:
    """What a process leaves that is killed after a snapshot."""
    async with opened(path, clock) as it:
        await it.record(entries)
        await it.store.snapshot()
        content = path.read_bytes()  # noqa: ASYNC240
    path.write_bytes(content)  # noqa: ASYNC240


async def test_memory_is_what_the_file_is(path: Path) -> None:
    async with opened(path) as it:
        for n in range(300):
            it.put(f"s{n % 9}", None if n % 20 == 19 else str(n), delta_id=f"i{n}")
        await it.store.snapshot()
        await it.store.prune(100, "count")
    async with opened(path) as it:
        memory, file = await memory_dump(it.store, TABLES), file_dump(path, TABLES)
        for dump in (memory, file):
            # The identity of the file is the file's.
            dump["meta"] = [row for row in dump["meta"] if row[1] not in KEYS]
        assert memory == file
        assert (it.loaded.head, it.loaded.pruned, it.loaded.count) == (300, 100, 200)


async def test_it_tells_how_far_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "LOAD_PAGES", 10)
    async with opened(path) as it:
        await it.record(500, after=f'"{"x" * 500}"')
    told: list[tuple[int, int]] = []
    async with SqliteStore.open(StoreConfig(path), FakeClock(), Metrics()) as store:
        await store.load(lambda left, total: told.append((left, total)))
    pages = file_rows(path, "PRAGMA page_count")[0][0]
    assert {total for _, total in told} == {pages}
    assert [left for left, _ in told] == [max(0, pages - 10 * n) for n in range(1, len(told) + 1)]
    assert told[-1][0] == 0


async def test_loading_that_is_broken_off_ends_at_once_and_leaves_the_file_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "LOAD_PAGES", 1)
    async with opened(path) as it:
        await it.record(500, after=f'"{"x" * 500}"')
    before, told = path.read_bytes(), []  # noqa: ASYNC240
    loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def progress(left: int, total: int) -> None:
        told.append(left)
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(10)

    async with SqliteStore.open(StoreConfig(path), FakeClock(), Metrics()) as store:
        task = asyncio.create_task(store.load(progress))
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        go_on.set()
    assert len(told) == 1
    assert path.read_bytes() == before  # noqa: ASYNC240


async def test_a_first_start_begins_an_epoch_and_a_clean_stop_keeps_it(path: Path) -> None:
    clock = FakeClock()
    async with opened(path, clock) as it:
        first = it.loaded
        assert (first.head, first.count, first.last_hash, first.last_recorded_at) == (0, 0, GENESIS, "")
        await it.record(5)
    clock.advance(1)
    async with opened(path, clock) as it:
        assert it.loaded.epoch == first.epoch
        assert it.loaded.last_hash != GENESIS
    assert file_rows(path, "SELECT epoch, first_seq, cause FROM epochs") == [(first.epoch, 1, "first start")]


async def test_after_a_crash_a_new_epoch_goes_on_from_what_is_on_disk(path: Path) -> None:
    clock = FakeClock()
    await crash(path, clock, 5)
    async with opened(path, clock) as it:
        assert (it.loaded.head, it.put().seq) == (5, 6)
        second = it.loaded.epoch
    epochs = file_rows(path, "SELECT epoch, first_seq, cause FROM epochs ORDER BY epoch")
    assert [row[1:] for row in epochs] == [(1, "first start"), (6, "an older copy of the file was put back")]
    assert epochs[1][0] == second > epochs[0][0]


async def test_a_new_epoch_sorts_after_the_old_one_though_the_clock_went_back(path: Path) -> None:
    clock = FakeClock()
    await crash(path, clock, 1)
    first = file_rows(path, "SELECT epoch FROM epochs")[0][0]
    clock.set_wall_ms(clock.now_ms() - 86_400_000)
    async with opened(path, clock) as it:
        assert it.loaded.epoch > first


async def test_a_crash_right_after_a_start_begins_a_new_epoch_too(path: Path) -> None:
    clock = FakeClock()
    async with opened(path, clock) as it:
        await it.record(2)
    async with opened(path, clock) as it:
        begun = path.read_bytes()  # noqa: ASYNC240
        first = it.loaded.epoch
    path.write_bytes(begun)  # noqa: ASYNC240
    async with opened(path, clock) as it:
        assert it.loaded.epoch > first


async def test_where_everything_was_pruned_the_chain_and_the_numbers_go_on(path: Path) -> None:
    clock = FakeClock()
    async with opened(path, clock) as it:
        await it.record(7)
        await it.store.snapshot()
        await it.store.prune(7, "count")
        last = it.feeder.entries[-1]
    async with opened(path, clock) as it:
        loaded = it.loaded
        assert (loaded.head, loaded.pruned, loaded.count) == (7, 7, 0)
        assert (loaded.last_hash, loaded.last_recorded_at) == (last.hash, last.recorded_at)
        assert it.put().seq == 8
