"""Migrations from one version of the schema to the next, and back.

Each step is one transaction, so a file has one version or the other, whatever happens. A copy of the file is kept
before the first step. The SQL here is frozen: it speaks of the versions that it lies between, never of today's schema.
A table that changes is made anew by its full text, so that a migrated file has the same `sqlite_master` as a new one.

To add a version: change `schema.py`, append a step here, and keep the old schema's text in the tests, which carry
a file of every older version forward and back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from recorder.core.errors import StoreUnreadable
from recorder.store.sqlite import schema
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.recovery import backups as aside
from recorder.store.sqlite.rows import Transaction, set_meta


@dataclass(frozen=True, slots=True)
class Step:
    """The migration between a version and the next, up and down, inside the caller's transaction.

    Args:
        up: Makes the older one the newer.
        down: Makes the newer one the older.
        check_down: Raises StoreUnreadable where something would be lost on the way back that may not be. Asked before
            the first step of a way: no file is left in its middle.
    """

    up: Callable[[sqlite3.Connection], None]
    down: Callable[[sqlite3.Connection], None]
    check_down: Callable[[sqlite3.Connection], None] = lambda conn: None


def migrate(conn: sqlite3.Connection, path: Path, to: int, now_ms: int) -> Path | None:
    """Migrate a file to another version of the schema, keeping a copy of the original.

    Args:
        conn: The file, open; nobody else writes to it.
        path: Where it is.
        to: The version wanted.
        now_ms: The time in the copy's name.

    Returns:
        The copy; None where the file has that version already.

    Raises:
        StoreUnreadable: There is no way to that version, and the file is as it was; or a step failed behind others
            that are done, and the message says at which version it is now, and where the copy is.
        sqlite3.Error, OSError, MemoryError: The first step failed. The file is as it was.
    """
    have = schema.version(conn)
    if have == to:
        return None
    for version in (have, to):
        if not schema.OLDEST_VERSION <= version <= schema.USER_VERSION:
            raise StoreUnreadable(
                f"{path}: there is no way from schema {have} to {to}",
                hint=f"this version knows {schema.OLDEST_VERSION} to {schema.USER_VERSION}",
            )
    copy = aside.free_name(path, f"schema{have}", now_ms)
    aside.keep_copy(conn, path, copy)
    try:
        take_steps(conn, to)
        if to < have:
            # An older release does not seal what it writes: the next start here must not miss its seal.
            with Transaction(conn):
                conn.execute("DELETE FROM meta WHERE key = 'seal'")
                set_meta(conn, unsigned="1")
    except BaseException as error:
        stopped = schema.version(conn)
        if stopped == have:
            copy.unlink()  # it would be a copy of what is still there
            raise
        reason = str(error) or "out of memory"
        raise StoreUnreadable(
            f"{path}: the migration from schema {have} to {to} stopped at schema {stopped}: {reason}",
            hint=f"it is whole and usable at schema {stopped}; {copy} is a copy of it at schema {have}",
        ) from error
    logger.bind(db_path=str(path), schema=to, was=have, copy=str(copy)).warning("database migrated")
    return copy


def take_steps(conn: sqlite3.Connection, to: int) -> None:
    """Migrate a database from one known version to another, each step in a transaction.

    Raises:
        StoreUnreadable: It may not go there; it is as it was.
    """
    have = schema.version(conn)
    for version in range(to, have):
        STEPS[version - schema.OLDEST_VERSION].check_down(conn)
    for step, version in _way(have, to):
        with Transaction(conn):
            step(conn)
            conn.execute(f"PRAGMA user_version = {version}")


def definitions(version: int) -> dict[str, str]:
    """Return the SQL of every table, index and trigger of a known version, by name."""
    with closing(connect_sqlite(":memory:")) as conn:
        schema.create(conn)
        take_steps(conn, version)
        return definitions_of(conn)


def definitions_of(conn: sqlite3.Connection) -> dict[str, str]:
    """Return the SQL of every table, index and trigger in a database, by name."""
    return dict(conn.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall())


def triggers_of(conn: sqlite3.Connection) -> set[str]:
    """Return the names of the triggers in a database, however their text is written."""
    return {name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE lower(type) = 'trigger'")}


def _way(have: int, to: int) -> list[tuple[Callable[[sqlite3.Connection], None], int]]:
    """Return the steps from one version to another, each with the version that it leads to."""
    if to > have:
        return [(STEPS[version - schema.OLDEST_VERSION].up, version + 1) for version in range(have, to)]
    return [(STEPS[version - schema.OLDEST_VERSION].down, version) for version in range(have - 1, to - 1, -1)]


# 1 <-> 2: receipts are signed, heads are kept, and content can be erased.

_BASES_1 = """CREATE TABLE session_bases(
  session_id  TEXT PRIMARY KEY,
  seq         INTEGER NOT NULL,
  recorded_at TEXT NOT NULL,
  state       TEXT NOT NULL)"""
_BASES_2 = """CREATE TABLE session_bases(
  session_id   TEXT PRIMARY KEY,
  seq          INTEGER NOT NULL,
  recorded_at  TEXT NOT NULL,
  state        TEXT,
  state_digest BLOB)"""
_PRUNES_1 = """CREATE TABLE prunes(
  id         INTEGER PRIMARY KEY,
  first_seq  INTEGER NOT NULL,
  last_seq   INTEGER NOT NULL,
  count      INTEGER NOT NULL,
  first_hash BLOB,
  last_hash  BLOB,
  last_recorded_at TEXT NOT NULL,
  policy     TEXT NOT NULL,
  pruned_at  TEXT NOT NULL)"""
_PRUNES_2 = f"""{_PRUNES_1[:-1]},
  bases_digest BLOB,
  key_id     TEXT,
  signature  BLOB)"""
_NEW_2 = """CREATE TABLE erasures(
  id         INTEGER PRIMARY KEY,
  session_id TEXT NOT NULL,
  first_seq  INTEGER NOT NULL,
  last_seq   INTEGER NOT NULL,
  count      INTEGER NOT NULL,
  head_seq   INTEGER NOT NULL,
  reason     TEXT NOT NULL,
  erased_at  TEXT NOT NULL,
  digest     BLOB NOT NULL,
  key_id     TEXT,
  signature  BLOB);
