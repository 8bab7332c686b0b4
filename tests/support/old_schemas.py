"""The schemas of former versions, as their `create` made them, and files that have them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from recorder.store.sqlite import schema

SCHEMA_1 = """
CREATE TABLE session_deltas(
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id    TEXT NOT NULL,
  delta_type    TEXT NOT NULL CHECK (delta_type IN ('created','updated','deleted')),
  before_state  TEXT,
  after_state   TEXT,
  timestamp     TEXT NOT NULL,
  created_at    TEXT NOT NULL,
  delta_id      TEXT,
  id_digest     BLOB,
  before_filled INTEGER NOT NULL DEFAULT 0,
  lineage       TEXT,
  hash          BLOB);
CREATE INDEX session_deltas_session ON session_deltas(session_id);
CREATE INDEX session_deltas_timestamp ON session_deltas(timestamp);
CREATE INDEX session_deltas_created_at ON session_deltas(created_at);
CREATE INDEX session_deltas_with_id ON session_deltas(id) WHERE delta_id IS NOT NULL;
CREATE INDEX session_deltas_lineage ON session_deltas(id) WHERE lineage IS NOT NULL;
CREATE TABLE session_states(
  session_id  TEXT PRIMARY KEY,
  seq         INTEGER NOT NULL,
  recorded_at TEXT NOT NULL,
  count       INTEGER NOT NULL,
  deleted     INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX session_states_seq ON session_states(seq);
CREATE TABLE session_bases(
  session_id  TEXT PRIMARY KEY,
  seq         INTEGER NOT NULL,
  recorded_at TEXT NOT NULL,
  state       TEXT NOT NULL);
CREATE TABLE pruned_ids(
  delta_id  TEXT PRIMARY KEY,
  seq       INTEGER NOT NULL,
  id_digest BLOB NOT NULL);
CREATE INDEX pruned_ids_seq ON pruned_ids(seq);
CREATE TABLE epochs(
  epoch      TEXT PRIMARY KEY,
  first_seq  INTEGER NOT NULL,
  started_at TEXT NOT NULL,
  cause      TEXT NOT NULL);
CREATE TABLE prunes(
  id         INTEGER PRIMARY KEY,
  first_seq  INTEGER NOT NULL,
  last_seq   INTEGER NOT NULL,
  count      INTEGER NOT NULL,
  first_hash BLOB,
  last_hash  BLOB,
  last_recorded_at TEXT NOT NULL,
  policy     TEXT NOT NULL,
  pruned_at  TEXT NOT NULL);
CREATE TABLE job_runs(
  id          INTEGER PRIMARY KEY,
  name        TEXT NOT NULL,
  started_at  TEXT NOT NULL,
  duration_ms INTEGER NOT NULL,
  outcome     TEXT NOT NULL,
  counts      TEXT NOT NULL,
  error       TEXT);
CREATE TABLE meta(
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE counters(
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL);
INSERT INTO counters VALUES ('sessions', 0);
CREATE TRIGGER session_states_in AFTER INSERT ON session_states
BEGIN UPDATE counters SET value = value + 1 WHERE name = 'sessions'; END;
CREATE TRIGGER session_states_out AFTER DELETE ON session_states
BEGIN UPDATE counters SET value = value - 1 WHERE name = 'sessions'; END;
"""

SCHEMA_2 = """
CREATE TABLE session_deltas(
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id    TEXT NOT NULL,
  delta_type    TEXT NOT NULL CHECK (delta_type IN ('created','updated','deleted')),
  before_state  TEXT,
  after_state   TEXT,
  timestamp     TEXT NOT NULL,
  created_at    TEXT NOT NULL,
  delta_id      TEXT,
  id_digest     BLOB,
  before_filled INTEGER NOT NULL DEFAULT 0,
  lineage       TEXT,
  hash          BLOB);
CREATE INDEX session_deltas_session ON session_deltas(session_id);
CREATE INDEX session_deltas_timestamp ON session_deltas(timestamp);
CREATE INDEX session_deltas_created_at ON session_deltas(created_at);
CREATE INDEX session_deltas_with_id ON session_deltas(id) WHERE delta_id IS NOT NULL;
CREATE INDEX session_deltas_lineage ON session_deltas(id) WHERE lineage IS NOT NULL;
CREATE TABLE session_states(
  session_id  TEXT PRIMARY KEY,
  seq         INTEGER NOT NULL,
  recorded_at TEXT NOT NULL,
  count       INTEGER NOT NULL,
  deleted     INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX session_states_seq ON session_states(seq);
CREATE TABLE session_bases(
  session_id   TEXT PRIMARY KEY,
  seq          INTEGER NOT NULL,
  recorded_at  TEXT NOT NULL,
  state        TEXT,
  state_digest BLOB);
CREATE TABLE pruned_ids(
  delta_id  TEXT PRIMARY KEY,
  seq       INTEGER NOT NULL,
  id_digest BLOB NOT NULL);
CREATE INDEX pruned_ids_seq ON pruned_ids(seq);
CREATE TABLE epochs(
  epoch      TEXT PRIMARY KEY,
  first_seq  INTEGER NOT NULL,
  started_at TEXT NOT NULL,
  cause      TEXT NOT NULL);
CREATE TABLE prunes(
  id         INTEGER PRIMARY KEY,
  first_seq  INTEGER NOT NULL,
  last_seq   INTEGER NOT NULL,
  count      INTEGER NOT NULL,
  first_hash BLOB,
  last_hash  BLOB,
  last_recorded_at TEXT NOT NULL,
  policy     TEXT NOT NULL,
  pruned_at  TEXT NOT NULL,
  bases_digest BLOB,
  key_id     TEXT,
  signature  BLOB);
CREATE TABLE erasures(
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
  signature BLOB NOT NULL);
CREATE TABLE job_runs(
  id          INTEGER PRIMARY KEY,
  name        TEXT NOT NULL,
  started_at  TEXT NOT NULL,
  duration_ms INTEGER NOT NULL,
  outcome     TEXT NOT NULL,
  counts      TEXT NOT NULL,
  error       TEXT);
CREATE TABLE meta(
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE counters(
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL);
INSERT INTO counters VALUES ('sessions', 0);
CREATE TRIGGER session_states_in AFTER INSERT ON session_states
BEGIN UPDATE counters SET value = value + 1 WHERE name = 'sessions'; END;
CREATE TRIGGER session_states_out AFTER DELETE ON session_states
BEGIN UPDATE counters SET value = value - 1 WHERE name = 'sessions'; END;
"""

OLD_SCHEMAS = {1: SCHEMA_1, 2: SCHEMA_2}
"""By version. Frozen: files of these are out there."""


def make_old_file(path: Path, version: int, source: Path | None = None) -> None:
    """A file as a recorder of a former version left it.

    Args:
        path: Where; there is no such file yet.
        version: Of which schema.
        source: A file of today's that has the content it shall have; empty by default.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA auto_vacuum = INCREMENTAL")
        conn.executescript(OLD_SCHEMAS[version])
        if source is not None:
            conn.execute("ATTACH ? AS source", (str(source),))
            tables = conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                _fill(conn, table)
            conn.execute("DETACH source")
        conn.execute(f"PRAGMA user_version = {version}")
        conn.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    path.chmod(0o600)


def _fill(conn: sqlite3.Connection, table: str) -> None:
    columns = ",".join(name for (name,) in conn.execute("SELECT name FROM pragma_table_info(?)", (table,)))
    conn.execute(f"DELETE FROM main.{table}")
    conn.execute(f"INSERT INTO main.{table}({columns}) SELECT {columns} FROM source.{table}")
