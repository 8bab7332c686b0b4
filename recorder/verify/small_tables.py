"""Check the small tables of a database file: rows that no recorder writes, and values that contradict each other.

Most of what stands there is covered by signatures, which are checked elsewhere. What is not covered (the log of jobs,
the marks in `meta`) can be edited to another value that a recorder might have written; only what none writes is found.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from hashlib import sha256

from recorder.core.timestamps import is_fixed
from recorder.store.sqlite.receipts import text_of
from recorder.store.sqlite.schema import META_KEYS
from recorder.verify.report import Report

_FORMS = {
    "clean": "[01]",
    "unsigned": "[01]",
    "copied": "1",
    "erasing": "1",
    "durability": "snapshot|commit",
    "turn": "[0-9]+",
    "segment": "[0-9]+",
    "tenure": "[0-9a-f]{32}",
    "prior_tenure": "([0-9a-f]{32})?",
    "last_loss": r"\{.*\}",
}
"""What the values of these keys of `meta` look like."""
_TIMES = ("last_snapshot_at", "last_prune_at", "clock_doubt")
"""The keys of `meta` that hold a time, or nothing."""


def check_small_tables(conn: sqlite3.Connection, report: Report) -> None:
    """Check `meta`, `counters`, `sqlite_sequence`, `job_runs` and the digests of the kept states.

    Args:
        conn: The database; texts are read as bytes.
        report: Where what does not fit is written down.
    """
    for check in (_meta, _counters, _sequence, _job_runs):
        for text in check(conn):
            report.broken("structure", text)
    for text in _kept_states(conn):
        report.broken("base", text)


def _meta(conn: sqlite3.Connection) -> Iterator[str]:
    for raw_key, raw_value in conn.execute("SELECT key, value FROM meta"):
        key, value = text_of(raw_key), text_of(raw_value)
        if key not in META_KEYS:
            yield f"the table meta has the key {key[:80]!r}, which no recorder writes"
        elif not _has_form(key, value):
            yield f"the table meta says {key} = {value[:80]!r}, which no recorder writes"


def _has_form(key: str, value: str) -> bool:
    if key in _TIMES:
        return value == "" or is_fixed(value)
    return key not in _FORMS or re.fullmatch(_FORMS[key], value, re.DOTALL) is not None


def _counters(conn: sqlite3.Connection) -> Iterator[str]:
    for (name,) in conn.execute("SELECT name FROM counters WHERE name <> 'sessions'"):
        yield f"the table counters has the row {text_of(name)[:80]!r}, which no recorder writes"


def _sequence(conn: sqlite3.Connection) -> Iterator[str]:
    rows = conn.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
    last = conn.execute("SELECT max(id) FROM session_deltas").fetchone()[0] or 0
    pruned = conn.execute("SELECT max(last_seq) FROM prunes").fetchone()[0] or 0
    given = 0
    for name, seq in rows:
        if text_of(name) != "session_deltas" or not isinstance(seq, int):
            yield f"the table sqlite_sequence has the row {text_of(name)[:80]!r}, which no recorder writes"
        else:
            given = max(given, seq)
    if given < max(last, pruned):
        yield f"the table sqlite_sequence says that {given:,} numbers were given, and there are {max(last, pruned):,}"
    if len(rows) > 1:
        yield "the table sqlite_sequence has more than one row"


def _job_runs(conn: sqlite3.Connection) -> Iterator[str]:
    for number, at, duration, outcome in conn.execute(
        "SELECT id, started_at, duration_ms, outcome FROM job_runs ORDER BY id"
    ):
        is_known = text_of(outcome) in ("ok", "failed") and isinstance(duration, int) and duration >= 0
        if not is_known or not is_fixed(text_of(at)):
            yield f"run {number} in the table job_runs has a value that no recorder writes"
            return


def _kept_states(conn: sqlite3.Connection) -> Iterator[str]:
    columns = {
        text_of(name) for (name,) in conn.execute("SELECT name FROM pragma_table_info('session_bases')")
    }
    if "state_digest" not in columns:
        return
    for session, state, digest in conn.execute(
        "SELECT session_id, CAST(state AS BLOB), state_digest FROM session_bases"
        " WHERE state IS NOT NULL AND state_digest IS NOT NULL"
    ):
        if sha256(state).digest() != digest:
            name = text_of(session)[:80]
            yield f"the state kept of session {name!r}, whose entries were pruned, does not match its digest"
            return
