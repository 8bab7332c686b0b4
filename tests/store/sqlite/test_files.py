"""The file's surroundings: private modes, and hands off what is not ours."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from recorder.core.errors import StoreUnreadable
from recorder.store.sqlite import files, schema
from recorder.store.sqlite.identity import file_id
from tests.support.store import opened


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite"


def foreign(path: Path, *, wal: bool = False, application_id: int = 0) -> None:
    """A database of somebody else's."""
    path.parent.mkdir(exist_ok=True)
    conn = sqlite3.connect(path, isolation_level=None)
    if wal:
        conn.execute("PRAGMA journal_mode = WAL")
    conn.execute(f"PRAGMA application_id = {application_id}")
    conn.execute("CREATE TABLE precious(x)")
    conn.close()
    path.chmod(0o644)


def put(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def everything_in(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Bytes, mode and time of change of every file but the lock."""
    return {
        item.name: (item.read_bytes(), item.stat().st_mode, item.stat().st_mtime_ns)
        for item in folder.iterdir()
        if not item.name.endswith(".lock")
    }


async def refused(path: Path, match: str) -> None:
    """That a store does not open there, and leaves every byte, mode and time as they were."""
    before = everything_in(path.parent)
    with pytest.raises(StoreUnreadable, match=match):
        async with opened(path):
            pass
    assert everything_in(path.parent) == before


# Modes


async def test_file_and_directory_are_made_for_us_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        async with opened(path) as it:
            await it.record(1)
            await it.store.snapshot()
            assert mode_of(path) == 0o600
            assert mode_of(path.parent) == 0o700
            assert mode_of(path.with_name("sessions.sqlite.lock")) == 0o600
    finally:
        os.umask(before)


async def test_modes_that_are_wider_are_mended(path: Path) -> None:
    async with opened(path):
        pass
    os.chmod(path, 0o666)
    os.chmod(path.parent, 0o777)
    async with opened(path):
        assert mode_of(path) == 0o600
        assert mode_of(path.parent) == 0o700


def test_narrower_modes_are_left_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o500)
    files.prepare_directory(path)
    assert mode_of(path.parent) == 0o500
    path.parent.chmod(0o700)


@pytest.mark.parametrize("other", ["notes.txt", "another.sqlite", "folder/"])
def test_a_directory_that_holds_other_things_keeps_its_mode(path: Path, other: str) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o755)
    if other.endswith("/"):
        (path.parent / other).mkdir()
    else:
        (path.parent / other).touch()
    files.prepare_directory(path)
    assert mode_of(path.parent) == 0o755


@pytest.mark.parametrize(
    "own", [".gitkeep", "sessions.sqlite", "sessions.sqlite.lock", "sessions.sqlite-journal"]
)
def test_dotfiles_and_our_own_do_not_count_as_other_things(path: Path, own: str) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o755)
    (path.parent / own).touch()
    files.prepare_directory(path)
    assert mode_of(path.parent) == 0o700


def test_a_directory_that_is_everybodys_keeps_its_mode(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o1777)
    files.prepare_directory(path)
    assert mode_of(path.parent) == 0o1777


def test_the_current_directory_keeps_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "x.sqlite", Path("x.sqlite")):
        files.prepare_directory(path)
        assert mode_of(tmp_path) == 0o755


def test_directories_are_made_all_the_way_down(tmp_path: Path) -> None:
    files.prepare_directory(tmp_path / "a" / "b" / "c" / "x.sqlite")
    assert mode_of(tmp_path / "a" / "b" / "c") == 0o700


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnreadable, match="set DB_PATH to where you may write"):
        files.prepare_directory(tmp_path / "file" / "x.sqlite")


# Making and checking


def test_a_new_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.with_name("x.sqlite.new").write_text("left by a crash")
    assert files.create_if_missing(path)
    assert [item.name for item in tmp_path.iterdir()] == ["x.sqlite"]
    assert mode_of(path) == 0o600
    conn = sqlite3.connect(path)
    assert schema.version(conn) == schema.USER_VERSION
    conn.close()
    assert not files.create_if_missing(path)


def test_a_file_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite.new").mkdir()
    with pytest.raises(StoreUnreadable, match="set DB_PATH to where you may write"):
        files.create_if_missing(tmp_path / "x.sqlite")
    assert not (tmp_path / "x.sqlite").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"not a database", b"SQLite format 3\0", b"\0" * 4096],
    ids=["empty", "text", "torn", "zeros"],
)
async def test_what_is_no_database_is_refused_untouched(path: Path, content: bytes) -> None:
    put(path, content)
    await refused(path, "is not a SQLite database .*it was left as it is")


@pytest.mark.parametrize("wal", [False, True])
async def test_somebody_elses_database_is_refused_untouched(path: Path, wal: bool) -> None:
    """Not even its journal mode or its file mode is changed."""
    foreign(path, wal=wal)
    await refused(path, "is not a recorder's database")


async def test_the_journal_of_somebody_elses_database_is_left_to_them(path: Path) -> None:
    foreign(path)
    path.with_name("sessions.sqlite-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\0" * 1000)
    await refused(path, "is not a recorder's database")


async def test_a_newer_schema_is_refused_untouched(path: Path) -> None:
    foreign(path, application_id=schema.APPLICATION_ID)
    conn = sqlite3.connect(path)
    conn.execute(f"PRAGMA user_version = {schema.USER_VERSION + 1}")
    conn.close()
    known = schema.USER_VERSION
    await refused(path, f"has schema {known + 1}, this version knows {known} .*use a newer recorder")


async def test_a_file_of_ours_that_is_damaged_is_refused_untouched(path: Path) -> None:
    async with opened(path) as it:
        await it.record(500)
    whole = everything_in(path.parent)[path.name][0]
    put(path, whole[: len(whole) // 2], 0o600)
    await refused(path, "malformed")
    put(path, whole[:100] + os.urandom(4096 - 100) + whole[4096:], 0o600)
    await refused(path, "malformed|not a database")


async def test_a_file_of_ours_without_its_tables_is_refused_untouched(path: Path) -> None:
    foreign(path, application_id=schema.APPLICATION_ID)
    os.chmod(path, 0o600)
    await refused(path, "has schema 0, which no recorder has written")
    for version in range(schema.OLDEST_VERSION, schema.USER_VERSION + 1):
        conn = sqlite3.connect(path)
        conn.execute(f"PRAGMA user_version = {version}")
        conn.close()
        await refused(path, "no such table")


@pytest.mark.parametrize("thing", ["directory", "dangling link"])
def test_what_is_no_file_is_refused_untouched(path: Path, thing: str) -> None:
    path.parent.mkdir(mode=0o700)
    if thing == "directory":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    assert not files.create_if_missing(path)
    with pytest.raises(StoreUnreadable):
        files.check_file(path)
    assert path.is_dir() or path.is_symlink()


async def test_a_file_that_another_program_writes_to_is_refused(path: Path) -> None:
    async with opened(path):
        pass
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(StoreUnreadable, match="database is locked"):
            async with opened(path, busy_seconds=0):
                pass
    finally:
        other.close()


async def test_only_a_missing_file_is_a_fresh_start(path: Path) -> None:
    async with opened(path) as it:
        assert (it.loaded.head, it.loaded.meta) == (0, {})
    async with opened(path) as it:
        assert it.loaded.meta["epoch"] == it.loaded.epoch


def test_a_file_is_known_by_what_it_is_not_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    known = file_id(path)
    files.check_identity(path, known)
    (tmp_path / "y").touch()
    (tmp_path / "y").rename(path)
    with pytest.raises(OSError, match="another file has taken its place"):
        files.check_identity(path, known)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        files.check_identity(path, known)
