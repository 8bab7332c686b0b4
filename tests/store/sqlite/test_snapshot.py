"""Snapshots: append behind, whole at any instant, equal byte for byte, retried, and never when there is nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from recorder.core.clock import FakeClock
from recorder.core.errors import StoreError
from recorder.store.contract import JobRun
from recorder.store.sqlite import snapshot as module
from recorder.store.sqlite.store import SqliteStore
from tests.support.store import (
    SPEC_COLUMNS,
    TABLES,
    Opened,
    columns_of,
    file_dump,
    file_rows,
    leftovers,
    memory_dump,
    opened,
)

SAME = tuple(name for name in TABLES if name != "meta")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite"


@asynccontextmanager
async def statements(store: SqliteStore, *, of_file: bool = True) -> AsyncIterator[list[str]]:
    """What is executed on a database meanwhile, in order."""
    seen: list[str] = []
    database = store._file if of_file else store._memory
    await database.run(lambda conn: conn.set_trace_callback(seen.append))
    try:
        yield seen
    finally:
        await database.run(lambda conn: conn.set_trace_callback(None))


async def changes(store: SqliteStore) -> int:
    """Rows that the file's connection has written so far."""
    return await store._file.run(lambda conn: conn.total_changes)


@contextmanager
def locked_by_another(path: Path) -> Iterator[None]:
    """Another connection reads in a transaction, so that no commit gets through."""
    conn = sqlite3.connect(path, isolation_level=None)
    try:
        conn.execute("BEGIN")
        conn.execute("SELECT count(*) FROM session_deltas").fetchone()
        yield
    finally:
        conn.close()


async def without_patience(it: Opened) -> None:
    """The file's connection gives up on a lock at once."""
    await it.store._file.run(lambda conn: conn.execute("PRAGMA busy_timeout = 0").fetchone())


def state_of(path: Path) -> tuple[bytes, int]:
    return path.read_bytes(), path.stat().st_mtime_ns


async def test_its_cost_follows_what_is_new_not_what_is_there(path: Path) -> None:
    written, asked = [], []
    async with opened(path) as it:
        for there in (100, 3000):
            await it.record(there)
            await it.store.snapshot()
            await it.record(50)
            before = await changes(it.store)
            async with statements(it.store) as on_file, statements(it.store, of_file=False) as in_memory:
                await it.store.snapshot()
            written.append(await changes(it.store) - before)
            asked.append((len(on_file), len(in_memory)))
    assert written[0] == written[1]
    assert asked[0] == asked[1]


