"""What is looked at before a file is used: each kind of damage is named, refused and left alone, and nothing else is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from recorder.core.chain import digest
from recorder.core.errors import StoreDamaged
from recorder.store.sqlite import schema
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.recovery import check as checking
from tests.store.sqlite.test_retention import ALL, feeder, insert, prune_all
from tests.support.old_schemas import make_old_file
from tests.support.store import file_rows, opened


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    """Forty entries, of which ten have been pruned."""
    with closing(connect_sqlite(":memory:")) as conn:
        schema.create(conn)
        made = feeder()
        insert(conn, [made.entry(f"s{n % 5}", f'"{n}"', delta_id=f"i{n}") for n in range(40)])
        prune_all(conn, 10, ALL)
        yield conn


UNPRUNE = "DELETE FROM prunes"
DAMAGE = {
    "a state edited": ("UPDATE session_deltas SET after_state = '0' WHERE id = 30", "entry 30 is not what"),
    "a state taken away": (
        "UPDATE session_deltas SET before_state = NULL WHERE id = 30",
        "entry 30 is not what",
    ),
    "a time edited": ("UPDATE session_deltas SET timestamp = '1' WHERE id = 40", "entry 40 is not what"),
    "a hash edited": ("UPDATE session_deltas SET hash = zeroblob(32) WHERE id = 40", "entry 40 is not what"),
    "a hash taken away": ("UPDATE session_deltas SET hash = NULL WHERE id = 30", "entry 31 is not what"),
    "two swapped": (
        "UPDATE session_deltas SET id = -1 WHERE id = 20; UPDATE session_deltas SET id = 20 WHERE id = 21;"
        "UPDATE session_deltas SET id = 21 WHERE id = -1",
        "entry 20 is not what",
    ),
    "one deleted": ("DELETE FROM session_deltas WHERE id = 25", "1 entries before 40 are missing"),
    "the first deleted": ("DELETE FROM session_deltas WHERE id < 15", "entries 11 to 14 are missing"),
    "the last deleted": ("DELETE FROM session_deltas WHERE id > 35", "entries 36 to 40 are missing"),
    "all deleted": ("DELETE FROM session_deltas", "entries 11 to 40 are missing"),
    "the receipt deleted": (UNPRUNE, "entries 1 to 10 are missing"),
    "the receipt edited": ("UPDATE prunes SET last_hash = zeroblob(32)", "entry 11 is not what"),
    "a pruned one back": (
        "INSERT INTO session_deltas(id, session_id, delta_type, timestamp, created_at)"
        " VALUES (9, 's', 'deleted', '', '')",
        "entry 9 is there, though everything up to 10 was pruned",
    ),
    "a table gone": ("DROP TABLE meta", "no such table: meta"),
    "an index gone": ("DROP INDEX session_states_seq", "session_states_seq is missing"),
    "a column more": ("ALTER TABLE epochs ADD COLUMN x", "epochs is not defined as it should be"),
    "a trigger more": (
        "CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM prunes; END",
        "there is a trigger that is not ours: t",
    ),
}


@pytest.mark.parametrize(("statements", "match"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named(conn: sqlite3.Connection, statements: str, match: str) -> None:
    checking.check(conn)
    conn.executescript(statements)
    with pytest.raises(StoreDamaged, match=match):
        checking.check(conn)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE notes(x)",
        "CREATE INDEX more ON session_deltas(lineage)",
        "ANALYZE",
        "VACUUM",
        "INSERT INTO meta VALUES ('more', '1')",
    ],
)
def test_what_does_no_harm_is_let_be(conn: sqlite3.Connection, statement: str) -> None:
    conn.execute(statement)
    checking.check(conn)


def test_only_the_last_links_are_checked(conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are the doctor's business: a start must not take minutes."""
    monkeypatch.setattr(checking, "TAIL", 5)
    conn.execute("UPDATE session_deltas SET after_state = '0' WHERE id = 35")
    checking.check(conn)
    conn.execute("UPDATE session_deltas SET after_state = '0' WHERE id = 36")
    with pytest.raises(StoreDamaged, match="entry 36"):
        checking.check(conn)


