"""A journal that a crash has left is tried on a copy: a file that is refused afterwards is as it was, and so is it."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from recorder.core.errors import StoreDamaged, StoreUnreadable
from recorder.store.sqlite.recovery import journal as rehearsal
from tests.support.store import file_rows, opened


async def torn(folder: Path, *, cut: int | None = None) -> tuple[Path, list[Any]]:
    """A file whose last transaction a crash has broken off, when part of it had been written; what it had before.

    Args:
        folder: Where.
        cut: Bytes that are left of its journal.
    """
    whole, path = folder / "whole" / "sessions.sqlite", folder / "torn" / "sessions.sqlite"
    async with opened(whole) as it:
        for n in range(600):
            it.put(f"s{n % 9}", f'"{n}{"x" * 300}"')
    rows = file_rows(whole)
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(whole, isolation_level=None)) as conn:
        conn.execute("PRAGMA cache_size = 5")
        conn.execute("BEGIN")
        conn.execute("DELETE FROM session_deltas WHERE id % 3 = 0")
        for end in ("", "-journal"):
            shutil.copy(f"{whole}{end}", f"{path}{end}")
        conn.execute("ROLLBACK")
    if cut is not None:
        os.truncate(f"{path}-journal", cut)
    return path, rows


def contents(path: Path) -> dict[str, bytes]:
    return {item.name: item.read_bytes() for item in path.parent.iterdir() if item.suffix != ".lock"}


async def test_what_was_broken_off_is_undone(tmp_path: Path) -> None:
    path, rows = await torn(tmp_path)
    before = contents(path)
    rehearsal.check_at_rest(path)
    assert contents(path) == before
    async with opened(path) as it:
        assert it.loaded.head == 600
    assert file_rows(path) == rows


@pytest.mark.parametrize("cut", [20_000, 60_000])
async def test_a_file_that_its_damaged_journal_would_ruin_is_refused_and_both_are_as_they_were(
    tmp_path: Path, cut: int
) -> None:
    path, _ = await torn(tmp_path, cut=cut)
    before = contents(path)
    with pytest.raises(StoreDamaged):
        async with opened(path):
            pass
    assert contents(path) == before


async def test_without_a_journal_that_is_needed_nothing_is_copied_and_what_a_crash_left_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = await torn(tmp_path)
    monkeypatch.setattr(rehearsal.shutil, "copyfile", None)
    journal, left = (path.with_name(f"{path.name}{end}") for end in ("-journal", ".rehearsal"))
    for content in (b"", bytes(512)):
        journal.write_bytes(content)
        left.write_bytes(b"")
        rehearsal.check_at_rest(path)
        assert left.name not in contents(path)
    os.unlink(journal)
    rehearsal.check_at_rest(path)


async def test_where_there_is_no_room_for_a_copy_it_goes_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rows = await torn(tmp_path)

    def full(source: Path, target: Path) -> None:
        target.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rehearsal.shutil, "copyfile", full)
    async with opened(path) as it:
        assert it.loaded.head == 600
    assert file_rows(path) == rows
    assert ".rehearsal" not in "".join(contents(path))


def part_index(path: Path, name: str) -> None:
    """Let an index of a file miss what its table says: pages are whole, and only a full check tells."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        kept = conn.execute("SELECT * FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        conn.execute("PRAGMA writable_schema = ON")
        conn.execute("DELETE FROM sqlite_master WHERE name = ?", (name,))
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("UPDATE session_states SET seq = 5000 WHERE session_id = 's1'")
        conn.execute("PRAGMA writable_schema = ON")
        conn.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", kept)


async def test_a_table_that_is_undone_without_its_index_is_refused_before_anything_is_changed(
    tmp_path: Path,
) -> None:
    path, _ = await torn(tmp_path)
    whole = tmp_path / "whole" / "sessions.sqlite"
    part_index(whole, "session_states_seq")
    with closing(sqlite3.connect(whole, isolation_level=None)) as conn:
        assert conn.execute("PRAGMA quick_check").fetchone() == ("ok",)
        conn.execute("PRAGMA cache_size = 5")
        conn.execute("BEGIN")
        conn.execute("UPDATE session_deltas SET lineage = 'x' WHERE id % 3 = 0")
        for end in ("", "-journal"):
            shutil.copy(f"{whole}{end}", f"{path}{end}")
        conn.execute("ROLLBACK")
    before = contents(path)
    with pytest.raises(StoreDamaged, match="session_states_seq"):
        rehearsal.check_at_rest(path)
    assert contents(path) == before