async def test_it_reads_memory_in_slices_and_writes_in_transactions(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRANSACTION_ROWS", 1000)
    moves = []
    async with opened(path) as it:
        it.store.on_progress(lambda: moves.append(it.store.durable))
        await it.record(2500)
        async with statements(it.store, of_file=False) as in_memory:
            await it.store.snapshot()
        assert sorted({n for n in moves if n}) == [1000, 2000, 2500]
        assert max(_ids_read(in_memory)) <= module.SLICE_ROWS


def _ids_read(statements_: list[str]) -> list[int]:
    exported = [text for text in statements_ if text.startswith("SELECT json_group_array")]
    spans = [text.partition("id > ")[2].split(" AND id <= ") for text in exported]
    return [int(high.partition(" ")[0]) - int(low) for low, high in spans]


async def test_large_states_are_copied_in_small_slices(path: Path) -> None:
    async with opened(path, queue_max_bytes=1 << 40) as it:
        await it.record(600)
        await it.record(40, after=f'"{"x" * 300_000}"')
        async with statements(it.store, of_file=False) as in_memory:
            await it.store.snapshot()
        # The states before are as large as those after: two rows pass the bound.
        assert set(_ids_read(in_memory)[-10:-1]) == {2}
        assert file_rows(path) == [columns_of(entry) for entry in it.feeder.entries]


async def test_recording_goes_on_while_a_snapshot_runs(path: Path) -> None:
    """Rows flow while a snapshot runs."""
    async with opened(path) as it:
        await it.record(5000)
        task = asyncio.create_task(it.store.snapshot())
        meanwhile = 0
        while not task.done():
            await it.record(1)
            meanwhile += 1
        assert meanwhile > 10
        result = await task
        assert 5000 <= result.head < it.store.recorded


async def test_a_file_that_is_up_to_date_is_not_touched(path: Path) -> None:
    async with opened(path) as it:
        await it.record(10)
        await it.store.snapshot()
        assert not it.store.is_dirty
        before = state_of(path)
        await it.store.flush()
        await it.store.prune(0, "nothing")
        assert not it.store.is_dirty
        assert state_of(path) == before


@pytest.mark.parametrize("change", ["append", "prune", "remember"])
async def test_each_kind_of_change_makes_it_due(path: Path, change: str) -> None:
    async with opened(path) as it:
        await it.record(10)
        await it.store.snapshot()
        if change == "append":
            await it.record(1)
        elif change == "prune":
            await it.store.prune(3, "count")
        else:
            await it.store.set_metadata(last_prune_at="now")
        assert it.store.is_dirty
        await it.store.snapshot()
        assert not it.store.is_dirty


async def test_overlapping_snapshots_run_one_after_the_other(path: Path) -> None:
    async with opened(path) as it:
        await it.record(3000)
        async with statements(it.store) as on_file:
            results = await asyncio.gather(*[it.store.snapshot() for _ in range(5)])
        assert [result.rows for result in results] == [3000, 0, 0, 0, 0]
        depth = 0
        for text in on_file:
            depth += text.startswith("BEGIN") - (text in ("COMMIT", "ROLLBACK"))
            assert depth in (0, 1)
        assert file_rows(path, "SELECT count(*) FROM session_deltas") == [(3000,)]


async def test_between_snapshots_the_file_stands_alone(path: Path) -> None:
    async with opened(path) as it:
        for _ in range(3):
            await it.record(700)
            await it.store.snapshot()
            assert leftovers(path) == []
            copy = path.with_name("copy.sqlite")
            shutil.copy(path, copy)
            assert file_rows(copy, "SELECT count(*), max(id) FROM session_deltas") == [
                (it.store.durable,) * 2
            ]
            assert file_rows(copy, "PRAGMA integrity_check") == [("ok",)]
            copy.unlink()
    assert leftovers(path) == []


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 program is not installed")
async def test_the_sqlite3_program_reads_it_with_the_specified_columns_alone(path: Path) -> None:
    async with opened(path) as it:
        it.put("a", '{"n":123456789012345678901234567890}', timestamp="2026-11-20T12:00:00.000Z")
        it.put("a", '""')
        it.put("a", None)
        await it.store.snapshot()
        program = await asyncio.create_subprocess_exec(
            "sqlite3",
            "-json",
            str(path),
            f"SELECT {SPEC_COLUMNS} FROM session_deltas",
            stdout=subprocess.PIPE,
        )
        text = (await program.communicate())[0].decode()
        assert text.count('"session_id":"a"') == 3
        assert '"after_state":"{\\"n\\":123456789012345678901234567890}"' in text
        assert '"delta_type":"deleted","before_state":"\\"\\"","after_state":null' in text


async def test_file_and_memory_are_equal_value_for_value_and_type_for_type(path: Path) -> None:
    states = [
        "0",
        '""',
        "false",
        "{}",
        "[]",
        "1" * 30,
        '"\\u0000"',
        '"\x7f\u2028\U0001f600"',
        "-0.0e-7",
        None,
    ]
    async with opened(path) as it:
        for n, state in enumerate(states * 3):
            it.put(
                f"s{n % 4}", state, before=states[(n + 1) % 9], delta_id=f"\0\x1e'\"\\{n}" if n % 2 else None
            )
        await it.store.flush()
        await it.store.runs.add(_run(1))
        await it.store.snapshot()
        assert file_dump(path, SAME) == await memory_dump(it.store, SAME)
        assert file_rows(path) == [columns_of(entry) for entry in it.feeder.entries]
        for table in ("session_deltas", "session_bases"):
            kinds = file_rows(path, f"SELECT DISTINCT typeof(session_id) FROM {table}")
            assert kinds in ([("text",)], [])


async def test_a_snapshot_in_the_middle_of_a_prune_and_one_after_it_agree_with_memory(path: Path) -> None:
    async with opened(path) as it:
        for n in range(4000):
            it.put(f"s{n % 700}", None if n % 13 == 0 else str(n), delta_id=f"i{n}")
        await it.store.snapshot()
        prune = asyncio.create_task(it.store.prune(3500, "count"))
        while it.store.oldest == 1:
            await it.store.states.count()
        cut = it.store.oldest - 1
        assert 0 < cut < 3500
        await it.store.snapshot()
        assert file_rows(path, "SELECT min(id) FROM session_deltas")[0][0] > cut
        assert await prune == 3500
        await it.store.snapshot()
        assert file_dump(path, SAME) == await memory_dump(it.store, SAME)
        assert file_rows(path, "SELECT first_seq, last_seq, count FROM prunes") == [(1, 3500, 3500)]


async def test_a_disk_that_says_no_is_told_and_the_next_try_goes_on(path: Path) -> None:
    async with opened(path) as it:
        await without_patience(it)
        await it.record(10)
        await it.store.snapshot()
        before = state_of(path)
        await it.record(10)
        await it.store.prune(5, "count")
        with (
            locked_by_another(path),
            pytest.raises(StoreError, match=r"sessions\.sqlite: database is locked"),
        ):
            await it.store.snapshot()
        assert state_of(path) == before
        assert leftovers(path) == []
        assert it.store.is_dirty
        assert it.store.durable == 10
        await it.store.snapshot()
        assert it.store.durable == 20
        assert file_dump(path, SAME) == await memory_dump(it.store, SAME)


async def test_another_file_in_its_place_is_never_written_to(path: Path) -> None:
    async with opened(path) as it:
        await it.record(10)
        await it.store.snapshot()
        await it.record(10)
        aside = path.with_name("aside")
        os.rename(path, aside)
        shutil.copy(aside, path)
        before = path.read_bytes()  # noqa: ASYNC240
        for _ in range(2):
            with pytest.raises(StoreError, match="another file has taken its place"):
                await it.store.snapshot()
            assert it.store.is_dirty
            assert it.store.durable == 0
        assert path.read_bytes() == before  # noqa: ASYNC240
        aside.replace(path)
        await it.store.snapshot()
        assert (it.store.durable, it.store.is_dirty) == (20, False)
        assert file_rows(path, "SELECT count(*) FROM session_deltas") == [(20,)]


async def filled(it: Opened) -> None:
    """Something in every table, some of it pruned, all of it in the file."""
    for n in range(1500):
        it.put(f"s{n % 11}", None if n % 50 == 49 else str(n), delta_id=f"i{n}")
    await it.store.snapshot()
    await it.store.prune(700, "count")
    await it.store.runs.add(JobRun("prune", "2026-11-20T12:00:00.000Z", 1, "ok", {}))
    await it.store.snapshot()


@pytest.mark.parametrize("how", ["file", "directory", "file, and another one moved away again"])
async def test_a_file_that_was_removed_is_made_anew_from_memory(path: Path, how: str) -> None:
    async with opened(path) as it:
        await filled(it)
        it.put("s1", "new")
        if how == "directory":
            shutil.rmtree(path.parent)
        else:
            os.unlink(path)
        if how.endswith("again"):
            path.write_text("somebody's")  # noqa: ASYNC240
            with pytest.raises(StoreError, match="another file has taken its place"):
                await it.store.snapshot()
            os.unlink(path)
        assert it.store.is_dirty
        await it.store.snapshot()
        assert (it.store.durable, it.store.is_dirty) == (1501, False)
        assert file_dump(path, SAME) == await memory_dump(it.store, SAME)
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)  # noqa: ASYNC240
        # And everything goes on.
        it.put("s2", "newer")
        await it.store.snapshot()
        assert await it.store.prune(1000, "count") == 300
    async with opened(path) as it:
        assert (it.loaded.head, it.loaded.pruned) == (1502, 1000)
        assert file_dump(path, SAME) == await memory_dump(it.store, SAME)