def test_an_empty_log_and_one_that_is_all_pruned_are_sound(conn: sqlite3.Connection) -> None:
    prune_all(conn, 40, ALL)
    checking.check(conn)
    with closing(connect_sqlite(":memory:")) as empty:
        schema.create(empty)
        checking.check(empty)


def test_of_an_erased_state_the_digest_is_what_counts(conn: sqlite3.Connection) -> None:
    before, after = conn.execute(
        "SELECT before_state, after_state FROM session_deltas WHERE id = 30"
    ).fetchone()
    conn.execute("UPDATE session_deltas SET before_state = NULL, after_state = NULL WHERE id = 30")
    conn.execute("INSERT INTO erased_states VALUES (30, 1, ?, ?)", (digest(before), digest(after)))
    checking.check(conn)
    conn.execute("UPDATE erased_states SET after_digest = zeroblob(32)")
    with pytest.raises(StoreDamaged, match="entry 30"):
        checking.check(conn)


def test_where_the_chain_was_off_it_begins_anew(conn: sqlite3.Connection) -> None:
    conn.execute("UPDATE session_deltas SET hash = NULL WHERE id >= 30")
    checking.check(conn)


async def test_a_damaged_older_file_is_refused_before_it_is_migrated(tmp_path: Path) -> None:
    async with opened(tmp_path / "source" / "x.sqlite") as it:
        await it.record(20)
    path = tmp_path / "data" / "x.sqlite"
    make_old_file(path, 1, tmp_path / "source" / "x.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("UPDATE session_deltas SET after_state = '3' WHERE id = 7")
    before = path.read_bytes()
    with pytest.raises(
        StoreDamaged, match=r"x\.sqlite: entry 7 is not .*put back a copy of it, or start with"
    ):
        async with opened(path):
            pass
    assert path.read_bytes() == before
    assert sorted(item.name for item in path.parent.iterdir()) == ["x.sqlite", "x.sqlite.lock"]
    assert file_rows(path, "PRAGMA user_version") == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM session_states WHERE session_id = 's2'",
        "UPDATE session_states SET count = 0 WHERE session_id = 's1'",
        "UPDATE session_states SET seq = seq + 100 WHERE session_id = 's1'",
        "UPDATE counters SET value = 9",
        "DELETE FROM counters",
    ],
)
async def test_a_cache_that_does_not_fit_the_log_is_made_anew(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "data" / "x.sqlite"
    async with opened(path) as it:
        for n in range(30):
            it.put(f"s{n % 3}", str(n))
    right = file_rows(path, "SELECT * FROM session_states ORDER BY 1")
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute(statement)
    async with opened(path) as it:
        assert [(row.session_id, row.seq, row.count) for row in await it.store.states.sessions(None, 9)] == [
            ("s2", 30, 10),
            ("s1", 29, 10),
            ("s0", 28, 10),
        ]
        assert await it.store.states.count() == 3
    assert file_rows(path, "SELECT * FROM session_states ORDER BY 1") == right
    assert file_rows(path, "SELECT * FROM counters") == [("sessions", 3)]


@pytest.mark.parametrize("column", ["session_id", "after_state", "timestamp"])
async def test_a_value_of_another_type_is_damage_and_no_crash(tmp_path: Path, column: str) -> None:
    path = tmp_path / "s.sqlite"
    async with opened(path) as it:
        await it.record(3)
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(f"UPDATE session_deltas SET {column} = CAST({column} AS BLOB) WHERE id = 2")
    with pytest.raises(StoreDamaged, match="entry 2 is not what its hash says"):
        async with opened(path):
            pass


async def test_a_schema_that_is_no_text_is_damage_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "data" / "s.sqlite"
    async with opened(path) as it:
        await it.record(3)
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("PRAGMA writable_schema = ON")
        conn.execute("UPDATE sqlite_master SET name = CAST(x'ff' AS TEXT) WHERE name = 'session_deltas'")
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match="malformed database schema"):
        async with opened(path):
            pass
    assert path.read_bytes() == before
