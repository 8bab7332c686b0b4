"""Going on after damage, where the operator accepts it: what can be saved is, nothing is overwritten, all is said."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from loguru import logger

from recorder.core.chain import GENESIS
from recorder.core.clock import FakeClock
from recorder.core.errors import StoreDamaged, StoreUnreadable
from recorder.store.sqlite import schema
from recorder.store.sqlite.recovery import salvage
from tests.store.sqlite.test_files import foreign, put
from tests.support.old_schemas import make_old_file
from tests.support.store import TABLES, Opened, file_dump, file_rows, opened, verify_chain


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite"


async def full(path: Path, clock: FakeClock, count: int = 300) -> str:
    """A file with so many entries, of which the first twenty have been pruned; its epoch."""
    async with opened(path, clock) as it:
        for n in range(count):
            it.put(f"s{n % 9}", f'"{n}{"x" * 300}"', delta_id=f"i{n}")
        await it.store.snapshot()
        await it.store.prune(20, "count")
        clock.advance(1)
        return it.loaded.epoch


def change(path: Path, statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.executescript(statements)


def put_aside(path: Path) -> list[Path]:
    return sorted(item for item in path.parent.iterdir() if ".corrupt-" in item.name)


def page_of(path: Path, seq: int) -> tuple[int, int]:
    """Where in the file the page begins that holds an entry's beginning, and a page's size."""
    size = file_rows(path, "PRAGMA page_size")[0][0]
    found = path.read_bytes().index(f'"{seq - 1}xxxxx'.encode())
    return found // size * size, size


def lost(it: Opened) -> dict[str, Any]:
    assert it.store.last_loss is not None
    found: dict[str, Any] = orjson.loads(it.store.last_loss)
    return found


@contextmanager
def errors_logged() -> Iterator[list[dict[str, Any]]]:
    """What is logged as an error within the block: the fields of each line."""
    found: list[dict[str, Any]] = []
    logger.enable("recorder")
    sink = logger.add(lambda message: found.append(message.record["extra"]), level="ERROR")
    try:
        yield found
    finally:
        logger.remove(sink)
        logger.disable("recorder")


def check_chain(path: Path) -> None:
    cut = file_rows(path, "SELECT last_seq, last_hash FROM prunes ORDER BY id DESC LIMIT 1") or [(0, GENESIS)]
    rows = file_rows(path)
    assert [row[0] for row in rows] == list(range(cut[0][0] + 1, cut[0][0] + 1 + len(rows)))
    verify_chain(rows, cut[0][1])


async def test_what_is_before_the_damage_is_saved_and_the_rest_is_counted(path: Path) -> None:
    clock = FakeClock()
    epoch = await full(path, clock)
    change(path, "UPDATE session_deltas SET after_state = '0' WHERE id = 200")
    damaged = path.read_bytes()  # noqa: ASYNC240
    with pytest.raises(StoreDamaged, match=r"entry 200 is not what .*--allow-data-loss"):
        async with opened(path, clock):
            pass
    assert (path.read_bytes(), put_aside(path)) == (damaged, [])  # noqa: ASYNC240
    with errors_logged() as said:
        async with opened(path, clock, allow_data_loss=True) as it:
            (copy,) = put_aside(path)
            assert (it.loaded.head, it.loaded.pruned, it.loaded.count) == (199, 20, 179)
            assert it.loaded.epoch > epoch
            expected = {
                "at": "2025-11-20T12:00:01.000Z",
                "reason": f"{path}: entry 200 is not what its hash says",
                "file": str(copy),
                "saved": 179,
                "lost": [{"first": 200, "last": 300}],
                "lostCount": 101,
                "readable": 101,
                "incomplete": [],
            }
            assert lost(it) == expected
            it.put("s1", "1")
            (run,) = await it.store.runs.latest(1)
            assert (run.name, run.outcome, run.counts) == (
                "salvage",
                "ok",
                {"saved": 179, "lost": 101, "readable": 101},
            )
    assert [line["lostCount"] for line in said] == [101]
    assert copy.read_bytes() == damaged
    assert stat.S_IMODE(copy.stat().st_mode) == stat.S_IMODE(path.stat().st_mode) == 0o600  # noqa: ASYNC240
    check_chain(path)
    assert file_rows(path, "SELECT first_seq, cause FROM epochs ORDER BY epoch") == [
        (1, "first start"),
        (200, "entries were lost, and that was accepted"),
    ]
    # The loss is remembered, and a start like any other follows.
    async with opened(path, clock, allow_data_loss=True) as it:
        assert (it.loaded.head, lost(it)) == (200, expected)
        assert put_aside(path) == [copy]


async def test_a_page_that_is_gone_costs_what_is_behind_it(path: Path) -> None:
    clock = FakeClock()
    await full(path, clock)
    start, size = page_of(path, 150)
    whole = path.read_bytes()  # noqa: ASYNC240
    put(path, whole[:start] + random.Random(7).randbytes(size) + whole[start + size :])
    async with opened(path, clock, allow_data_loss=True) as it:
        assert 130 < it.loaded.head < 150
        loss = lost(it)
        assert loss["lost"] == [{"first": it.loaded.head + 1, "last": 300}]
        assert loss["saved"] == it.loaded.head - 20
        assert 100 < loss["readable"] < 300 - it.loaded.head
    check_chain(path)


async def test_where_the_beginning_is_gone_the_log_begins_with_what_is_there(path: Path) -> None:
    clock = FakeClock()
    await full(path, clock)
    change(
        path, "DELETE FROM session_deltas WHERE id < 100; DELETE FROM session_bases WHERE session_id = 's0'"
    )
    async with opened(path, clock, allow_data_loss=True) as it:
        assert (it.loaded.head, it.loaded.pruned, it.loaded.count) == (300, 100, 200)
        assert lost(it)["lost"] == [{"first": 21, "last": 100}]
        assert (lost(it)["saved"], lost(it)["readable"]) == (200, 0)
        it.put("s1", "1")
    check_chain(path)
    receipts = file_rows(path, "SELECT first_seq, last_seq, count, policy FROM prunes ORDER BY id")
    assert receipts == [(1, 20, 20, "count"), (21, 100, 80, salvage.POLICY)]


@pytest.mark.parametrize("size", [0, 50, 100, 1024, 4096])
async def test_of_a_file_without_its_first_page_nothing_is_saved_but_the_file(path: Path, size: int) -> None:
    clock = FakeClock()
    epoch = await full(path, clock, 50)
    torn = path.read_bytes()[:size]  # noqa: ASYNC240
    put(path, torn)
    with pytest.raises(StoreDamaged, match="--allow-data-loss"):
        async with opened(path, clock):
            pass
    async with opened(path, clock, allow_data_loss=True) as it:
        assert (it.loaded.head, it.loaded.count) == (0, 0)
        assert it.loaded.epoch > epoch
        assert lost(it)["saved"] == 0
        it.put("s1", "1")
    (copy,) = put_aside(path)
    assert copy.read_bytes() == torn
    check_chain(path)


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
async def test_of_a_file_that_was_cut_what_is_left_is_saved(path: Path, cut: float) -> None:
    clock = FakeClock()
    await full(path, clock)
    whole = path.read_bytes()  # noqa: ASYNC240
    put(path, whole[: int(len(whole) * cut)])
    async with opened(path, clock, allow_data_loss=True) as it:
        assert 280 * cut - 120 < it.loaded.count < 280 * cut + 20
        assert lost(it)["lost"] == [{"first": it.loaded.head + 1, "last": 300}]
        it.put("s1", "1")
    check_chain(path)


async def test_flipped_bytes_never_lose_more_than_is_said(path: Path) -> None:
    """Each start either is as if nothing had happened, or is refused, and then saves a verified run."""
    clock = FakeClock()
    await full(path, clock, 60)
    refusals: list[str] = []
    whole, dice = path.read_bytes(), random.Random(11)  # noqa: ASYNC240
    for _ in range(40):
        content = bytearray(whole)
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        put(path, bytes(content))
        try:
            async with opened(path, clock) as it:
                assert (it.loaded.head, it.store.last_loss) == (60, None)
        except StoreDamaged:
            async with opened(path, clock, allow_data_loss=True) as it:
                gone = sum(span["last"] - span["first"] + 1 for span in lost(it)["lost"])
                assert it.loaded.count + gone >= 40
            check_chain(path)
            for item in put_aside(path):
                item.unlink()
        except StoreUnreadable as error:
            # The header says that it is not ours, or of another version: that is not for us to decide.
            refusals.append(str(error))
    assert all("has schema" in said or "not a recorder's" in said for said in refusals)


async def test_a_damaged_older_file_is_saved_into_todays_schema(path: Path, tmp_path: Path) -> None:
    clock = FakeClock()
    await full(tmp_path / "source" / "x.sqlite", clock)
    make_old_file(path, 1, tmp_path / "source" / "x.sqlite")
    change(path, "UPDATE session_deltas SET session_id = 'other' WHERE id = 250")
    async with opened(path, clock, allow_data_loss=True) as it:
        assert (it.loaded.head, lost(it)["incomplete"]) == (249, [])
    assert file_rows(path, "PRAGMA user_version") == [(schema.USER_VERSION,)]
    check_chain(path)


async def test_tables_that_cannot_be_read_are_named(path: Path) -> None:
    clock = FakeClock()
    await full(path, clock, 50)
    change(path, "DROP TABLE pruned_ids; ALTER TABLE job_runs RENAME TO runs")
    async with opened(path, clock, allow_data_loss=True) as it:
        assert (it.loaded.head, lost(it)["lost"]) == (50, [])
        assert sorted(lost(it)["incomplete"]) == ["job_runs", "pruned_ids"]


async def test_what_is_saved_of_a_file_that_is_whole_is_all_of_it(path: Path) -> None:
    await full(path, FakeClock())
    before = file_dump(path, TABLES)
    loss = salvage.salvage(path, "none", FakeClock().now_ms())
    assert (loss.saved, loss.lost, loss.readable, loss.incomplete) == (280, (), 0, ())
    after = file_dump(path, TABLES)
    for dump in (before, after):
        dump["meta"] = [row for row in dump["meta"] if row[1] not in ("clean", "durability")]
    assert after == before


async def test_a_journal_goes_with_its_file(path: Path) -> None:
    """Left there, it would be rolled back into the new file."""
    clock = FakeClock()
    await full(path, clock, 50)
    put(path, b"not a database")
    path.with_name(f"{path.name}-journal").write_bytes(b"its journal")
    async with opened(path, clock, allow_data_loss=True):
        copy, journal = put_aside(path)
        assert (journal.name, journal.read_bytes()) == (f"{copy.name}-journal", b"its journal")
    assert not path.with_name(f"{path.name}-journal").exists()


@pytest.mark.parametrize("application_id", [0, schema.APPLICATION_ID])
async def test_what_is_not_damaged_but_not_ours_is_refused_all_the_same(
    path: Path, application_id: int
) -> None:
    """Somebody else's database, and one of a newer version: no loss to be accepted, a wrong path to be mended."""
    foreign(path, application_id=application_id)
    change(path, f"PRAGMA user_version = {schema.USER_VERSION + 1}")
    before = path.read_bytes()  # noqa: ASYNC240
    with pytest.raises(StoreUnreadable, match=r"not a recorder's database|use a newer recorder"):
        async with opened(path, allow_data_loss=True):
            pass
    assert (path.read_bytes(), put_aside(path)) == (before, [])  # noqa: ASYNC240


