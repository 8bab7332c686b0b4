"""Reading a database file: real files, some of them strange."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.cli import database as dbfile
from recorder.cli.options import Filters
from recorder.core.errors import NotFound, StoreUnreadable
from recorder.wire.export import ExportRow

ALL = Filters()
AddRows = Callable[[sqlite3.Connection, list[ExportRow]], None]


def seqs(
    path: Path, wanted: Filters = ALL, *, descending: bool = False, limit: int | None = None
) -> list[int]:
    with dbfile.opened(path) as conn:
        return [row.seq for row in dbfile.rows(conn, wanted, descending=descending, limit=limit)]


def test_rows_come_back_as_they_were_recorded(database: Path, rows: list[ExportRow]) -> None:
    with dbfile.opened(database) as conn:
        assert list(dbfile.rows(conn, Filters())) == rows


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filters(sessions=("a",)), [1, 3]),
        (Filters(sessions=("a", "ä,b")), [1, 3, 5]),
        (Filters(sessions=("none",)), []),
        (Filters(types=("updated", "deleted")), [2, 3, 5]),
        (Filters(since="2026-11-20T12:00:01.000Z"), [2, 3, 5]),
        (Filters(until="2026-11-20T12:00:01.000Z"), [1, 2]),
        (Filters(after=2), [3, 5]),
        (Filters(before=2), [1]),
        (Filters(before=0), []),
        (Filters(after=1, before=5, types=("updated",), sessions=("a",)), [3]),
    ],
)
def test_each_filter_counts_in_both_orders(wanted: Filters, found: list[int], database: Path) -> None:
    assert seqs(database, wanted) == found
    assert seqs(database, wanted, descending=True) == found[::-1]
    with dbfile.opened(database) as conn:
        assert dbfile.count(conn, wanted) == len(found)


def test_a_limit_is_kept_in_both_orders(database: Path) -> None:
    assert seqs(database, limit=2) == [1, 2]
    assert seqs(database, limit=2, descending=True) == [5, 3]


@pytest.mark.parametrize("descending", [False, True])
def test_slices_join_without_gap_or_duplicate(
    descending: bool,
    database: Path,
    rows: list[ExportRow],
    add_rows: AddRows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        add_rows(
            conn, [rows[0]._replace(seq=seq, after='"' + "x" * (seq % 7) + '"') for seq in range(10, 60)]
        )
    monkeypatch.setattr(dbfile, "SLICE_ROWS", 7)
    monkeypatch.setattr(dbfile, "SLICE_CHARS", 25)
    expected = [1, 2, 3, 5, *range(10, 60)]
    assert seqs(database, descending=descending) == (expected[::-1] if descending else expected)
    assert (
        seqs(database, descending=descending, limit=30) == (expected[::-1] if descending else expected)[:30]
    )


def test_the_recorder_can_write_between_two_slices(
    database: Path, rows: list[ExportRow], add_rows: AddRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbfile, "SLICE_ROWS", 1)
    with (
        dbfile.opened(database) as conn,
        closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as owner,
    ):
        reading = dbfile.rows(conn, Filters())
        assert next(reading).seq == 1
        add_rows(owner, [rows[0]._replace(seq=6)])
        assert [row.seq for row in reading] == [2, 3, 5, 6]


def test_what_is_written_while_reading_can_be_left_out(
    database: Path, rows: list[ExportRow], add_rows: AddRows
) -> None:
    with dbfile.opened(database) as conn:
        wanted = dbfile.until_now(conn, ALL)
        assert dbfile.until_now(conn, Filters(before=3)).before == 3
        with closing(sqlite3.connect(database, isolation_level=None)) as owner:
            add_rows(owner, [rows[0]._replace(seq=6)])
        assert [row.seq for row in dbfile.rows(conn, wanted)] == [1, 2, 3, 5]


def test_nothing_is_written_beside_the_file(database: Path) -> None:
    before = database.read_bytes()
    seqs(database)
    assert database.read_bytes() == before
    assert list(database.parent.iterdir()) == [database]


def test_a_file_of_the_original_schema_reads_too(tmp_path: Path) -> None:
    path = tmp_path / "original #1?.sqlite"
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(
            "CREATE TABLE session_deltas(id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL,"
            " delta_type TEXT NOT NULL, before_state TEXT, after_state TEXT, timestamp TEXT NOT NULL,"
            " created_at TEXT NOT NULL)"
        )
        conn.execute("INSERT INTO session_deltas VALUES (7, 's', 'created', NULL, '1', 't', 'c')")
        conn.commit()
    with dbfile.opened(path) as conn:
        assert list(dbfile.rows(conn, Filters())) == [
            ExportRow(7, "c", "created", "s", None, "1", "t", None, None, None, None)
        ]


def test_what_is_no_file_or_no_database_is_refused_and_untouched(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"), dbfile.opened(tmp_path / "none"):
        pass
    with pytest.raises(NotFound), dbfile.opened(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
    text = tmp_path / "text"
    text.write_text("hello " * 1000)
    with pytest.raises(StoreUnreadable, match="not a database"), dbfile.opened(text):
        pass
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(StoreUnreadable, match="no table session_deltas"), dbfile.opened(empty):
        pass


def test_a_damaged_file_is_an_error_that_names_it(
    database: Path, rows: list[ExportRow], add_rows: AddRows
) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        add_rows(conn, [rows[0]._replace(seq=seq, after='"' + "x" * 3000 + '"') for seq in range(10, 60)])
    with database.open("r+b") as file:
        file.truncate(database.stat().st_size // 2)
    with pytest.raises(StoreUnreadable, match=str(database)):
        seqs(database)


def test_a_file_whose_recorder_died_while_writing_says_what_mends_it(
    database: Path, rows: list[ExportRow], add_rows: AddRows, tmp_path: Path
) -> None:
    dead = tmp_path / "dead.sqlite"
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        conn.execute("PRAGMA cache_size = 1")
        conn.execute("BEGIN")
        # More than the cache holds: the file is changed before the commit, and the journal has what was there.
        add_rows(conn, [rows[0]._replace(seq=seq, after='"' + "x" * 3000 + '"') for seq in range(10, 60)])
        dead.write_bytes(database.read_bytes())
        (tmp_path / "dead.sqlite-journal").write_bytes((tmp_path / "sessions.sqlite-journal").read_bytes())
        conn.execute("ROLLBACK")
    with pytest.raises(StoreUnreadable, match="'recorder serve' on this file repairs it"):
        seqs(dead)


def test_a_file_that_stays_locked_is_said_to_be_written(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbfile, "BUSY_SECONDS", 0.0)
    with closing(sqlite3.connect(database, isolation_level=None)) as owner:
        owner.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnreadable, match="try again"):
            seqs(database)


def test_statistics_say_what_a_file_alone_can(database: Path) -> None:
    with dbfile.opened(database) as conn:
        assert dbfile.statistics(conn, database) == {
            "dbPath": str(database),
            "fileSize": database.stat().st_size,
            "deltaCount": 4,
            "sessionCount": 3,
            "oldest": 1,
            "head": 5,
        }


def test_statistics_of_an_empty_file_have_no_oldest(database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        conn.execute("DELETE FROM session_deltas")
    with dbfile.opened(database) as conn:
        figures = dbfile.statistics(conn, database)
    assert (figures["deltaCount"], figures["oldest"], figures["head"]) == (0, None, 5)


@given(st.integers(0, 7), st.integers(0, 7), st.booleans(), st.integers(1, 5))
def test_bounds_and_limit_agree_with_a_plain_filter(
    low: int, high: int, descending: bool, limit: int
) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        columns = "created_at, delta_type, session_id, before_state, after_state, timestamp"
        conn.execute(f"CREATE TABLE session_deltas(id INTEGER PRIMARY KEY, {columns})")
        conn.executemany("INSERT INTO session_deltas(id) VALUES (?)", [(seq,) for seq in range(1, 7)])
        wanted = Filters(after=low, before=high)
        found = [row.seq for row in dbfile.rows(conn, wanted, descending=descending, limit=limit)]
    expected = [seq for seq in range(1, 7) if low < seq < high]
    assert found == (expected[::-1] if descending else expected)[:limit]


def test_what_was_erased_is_told_by_its_digests(database: Path) -> None:
    with closing(sqlite3.connect(database)) as conn:
        conn.execute("UPDATE session_deltas SET before_state = NULL, after_state = NULL WHERE id = 2")
        # The digests of what was not erased would be nonsense: they do not count.
        conn.executemany(
            "INSERT INTO erased_states VALUES (?, 1, ?, ?)", [(1, b"x", b"y"), (2, b"b" * 32, None)]
        )
        conn.commit()
    with dbfile.opened(database) as conn:
        found = {
            row.seq: (row.before, row.after, row.erased_before, row.erased_after)
            for row in dbfile.rows(conn, Filters())
        }
    assert found[1] == (None, '{"n":1}', None, None)
    assert found[2] == (None, None, b"b" * 32, None)
