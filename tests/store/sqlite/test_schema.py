"""The tables: what SPEC.md fixes, what serves a search, and what tells our files from others."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from recorder.store.sqlite import schema, span

SPECIFIED = [
    ("id", "INTEGER", 0, 1),
    ("session_id", "TEXT", 1, 0),
    ("delta_type", "TEXT", 1, 0),
    ("before_state", "TEXT", 0, 0),
    ("after_state", "TEXT", 0, 0),
    ("timestamp", "TEXT", 1, 0),
    ("created_at", "TEXT", 1, 0),
]
"""Name, type, whether NULL is refused, whether it is the key."""


INSERT = "INSERT INTO session_deltas(session_id, delta_type, timestamp, created_at) VALUES ('s', ?, 't', 'c')"


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    conn = sqlite3.connect(":memory:", isolation_level=None)
    schema.create(conn)
    yield conn
    conn.close()


def test_the_specified_columns_are_as_specified(conn: sqlite3.Connection) -> None:
    found = conn.execute(
        "SELECT name, type, \"notnull\", pk FROM pragma_table_info('session_deltas')"
    ).fetchall()
    assert found[: len(SPECIFIED)] == SPECIFIED
    assert tuple(row[0] for row in found) == schema.COLUMNS


def test_a_row_needs_no_more_than_the_specified_columns(conn: sqlite3.Connection) -> None:
    for kind in ("created", "updated", "deleted"):
        conn.execute(INSERT, (kind,))
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        conn.execute(INSERT, ("other",))


def test_a_number_is_never_given_twice(conn: sqlite3.Connection) -> None:
    conn.execute(INSERT, ("deleted",))
    conn.execute("DELETE FROM session_deltas")
    assert conn.execute(INSERT, ("deleted",)).lastrowid == 2


def test_it_carries_its_version_and_a_mark_of_ours(conn: sqlite3.Connection) -> None:
    assert schema.version(conn) == schema.USER_VERSION
    assert conn.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)


@pytest.mark.parametrize("column", ["session_id", "created_at", "timestamp"])
def test_history_is_served_by_an_index(conn: sqlite3.Connection, column: str) -> None:
    plan = conn.execute(f"EXPLAIN QUERY PLAN SELECT id FROM session_deltas WHERE {column} = 'x'").fetchall()
    assert f"USING COVERING INDEX session_deltas_{column.removesuffix('_id')} " in plan[0][3]


def test_sessions_are_counted_as_they_come_and_go(conn: sqlite3.Connection) -> None:
    def counted() -> int:
        return int(conn.execute("SELECT value FROM counters WHERE name = 'sessions'").fetchone()[0])

    conn.executemany("INSERT INTO session_states VALUES (?, 1, 'at', 1, 0)", [("a",), ("b",), ("c",)])
    assert counted() == 3
    conn.execute("DELETE FROM session_states WHERE session_id = 'a'")
    conn.execute("INSERT INTO session_states VALUES ('b', 1, 'at', 1, 0) ON CONFLICT DO UPDATE SET seq = 2")
    assert counted() == 2
    conn.execute("DELETE FROM session_states")
    assert counted() == 0


def test_every_table_is_the_log_or_small_or_derived() -> None:
    """What a new table is decides whether a file that is made anew has it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        schema.create(conn)
        found = {
            name
            for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not name.startswith("sqlite_")
        }
    assert found == {span.TABLE, *schema.SMALL_TABLES, *schema.DERIVED_TABLES}