async def test_a_disk_that_takes_no_copy_leaves_the_damaged_file_where_it_was(path: Path) -> None:
    clock = FakeClock()
    await full(path, clock, 50)
    change(path, "UPDATE session_deltas SET after_state = '0' WHERE id = 40")
    damaged = path.read_bytes()  # noqa: ASYNC240
    os.mkdir(path.with_name(f"{path.name}.new"))
    with pytest.raises(StoreUnreadable, match="Is a directory"):
        async with opened(path, clock, allow_data_loss=True):
            pass
    assert (path.read_bytes(), put_aside(path)) == (damaged, [])  # noqa: ASYNC240


async def test_a_full_disk_while_a_small_table_is_saved_is_not_taken_for_damage(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await full(path, FakeClock())
    before = file_dump(path)

    def fill(target: sqlite3.Connection) -> None:
        pages = target.execute("PRAGMA page_count").fetchone()[0]
        target.execute(f"PRAGMA max_page_count = {pages + 1}")

    save = salvage._Saving.save

    def save_on_full_disk(self: salvage._Saving, target: sqlite3.Connection) -> None:
        fill(target)
        save(self, target)

    monkeypatch.setattr(salvage._Saving, "save", save_on_full_disk)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        salvage.salvage(path, "a test", FakeClock().now_ms())
    assert file_dump(path) == before
    assert put_aside(path) == []