CREATE TABLE erased_states(
  seq           INTEGER PRIMARY KEY,
  erasure       INTEGER NOT NULL,
  before_digest BLOB,
  after_digest  BLOB);
CREATE TABLE heads(
  id        INTEGER PRIMARY KEY,
  epoch     TEXT NOT NULL,
  seq       INTEGER NOT NULL,
  count     INTEGER NOT NULL,
  hash      BLOB,
  at        TEXT NOT NULL,
  key_id    TEXT NOT NULL,
  signature BLOB NOT NULL)"""
_BASES_COLUMNS = "session_id, seq, recorded_at, state"
_PRUNES_COLUMNS = "id, first_seq, last_seq, count, first_hash, last_hash, last_recorded_at, policy, pruned_at"


def _recreate(conn: sqlite3.Connection, table: str, text: str, columns: str) -> None:
    """Recreate a table with a new definition, keeping the content of these columns."""
    conn.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    conn.execute(text)
    conn.execute(f"INSERT INTO {table}({columns}) SELECT {columns} FROM old_{table} ORDER BY rowid")
    conn.execute(f"DROP TABLE old_{table}")


def _up_2(conn: sqlite3.Connection) -> None:
    _recreate(conn, "session_bases", _BASES_2, _BASES_COLUMNS)
    _recreate(conn, "prunes", _PRUNES_2, _PRUNES_COLUMNS)
    for statement in _NEW_2.split(";"):
        conn.execute(statement)


def _check_down_2(conn: sqlite3.Connection) -> None:
    erased = conn.execute("SELECT count(*) FROM erasures").fetchone()[0]
    if erased:
        raise StoreUnreadable(
            f"{erased} erasure(s) have taken content away, and schema 1 has no place for the digests that are left",
            hint="its chain could not be verified any more; it stays at schema 2",
        )


def _down_2(conn: sqlite3.Connection) -> None:
    for table in ("heads", "erased_states", "erasures"):
        conn.execute(f"DROP TABLE {table}")
    _recreate(conn, "prunes", _PRUNES_1, _PRUNES_COLUMNS)
    _recreate(conn, "session_bases", _BASES_1, _BASES_COLUMNS)


# 2 <-> 3: what is not an update is found by an index.

_TYPE_3 = "CREATE INDEX session_deltas_type ON session_deltas(delta_type) WHERE delta_type <> 'updated'"


def _up_3(conn: sqlite3.Connection) -> None:
    conn.execute(_TYPE_3)


def _down_3(conn: sqlite3.Connection) -> None:
    conn.execute("DROP INDEX session_deltas_type")


STEPS = (Step(_up_2, _down_2, _check_down_2), Step(_up_3, _down_3))
"""The first leads from `OLDEST_VERSION` to the version after it, and so on."""
