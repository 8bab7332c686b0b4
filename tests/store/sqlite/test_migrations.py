"""Migrations: every older file goes forward and back with its content and its chain, and is kept as it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from recorder.core.chain import GENESIS
from recorder.core.clock import FakeClock
from recorder.core.errors import StoreUnreadable
from recorder.store.contract import JobRun
from recorder.store.sqlite import migrations, schema
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.identity import COPIED
from tests.support.old_schemas import OLD_SCHEMAS, make_old_file
from tests.support.store import file_dump, file_rows, leftovers, opened, typed_dump, verify_chain

NOW = 1_795_176_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite"


@pytest.fixture
def conn(path: Path) -> Iterator[sqlite3.Connection]:
    """An empty file of the oldest schema, open."""
    make_old_file(path, schema.OLDEST_VERSION)
    with closing(connect_sqlite(str(path))) as conn:
        yield conn


def definitions(conn: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return conn.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()


def content(conn: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """What every table holds, the columns that all versions have."""
    return {
        table: [tuple(row) for row in conn.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2")]
        for table, columns in columns_of_all_versions().items()
    }


def columns_of_all_versions() -> dict[str, str]:
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.executescript(OLD_SCHEMAS[schema.OLDEST_VERSION])
        tables = [name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: ",".join(
                name for (name,) in conn.execute("SELECT name FROM pragma_table_info(?)", (table,))
            )
            for table in tables
        }


async def full_file(path: Path) -> None:
    """A file of today's schema with something in every table that has been there from the start."""
    async with opened(path) as it:
        for n in range(400):
            it.put(
                f"s{n % 7}", None if n % 90 == 89 else f'{{"n": {n}}}', delta_id=f"i{n}" if n % 3 else None
            )
        it.put("s1", "2", before='"never"')
        await it.store.snapshot()
        await it.store.prune(150, "count")
        await it.store.snapshot()
        await it.store.prune(160, "asked")
        await it.store.runs.add(JobRun("prune", "2026-11-20T12:00:00.000Z", 3, "ok", {"pruned": 160}))


def test_there_is_a_step_for_every_version() -> None:
    assert len(migrations.STEPS) == schema.USER_VERSION - schema.OLDEST_VERSION
    assert sorted(OLD_SCHEMAS) == list(range(schema.OLDEST_VERSION, schema.USER_VERSION))


@pytest.mark.parametrize("version", OLD_SCHEMAS)
def test_a_migrated_schema_is_the_same_as_a_new_one(path: Path, version: int) -> None:
    make_old_file(path, version)
    with closing(connect_sqlite(str(path))) as migrated, closing(connect_sqlite(":memory:")) as new:
        old = definitions(migrated)
        schema.create(new)
        migrations.migrate(migrated, path, schema.USER_VERSION, NOW)
        assert definitions(migrated) == definitions(new) != old
        for pragma in ("user_version", "application_id", "auto_vacuum"):
            assert migrated.execute(f"PRAGMA {pragma}").fetchone() == (
                (2,) if pragma == "auto_vacuum" else new.execute(f"PRAGMA {pragma}").fetchone()
            )
        migrations.migrate(migrated, path, version, NOW)
        assert definitions(migrated) == old
        assert schema.version(migrated) == version


