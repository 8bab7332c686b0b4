"""Writing rows: any number in few statements, with the sessions' states, all or none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from recorder.core.chain import GENESIS
from recorder.core.clock import FakeClock
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates
from recorder.store.sqlite import schema
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.rows import Transaction, get_meta, rebuild_states, set_meta
from recorder.store.sqlite.span import append_entries, append_rows
from tests.support.store import Feeder, columns_of


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    conn = connect_sqlite(":memory:")
    schema.create(conn)
    yield conn
    conn.close()


@pytest.fixture
def feeder() -> Feeder:
    return Feeder(Sequencer("E", 0, GENESIS, "", CurrentStates()), FakeClock())


def append(conn: sqlite3.Connection, feeder: Feeder, count: int) -> None:
    made = [feeder.entry(f"s{n % 3}", str(n)) for n in range(count)]
    with Transaction(conn):
        append_rows(conn, [value for entry in made for value in columns_of(entry)], made[0].seq, made[-1].seq)


@pytest.mark.parametrize("count", [1, 2, 3, 31, 511, 512, 513, 1023, 1700])
def test_any_number_of_rows_takes_few_statements(
    conn: sqlite3.Connection, feeder: Feeder, count: int
) -> None:
    seen: list[str] = []
    conn.set_trace_callback(seen.append)
    append(conn, feeder, count)
    conn.set_trace_callback(None)
    inserts = [text for text in seen if text.startswith("INSERT INTO session_deltas(")]
    assert len(inserts) <= count // 512 + 9
    found = conn.execute("SELECT * FROM session_deltas ORDER BY id").fetchall()
    assert found == [columns_of(entry) for entry in feeder.entries]


@pytest.mark.parametrize("rare", [{}, {"delta_id": "x"}, {"before": "0", "session": "s2"}], ids=str)
def test_entries_and_their_columns_come_to_the_same_rows(
    conn: sqlite3.Connection, feeder: Feeder, rare: dict[str, str]
) -> None:
    """What an INSERT leaves out where no entry has any is as if it had been given."""
    for n in range(600):
        feeder.entry(f"s{n % 3}", str(n), before="7" if n == 5 else None)
    feeder.entry(after="{}", **rare)
    for start, stop in ((0, 5), (5, 40), (40, 601)):
        with Transaction(conn):
            append_entries(conn, feeder.entries[start:stop])
    found = conn.execute("SELECT * FROM session_deltas ORDER BY id").fetchall()
    assert found == [columns_of(entry) for entry in feeder.entries]
    assert {row[-2] for row in found} == {None, "broken"}
    found = conn.execute("SELECT session_id, seq, count FROM session_states ORDER BY 1").fetchall()
    assert rebuild_states(conn) == len(found)
    assert conn.execute("SELECT session_id, seq, count FROM session_states ORDER BY 1").fetchall() == found


def test_states_follow_across_transactions(conn: sqlite3.Connection, feeder: Feeder) -> None:
    append(conn, feeder, 4)
    append(conn, feeder, 4)
    found = conn.execute("SELECT session_id, seq, count, deleted FROM session_states").fetchall()
    assert found == [("s0", 8, 4, 0), ("s1", 6, 2, 0), ("s2", 7, 2, 0)]
    assert rebuild_states(conn) == 3
    assert conn.execute("SELECT session_id, seq, count, deleted FROM session_states").fetchall() == found


def test_touching_the_states_looks_at_the_new_rows_alone(conn: sqlite3.Connection, feeder: Feeder) -> None:
    from recorder.store.sqlite import span

    append(conn, feeder, 10)
    plan = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {span._TOUCH_STATES}", (5, 6))]
    assert plan[0] == "SEARCH session_deltas USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"


def test_a_number_that_is_there_already_undoes_the_whole_group(
    conn: sqlite3.Connection, feeder: Feeder
) -> None:
    append(conn, feeder, 3)
    twice = [value for entry in feeder.entries for value in columns_of(entry)]
    with pytest.raises(sqlite3.IntegrityError), Transaction(conn):
        append_rows(conn, twice, 1, 3)
    assert not conn.in_transaction
    assert conn.execute("SELECT count FROM session_states").fetchall() == [(1,), (1,), (1,)]


def test_a_transaction_commits_or_leaves_nothing(conn: sqlite3.Connection) -> None:
    with Transaction(conn):
        set_meta(conn, a="1", b="2")
    with pytest.raises(ZeroDivisionError), Transaction(conn):
        set_meta(conn, a="3", b=str(1 / 0))
    assert get_meta(conn) == {"a": "1", "b": "2"}
    with Transaction(conn):
        set_meta(conn, a="4")
    assert get_meta(conn) == {"a": "4", "b": "2"}


def test_a_commit_that_fails_is_rolled_back(conn: sqlite3.Connection) -> None:
    conn.executescript(
        "PRAGMA foreign_keys = ON; CREATE TABLE a(x PRIMARY KEY);"
        "CREATE TABLE b(x REFERENCES a DEFERRABLE INITIALLY DEFERRED)"
    )
    with pytest.raises(sqlite3.IntegrityError), Transaction(conn):
        conn.execute("INSERT INTO b VALUES (1)")
    assert not conn.in_transaction
    assert conn.execute("SELECT * FROM b").fetchall() == []


def test_a_transaction_that_sqlite_ended_itself_is_left_alone(conn: sqlite3.Connection) -> None:
    conn.execute("CREATE TABLE t(x UNIQUE ON CONFLICT ROLLBACK)")
    conn.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(sqlite3.IntegrityError), Transaction(conn):
        conn.execute("INSERT INTO t VALUES (1)")
    assert not conn.in_transaction