async def test_a_file_that_was_removed_is_missed_though_nothing_has_changed(path: Path) -> None:
    async with opened(path) as it:
        await filled(it)
        assert not it.store.is_dirty
        os.unlink(path)
        assert it.store.is_dirty


async def test_a_file_that_is_removed_while_it_is_written_does_not_count(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRANSACTION_ROWS", 100)
    async with opened(path) as it:
        await it.record(1000)

        armed = True

        def remove() -> None:
            if armed and it.store.durable >= 300:
                path.unlink(missing_ok=True)

        it.store.on_progress(remove)
        # SQLite may notice first: then it calls the file read-only.
        with pytest.raises(StoreError, match=r"No such file|readonly"):
            await it.store.snapshot()
        assert it.store.durable == 0
        armed = False
        await it.store.snapshot()
        assert it.store.durable == 1000
        assert file_dump(path, SAME) == await memory_dump(it.store, SAME)


async def test_nothing_is_pruned_while_the_file_is_made_anew(path: Path) -> None:
    async with opened(path) as it:
        await filled(it)
        os.unlink(path)
        pruned, _ = await asyncio.gather(it.store.prune(1400, "count"), it.store.snapshot())
        assert await it.store.prune(1400, "count") == 700 - pruned
        await it.store.snapshot()
        assert file_dump(path, SAME) == await memory_dump(it.store, SAME)


async def test_wherever_a_snapshot_is_cancelled_the_next_one_is_whole(path: Path) -> None:
    async with opened(path) as it:
        for steps in range(60):
            await it.record(700 if steps % 10 == 0 else 3, after=str(steps))
            task = asyncio.create_task(it.store.snapshot())
            for _ in range(steps):
                await asyncio.sleep(0)
            # Twice: the second one meets the cleaning up after the first.
            for _ in range(2):
                task.cancel()
                await asyncio.sleep(0)
            await asyncio.gather(task, return_exceptions=True)
            kept = file_rows(path, "SELECT count(*), coalesce(max(id), 0) FROM session_deltas")
            assert kept[0][0] == kept[0][1] <= it.store.recorded
        assert it.store.is_dirty
        await it.store.snapshot()
        assert file_dump(path, SAME) == await memory_dump(it.store, SAME)


async def test_what_a_cancelled_snapshot_left_unsaved_stays_due(path: Path) -> None:
    async with opened(path) as it:
        await it.record(10)
        await it.store.snapshot()
        await it.store.prune(5, "count")
        await it.store.set_metadata(last_prune_at="now")
        task = asyncio.create_task(it.store.snapshot())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert it.store.is_dirty


async def test_compaction_gives_space_back_in_slices_and_leaves_the_data(path: Path) -> None:
    async with opened(path) as it:
        for n in range(6000):
            it.put(f"s{n % 50}", f'"{"x" * 2000}"')
        await it.store.snapshot()
        full = it.store.file_size() or 0
        await it.store.prune(5000, "count")
        await it.store.snapshot()
        async with statements(it.store) as on_file:
            await it.store.compact()
        assert (it.store.file_size() or full) < full * 0.25
        assert len([text for text in on_file if "incremental_vacuum" in text]) > 2
        assert leftovers(path) == []
        assert file_rows(path, "PRAGMA integrity_check") == [("ok",)]
        assert file_rows(path) == [columns_of(entry) for entry in it.feeder.entries[5000:]]


async def test_compaction_of_nothing_writes_nothing(path: Path) -> None:
    async with opened(path) as it:
        await it.record(10)
        await it.store.snapshot()
        before = state_of(path)
        await it.store.compact()
        assert state_of(path) == before


async def test_compaction_that_the_disk_refuses_is_told_and_goes_on_next_time(path: Path) -> None:
    async with opened(path) as it:
        await without_patience(it)
        await it.record(2000, after=f'"{"x" * 1000}"')
        await it.store.snapshot()
        await it.store.prune(1900, "count")
        await it.store.snapshot()
        with locked_by_another(path), pytest.raises(StoreError, match="database is locked"):
            await it.store.compact()
        await it.store.compact()
        assert file_rows(path, "PRAGMA freelist_count") == [(0,)]


async def test_a_file_that_cannot_be_compacted_in_place_is_left_as_it_is(path: Path) -> None:
    async with opened(path) as it:
        await it.record(2000)
    conn = sqlite3.connect(path, isolation_level=None)
    conn.executescript("PRAGMA auto_vacuum = NONE; VACUUM")
    conn.close()
    async with opened(path) as it:
        await it.store.prune(1900, "count")
        await it.store.snapshot()
        await it.store.compact()
        assert file_rows(path, "PRAGMA freelist_count")[0][0] > 0


async def test_memory_that_pruning_freed_is_used_again(path: Path) -> None:
    async with opened(path) as it:
        sizes = []
        for _ in range(4):
            await it.record(2000, after=f'"{"x" * 500}"')
            await it.store.snapshot()
            await it.store.prune(it.store.recorded - 100, "count")
            sizes.append(
                await it.store._memory.run(lambda conn: conn.execute("PRAGMA page_count").fetchone()[0])
            )
        assert max(sizes) <= sizes[0] * 1.1


async def test_the_runs_of_jobs_are_copied_once_and_bounded_alike(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.store.sqlite.job_log.KEPT", 5)
    clock = FakeClock()
    async with opened(path, clock) as it:
        for n in range(12):
            await it.store.runs.add(_run(n))
            await it.record(1)
            await it.store.snapshot()
        assert file_dump(path, ("job_runs",)) == await memory_dump(it.store, ("job_runs",))
        assert len(file_rows(path, "SELECT * FROM job_runs")) == 5 + 2


def _run(n: int) -> JobRun:
    name = "prune" if n % 6 == 0 else "snapshot"
    return JobRun(name, "2026-11-20T12:00:00.000Z", n, "ok", {"rows": n})