@pytest.mark.parametrize("version", OLD_SCHEMAS)
async def test_a_file_of_every_older_schema_goes_forward_and_back_intact(
    path: Path, tmp_path: Path, version: int
) -> None:
    await full_file(tmp_path / "source" / "sessions.sqlite")
    make_old_file(path, version, tmp_path / "source" / "sessions.sqlite")
    with closing(connect_sqlite(str(path))) as conn:
        before, dump = content(conn), typed_dump(conn, columns_of_all_versions())
        assert all(before.values())
        migrations.migrate(conn, path, schema.USER_VERSION, NOW)
        assert content(conn) == before
        cut = conn.execute("SELECT last_hash FROM prunes ORDER BY id DESC LIMIT 1").fetchone()[0]
        verify_chain(conn.execute("SELECT * FROM session_deltas ORDER BY id"), cut)
        migrations.migrate(conn, path, version, NOW + 1000)
        assert typed_dump(conn, columns_of_all_versions()) == dump
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("version", OLD_SCHEMAS)
async def test_an_older_file_is_migrated_at_start_and_recorded_into(
    path: Path, tmp_path: Path, version: int
) -> None:
    """The file as it was stays beside it."""
    await full_file(tmp_path / "source" / "sessions.sqlite")
    make_old_file(path, version, tmp_path / "source" / "sessions.sqlite")
    tables = [name for (name,) in file_rows(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    old = file_dump(path, tables)
    async with opened(path, FakeClock()) as it:
        assert (it.loaded.head, it.loaded.pruned) == (401, 160)
        it.put("new", "1")
    (copy,) = leftovers(path)
    assert copy.startswith(f"sessions.sqlite.schema{version}-20")
    kept = file_dump(path.with_name(copy), tables)
    facts = dict(file_rows(path.with_name(copy), "SELECT key, value FROM meta"))
    assert facts.items() >= COPIED.items()
    assert {**kept, "meta": None} == {**old, "meta": None}
    assert file_rows(path, "PRAGMA user_version") == [(schema.USER_VERSION,)]
    cut = file_rows(path, "SELECT last_hash FROM prunes ORDER BY id DESC LIMIT 1")[0][0]
    verify_chain(file_rows(path), cut or GENESIS)
    assert len(file_rows(path)) == 242
    async with opened(path):
        assert leftovers(path) == [copy]  # once


def test_a_file_that_has_the_version_is_left_alone(conn: sqlite3.Connection, path: Path) -> None:
    before = path.read_bytes()
    assert migrations.migrate(conn, path, schema.OLDEST_VERSION, NOW) is None
    assert (path.read_bytes(), leftovers(path)) == (before, [])


@pytest.mark.parametrize("to", [schema.OLDEST_VERSION - 1, schema.USER_VERSION + 1])
def test_a_version_that_nobody_knows_is_refused(conn: sqlite3.Connection, path: Path, to: int) -> None:
    before = path.read_bytes()
    with pytest.raises(StoreUnreadable, match=rf"no way from schema 1 to {to} .*knows 1 to"):
        migrations.migrate(conn, path, to, NOW)
    assert (path.read_bytes(), leftovers(path)) == (before, [])


def test_a_step_that_fails_leaves_the_file_as_it_was(conn: sqlite3.Connection, path: Path) -> None:
    conn.execute("DROP TABLE prunes")
    before = definitions(conn)
    with pytest.raises(sqlite3.OperationalError, match="no such table: prunes"):
        migrations.migrate(conn, path, schema.USER_VERSION, NOW)
    assert definitions(conn) == before
    assert (schema.version(conn), leftovers(path)) == (schema.OLDEST_VERSION, [])


def test_the_way_back_is_refused_where_content_was_erased(path: Path) -> None:
    """Schema 1 has no place for the digests that are left of it."""
    path.parent.mkdir()
    with closing(connect_sqlite(str(path))) as conn:
        schema.create(conn)
        conn.execute("INSERT INTO erasures VALUES (1, 's', 1, 1, 1, 1, 'r', 'at', x'00', NULL, NULL)")
        conn.execute("INSERT INTO session_bases VALUES ('s', 1, 'at', NULL, x'00')")
        before = path.read_bytes()
        with pytest.raises(StoreUnreadable, match=r"1 erasure\(s\)"):
            migrations.migrate(conn, path, 1, NOW)
    assert (path.read_bytes(), leftovers(path)) == (before, [])


async def test_a_migration_that_stops_behind_its_first_step_says_where_and_names_the_copy(
    path: Path, conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    up_2, up_3 = migrations.STEPS

    def full(conn: sqlite3.Connection) -> None:
        if is_on_disk(conn):
            raise sqlite3.OperationalError("database or disk is full")
        up_3.up(conn)

    monkeypatch.setattr(migrations, "STEPS", (up_2, migrations.Step(full, up_3.down)))
    with pytest.raises(StoreUnreadable) as raised:
        async with opened(path):
            pass
    (copy,) = path.parent.glob("*.schema1-*")
    assert "from schema 1 to 3 stopped at schema 2: database or disk is full" in raised.value.message
    assert str(copy) in str(raised.value)
    assert "left as it is" not in str(raised.value)
    assert schema.version(conn) == 2
    with closing(connect_sqlite(str(copy))) as kept:
        assert schema.version(kept) == 1


async def test_a_migration_that_fails_at_its_first_step_leaves_the_file_and_no_copy(
    path: Path, conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(conn: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(migrations, "STEPS", (migrations.Step(full, full), migrations.STEPS[1]))
    with pytest.raises(StoreUnreadable, match="it was left as it is"):
        async with opened(path):
            pass
    assert schema.version(conn) == 1
    assert list(path.parent.glob("*.schema1-*")) == []


async def test_what_fails_behind_a_migration_does_not_say_that_the_file_is_as_it_was(
    path: Path, conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(conn: sqlite3.Connection) -> int:
        if is_on_disk(conn):
            raise sqlite3.OperationalError("disk I/O error")
        return 0

    monkeypatch.setattr("recorder.store.sqlite.recovery.check.states_fit", lambda conn: False)
    monkeypatch.setattr("recorder.store.sqlite.recovery.open.rebuild_states", fail)
    with pytest.raises(StoreUnreadable, match="it is at schema 3 now") as raised:
        async with opened(path):
            pass
    (copy,) = path.parent.glob("*.schema1-*")
    assert str(copy) in str(raised.value)


def is_on_disk(conn: sqlite3.Connection) -> bool:
    """Whether a database is a file, not one in memory."""
    return bool(conn.execute("PRAGMA database_list").fetchone()[2])
