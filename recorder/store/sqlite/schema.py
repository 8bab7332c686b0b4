"""The database's tables: the same in memory and on disk. SPEC.md fixes the first; the others are ours.

`session_deltas` and `session_bases` are authoritative: the log, and what the living sessions' states were where
pruning cut it off. `session_states` is a cache of both. `prunes` and `erasures` are receipts: what was taken away, and
when; `erased_states` keeps the digests of the states that an erasure took, so that the chain still verifies (a base
keeps its own). `heads` are signed statements of where the log ended. `PRAGMA user_version` carries the schema's
version; `migrations.py` says how a file of one version becomes one of another.

Types have an index but for the usual one, `updated`: whoever looks for the others looks for few among many, and those
few pay for it.
"""

from __future__ import annotations

import sqlite3

USER_VERSION = 3
OLDEST_VERSION = 1
"""The first that there has been; files of it and of all that followed can be migrated."""
APPLICATION_ID = 0x52444C54  # "RDLT", so that file(1) and we can tell our files from others

_TABLES = """
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
CREATE INDEX session_deltas_type ON session_deltas(delta_type) WHERE delta_type <> 'updated';
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

SMALL_TABLES = (
    "epochs",
    "prunes",
    "erasures",
    "erased_states",
    "session_bases",
    "pruned_ids",
    "heads",
    "job_runs",
    "meta",
)
"""The authoritative tables beside the log: whoever makes a file anew takes over each of them, row by row."""
DERIVED_TABLES = ("session_states", "counters")
"""Those that are made from the others."""

META_KEYS = frozenset({
    "epoch", "clean", "durability", "segment", "last_snapshot_at", "last_loss", "last_prune_at", "clock_doubt",
    "erasing", "adoptions", "seal", "recording", "tenure", "prior_tenure", "turn", "copied", "unsigned",
})  # fmt: skip
"""The keys of `meta`; a recorder writes no others. A new one needs a new schema, or an older doctor reports it."""

COLUMNS = (
    "id",
    "session_id",
    "delta_type",
    "before_state",
    "after_state",
    "timestamp",
    "created_at",
    "delta_id",
    "id_digest",
    "before_filled",
    "lineage",
    "hash",
)
"""The columns of session_deltas, in the order in which rows are written."""


def create(conn: sqlite3.Connection) -> None:
    """Create the tables in an empty database, in one transaction."""
    # What a prune frees must come back at the cost of what was freed (`incremental_vacuum`), not of what remains; can
    # only be set before the first table.
    conn.execute("PRAGMA auto_vacuum = INCREMENTAL")
    conn.executescript(
        f"BEGIN IMMEDIATE; {_TABLES}"
        f"PRAGMA user_version = {USER_VERSION}; PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
    )


def version(conn: sqlite3.Connection) -> int:
    """Return the schema version of a database; 0 for an empty one."""
    return int(conn.execute("PRAGMA user_version").fetchone()[0])
