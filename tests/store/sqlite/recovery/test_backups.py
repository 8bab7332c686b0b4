"""Copies beside the database: whole or not there, ours alone, and nothing overwritten."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from recorder.store.sqlite import schema
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.identity import COPIED
from recorder.store.sqlite.recovery import backups as aside
from tests.support.store import file_dump, file_rows

NOON = 1_795_176_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.sqlite"
    with closing(connect_sqlite(str(path))) as conn:
        schema.create(conn)
        conn.execute("INSERT INTO meta VALUES ('a', '1')")
    return path


def copied(path: Path, name: Path) -> None:
    with closing(connect_sqlite(str(path))) as conn:
        aside.keep_copy(conn, path, name)


def test_a_name_says_what_it_is_and_when(tmp_path: Path) -> None:
    assert aside.free_name(tmp_path / "x", "corrupt", NOON).name == "x.corrupt-20261120T120000Z"


def test_a_name_that_something_has_is_not_given_again(tmp_path: Path) -> None:
    first = aside.free_name(tmp_path / "x", "schema1", NOON)
    first.symlink_to("nowhere")
    second = aside.free_name(tmp_path / "x", "schema1", NOON)
    second.mkdir()
    third = aside.free_name(tmp_path / "x", "schema1", NOON)
    assert [second.name, third.name] == [f"{first.name}.2", f"{first.name}.3"]


def test_a_copy_has_all_rows_says_that_it_is_one_and_is_for_us_alone(path: Path) -> None:
    name = path.with_name("copy")
    path.with_name("x.sqlite.copy").write_text("left by a crash")
    copied(path, name)
    facts = dict(file_rows(name, "SELECT key, value FROM meta"))
    assert facts.items() >= COPIED.items()
    assert {**file_dump(name), "meta": None} == {**file_dump(path), "meta": None}
    assert file_rows(name, "PRAGMA integrity_check") == [("ok",)]
    assert stat.S_IMODE(name.stat().st_mode) == 0o600
    assert sorted(item.name for item in path.parent.iterdir()) == ["copy", "x.sqlite"]


def test_nothing_is_left_of_a_copy_that_failed(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with (
        closing(other),
        closing(connect_sqlite(str(path), timeout=0)) as conn,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        aside.keep_copy(conn, path, path.with_name("copy"))
    assert [item.name for item in path.parent.iterdir()] == ["x.sqlite"]