def wipe_header(path: Path, size: int = 512, at: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(size))


async def torn_in_first_page(folder: Path) -> tuple[Path, list[Any]]:
    """As `torn`, with a transaction that has the first page in its journal."""
    whole, path = folder / "whole" / "sessions.sqlite", folder / "torn" / "sessions.sqlite"
    async with opened(whole) as it:
        for n in range(600):
            it.put(f"s{n % 9}", f'"{n}{"x" * 300}"')
    rows = file_rows(whole)
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(whole, isolation_level=None)) as conn:
        conn.execute("PRAGMA cache_size = 5")
        conn.execute("BEGIN")
        conn.execute("PRAGMA user_version = 2")
        conn.execute("DELETE FROM session_deltas WHERE id % 3 = 0")
        for end in ("", "-journal"):
            shutil.copy(f"{whole}{end}", f"{path}{end}")
        conn.execute("ROLLBACK")
    return path, rows


@pytest.mark.parametrize(("at", "size"), [(0, 512), (0, 4096), (0, 16), (60, 4), (68, 4), (16, 2)])
async def test_a_header_that_the_journal_has_is_not_looked_at_before_it_is_played_back(
    tmp_path: Path, at: int, size: int
) -> None:
    path, rows = await torn_in_first_page(tmp_path)
    wipe_header(path, size, at)
    async with opened(path) as it:
        assert it.loaded.head == 600
    assert file_rows(path) == rows


async def test_a_foreign_file_with_a_journal_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "data" / "sessions.sqlite"
    path.parent.mkdir(mode=0o700)
    whole = tmp_path / "theirs.sqlite"
    with closing(sqlite3.connect(whole, isolation_level=None)) as conn:
        conn.execute("PRAGMA cache_size = 5")
        conn.execute("CREATE TABLE theirs(x)")
        conn.executemany("INSERT INTO theirs VALUES (?)", [("x" * 500,)] * 500)
        conn.execute("BEGIN")
        conn.execute("DELETE FROM theirs")
        for end in ("", "-journal"):
            shutil.copy(f"{whole}{end}", f"{path}{end}")
        conn.execute("ROLLBACK")
    before = contents(path)
    with pytest.raises(StoreUnreadable, match="is not a recorder's database"):
        async with opened(path):
            pass
    assert contents(path) == before


async def test_where_there_is_no_room_for_a_copy_a_header_that_the_journal_may_have_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = await torn_in_first_page(tmp_path)
    wipe_header(path)
    before = contents(path)

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rehearsal.shutil, "copyfile", full)
    with pytest.raises(StoreUnreadable, match=r"free [0-9]+ bytes") as raised:
        # Nor is anything given up, though that would be accepted.
        async with opened(path, allow_data_loss=True):
            pass
    assert not isinstance(raised.value, StoreDamaged)
    assert contents(path) == before


async def test_what_a_damaged_file_has_is_saved_with_its_journal_played_back(tmp_path: Path) -> None:
    path, rows = await torn_in_first_page(tmp_path)
    wipe_header(path)
    with path.open("r+b") as file:
        # A page at the end, which the journal does not have.
        file.seek(path.stat().st_size - 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(StoreDamaged):
        async with opened(path):
            pass
    async with opened(path, allow_data_loss=True) as it:
        saved = it.store.recorded
    assert saved > 0
    assert file_rows(path) == rows[:saved]


async def test_a_journal_whose_database_is_gone_is_put_aside(tmp_path: Path) -> None:
    path, _ = await torn(tmp_path)
    journal = contents(path)[f"{path.name}-journal"]
    path.unlink()
    async with opened(path) as it:
        assert it.loaded.head == 0
        it.put()
    assert [item.read_bytes() for item in path.parent.glob("*.stray-*-journal")] == [journal]
    async with opened(path) as it:
        assert it.loaded.head == 1
