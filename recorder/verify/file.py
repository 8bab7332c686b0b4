"""Verifying a database file: its structure, its entries, and what it says about them.

The file may be in use. What is small is read in one transaction, the entries in parts, so the recorder that owns the
file can write its snapshots meanwhile; where it did, and something looks wrong, everything is looked at again, the last
time with the file held still. The commit log beside a file is part of the recording: its entries follow the file's.
"""

from __future__ import annotations

import glob
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorder.core.errors import NotFound, StoreUnreadable
from recorder.core.statements import Adoption, ErasureReceipt, Head, PruneReceipt, Seal, Signed, erased_digest
from recorder.store.sqlite import migrations, schema
from recorder.store.sqlite.commit_log import SegmentReader, segment_files
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.receipts import (
    digest_of_bases,
    read_adoptions,
    read_all,
    read_heads,
    read_seal,
    seal_of,
    text_of,
)
from recorder.store.sqlite.span import WIDTH
from recorder.verify.chain import Stored, Tally, check
from recorder.verify.diagnosis import Placed
from recorder.verify.judge import Claims, judge, starting_point
from recorder.verify.report import Level, Report, Verdict
from recorder.verify.rows import (
    FileEntries,
    check_file,
    has_table,
    is_damage,
    mistyped_beside,
    opened,
    placed,
)
from recorder.verify.small_tables import check_small_tables
from recorder.verify.statements import Epoch, Evidence, check_adoptions, check_seal, holds

ATTEMPTS = 3
"""How often a file that changes meanwhile is looked at; the last time it is held still."""

Progress = Callable[[int, int], None]
"""Gets how many more entries have been looked at, and how many there are in all."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """The metadata of a file, all as of one moment."""

    first: int | None
    last: int | None
    given: int
    receipts: list[Signed[PruneReceipt]]
    heads: list[Signed[Head]]
    erasures: list[Signed[ErasureReceipt]]
    erased: dict[int, bytes | None]
    epochs: list[Epoch]
    meta: dict[str, str]
    bases: bytes
    seal: Signed[Seal] | None
    sealed: Seal | None
    adoptions: list[Signed[Adoption]]


def verify_file(
    path: Path,
    trusted: frozenset[str],
    expected: Sequence[Signed[Head]] | None = None,
    on_progress: Progress = lambda done, total: None,
) -> Report:
    """Verify a database file, whether a recorder runs on it or not.

    Args:
        path: The file.
        trusted: Ids of the keys that are believed.
        expected: Signed heads that were kept elsewhere.
        on_progress: Told how far it is.

    Raises:
        NotFound: There is no such file.
        StoreUnreadable: It cannot be read, or is not a recorder's database.
        sqlite3.Error, OSError: The same.
    """
    if not path.is_file():
        raise NotFound(f"{path}: no such file")
    try:
        return _verify_as_it_is(path, trusted, expected, on_progress)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
    return _verify_undone(path, trusted, expected, on_progress)


def _verify_undone(
    path: Path, trusted: frozenset[str], expected: Sequence[Signed[Head]] | None, on_progress: Progress
) -> Report:
    """Verify a file with an unfinished snapshot, with that snapshot rolled back.

    SQLite undoes it for whoever opens the file next to write. Here that happens in a copy: verifying changes nothing.
    """
    with tempfile.TemporaryDirectory(prefix="recorder-doctor-") as folder:
        for part in path.parent.glob(f"{glob.escape(path.name)}*"):
            if part.is_file():
                shutil.copyfile(part, Path(folder) / part.name)
        copy = Path(folder) / path.name
        copy.chmod(stat.S_IMODE(path.stat().st_mode))
        with closing(connect_sqlite(str(copy))) as conn:
            conn.execute("SELECT count(*) FROM sqlite_master").fetchone()
        report = _verify_as_it_is(copy, trusted, expected, on_progress)
    report.subject = str(path)
    report.note(
        "structure",
        "a crash interrupted a snapshot: this is the file with it rolled back, as the next start does",
    )
    return report


def _verify_as_it_is(
    path: Path, trusted: frozenset[str], expected: Sequence[Signed[Head]] | None, on_progress: Progress
) -> Report:
    with opened(path) as conn:
        _check_is_ours(path, conn)
        for attempt in range(ATTEMPTS):
            if attempt == ATTEMPTS - 1:
                conn.execute("BEGIN")
            before = _data_version(conn)
            report = _verify(path, conn, trusted, expected, on_progress)
            if report.verdict is Verdict.INTACT or _data_version(conn) == before:
                break
    return report


def _check_is_ours(path: Path, conn: sqlite3.Connection) -> None:
    if conn.execute("PRAGMA application_id").fetchone()[0] != schema.APPLICATION_ID:
        raise StoreUnreadable(f"{path} is not a recorder's database")
    version = schema.version(conn)
    if version > schema.USER_VERSION:
        raise StoreUnreadable(
            f"{path} has schema {version}, this version knows {schema.USER_VERSION}",
            hint="use a newer recorder",
        )


def _data_version(conn: sqlite3.Connection) -> int:
    return int(conn.execute("PRAGMA data_version").fetchone()[0])


def _verify(
    path: Path,
    conn: sqlite3.Connection,
    trusted: frozenset[str],
    expected: Sequence[Signed[Head]] | None,
    on_progress: Progress,
) -> Report:
    report = Report(str(path))
    try:
        mistyped = mistyped_beside(conn)
        if mistyped is not None:
            # What is reckoned with it would mean nothing.
            report.broken("structure", f"{mistyped} holds a value of a type that no recorder writes there")
            _check_modes(report, path)
            return report
        facts = _read_facts(conn)
        with ThreadPoolExecutor(2, thread_name_prefix="doctor") as threads:
            structure = threads.submit(_on_own_connection, path, _structure)
            cache = threads.submit(_on_own_connection, path, _cache)
            _verify_entries(
                report,
                path,
                conn,
                facts,
                Claims(
                    facts.heads,
                    expected,
                    facts.erasures,
                    facts.erased,
                    facts.given,
                    facts.meta.get("clean") == "1",
                ),
                trusted,
                on_progress,
            )
            report.findings += structure.result().findings + cache.result().findings
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        report.broken("structure", f"the database is damaged: {error}")
    _check_modes(report, path)
    return report


def _verify_entries(
    report: Report,
    path: Path,
    conn: sqlite3.Connection,
    facts: _Facts,
    claimed: Claims,
    trusted: frozenset[str],
    on_progress: Progress,
) -> None:
    last_receipt = facts.receipts[-1] if facts.receipts else None
    pruned = last_receipt.payload.last_seq if last_receipt else 0
    believed = last_receipt is None or last_receipt.by is None or holds(last_receipt)
    last_hash = last_receipt.payload.last_hash if last_receipt else None
    first = pruned + 1 if facts.first is None else facts.first
    start = starting_point(first, pruned, last_hash, known=believed)
    tally = Tally(*start)
    if facts.last is not None:
        total = facts.last - first + 1
        tally = check_file(path, first, facts.last, start, lambda done: on_progress(done, total))
    beyond = _check_commit_log(report, path, tally)
    entries = FileEntries(conn, beyond)
    if facts.first is None:
        first = min(beyond, default=first)
    last = max(beyond, default=first - 1 if facts.last is None else facts.last)
    evidence = Evidence(first, last, entries.hash_at, facts.receipts, facts.epochs, trusted)
    judge(report, tally, entries, evidence, claimed)
    _check_bases(report, conn, last_receipt, facts.bases)
    if facts.heads or facts.seal is not None:
        check_seal(report, facts.seal, facts.sealed, trusted)
    check_adoptions(report, evidence, facts.adoptions)
    _check_current_epoch(report, facts)


def _check_current_epoch(report: Report, facts: _Facts) -> None:
    named = facts.meta.get("epoch")
    last = max((epoch.name for epoch in facts.epochs), default=None)
    if named is not None and named != last and not report.of(Level.BROKEN):
        report.broken("epoch", f"it is in epoch {named}, and the table of epochs ends with {last}")


def _check_bases(
    report: Report, conn: sqlite3.Connection, last_receipt: Signed[PruneReceipt] | None, found: bytes
) -> None:
    """Check that the states kept of pruned entries match the digest in the last receipt."""
    if last_receipt is not None and holds(last_receipt) and last_receipt.payload.bases_digest is None:
        report.note("base", "a prune was under way: the states and ids it kept are not sealed yet")
    elif last_receipt is not None and holds(last_receipt) and last_receipt.payload.bases_digest != found:
        report.broken(
            "base", "the states or ids kept of what was pruned are not those that the last receipt sealed"
        )
    elif last_receipt is None and _count(conn, "session_bases"):
        report.broken("base", "states are kept for what was pruned, though no receipt says that anything was")


def _read_facts(conn: sqlite3.Connection) -> _Facts:
    nested = conn.in_transaction
    if not nested:
        conn.execute("BEGIN")
    try:
        span = conn.execute("SELECT min(id), max(id) FROM session_deltas").fetchone()
        given = conn.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'session_deltas'").fetchone()
        found = read_all(conn)
        pruned = found.prunes[-1].payload.last_seq if found.prunes else 0
        return _Facts(
            span[0],
            span[1],
            given[0] or 0,
            found.prunes,
            read_heads(conn),
            found.erasures,
            _erased(conn, pruned),
            [Epoch(name, first) for name, first in found.epochs],
            {text_of(key): text_of(value) for key, value in conn.execute("SELECT key, value FROM meta")},
            digest_of_bases(conn),
            read_seal(conn),
            seal_of(conn) if schema.version(conn) > 1 else None,
            read_adoptions(conn),
        )
    finally:
        # SQLite has rolled back by itself where it found no memory.
        if not nested and conn.in_transaction:
            conn.execute("COMMIT")


def _erased(conn: sqlite3.Connection, pruned: int) -> dict[int, bytes | None]:
    """Return the erasures in the form that `statements.check_erasures` takes."""
    if not has_table(conn, "erasures"):
        return {}
    found: dict[int, list[Any]] = {number: [] for (number,) in conn.execute("SELECT id FROM erasures")}
    for number, *state in conn.execute(
        "SELECT erasure, seq, before_digest, after_digest FROM erased_states ORDER BY seq"
    ):
        found.setdefault(number, []).append(tuple(state))
    partly = {number for (number,) in conn.execute("SELECT id FROM erasures WHERE first_seq <= ?", (pruned,))}
    return {number: None if number in partly else erased_digest(rows) for number, rows in found.items()}


def _check_commit_log(report: Report, path: Path, tally: Tally) -> dict[int, Placed]:
    """Check what stands in the commit log beyond the file; the entries that do."""
    beyond: dict[int, Placed] = {}
    for segment in segment_files(path):
        reader = SegmentReader(segment.path)
        for values in reader:
            rows = [_stored(values[at : at + WIDTH]) for at in range(0, len(values), WIDTH)]
            new = [row for row in rows if row[0] > tally.seq]
            check(tally, new, {}, frozenset())
            beyond |= {row[0]: placed(row, {}) for row in new}
        if reader.damage is not None:
            report.broken("structure", f"the commit log is damaged: {reader.damage}", tally.seq + 1)
        elif reader.torn:
            report.note("structure", f"{segment.path.name} ends in {reader.torn} bytes that were never acked")
    if beyond:
        report.note(
            "chain", f"the last {len(beyond):,} entries are in the commit log, and not yet in the file"
        )
    return beyond


def _stored(values: Sequence[Any]) -> Stored:
    return tuple(value.encode() if isinstance(value, str) else value for value in values)


def _on_own_connection(path: Path, work: Callable[[sqlite3.Connection, Report], None]) -> Report:
    """Return the findings of a check of the whole file, run on a connection of its own beside the check of
    entries.
    """
    report = Report(str(path))
    with opened(path) as conn:
        conn.execute("BEGIN")
        try:
            work(conn, report)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            report.broken("structure", f"the database is damaged: {error}")
    return report


def _structure(conn: sqlite3.Connection, report: Report) -> None:
    for (line,) in conn.execute("PRAGMA integrity_check(10)"):
        if line != b"ok":
            report.broken("structure", f"SQLite says: {' '.join(text_of(line).split())}")
    version = schema.version(conn)
    if version < schema.OLDEST_VERSION:
        report.broken("structure", f"it has schema {version}, which no recorder has written")
        return
    if version < schema.USER_VERSION:
        report.note("structure", f"it has schema {version}, of an older recorder")
    with closing(_new(version)) as new:
        ours, theirs = _objects(new), _objects(conn)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            report.broken("structure", f"the schema is not a recorder's: {name}")


def _new(version: int) -> sqlite3.Connection:
    """Return an empty database with the schema of a version."""
    conn = connect_sqlite(":memory:")
    schema.create(conn)
    migrations.take_steps(conn, version)
    return conn


_SQLITES_OWN = {"sqlite_sequence", "sqlite_stat1", "sqlite_stat4"}
"""Tables that SQLite itself makes. Its indexes of constraints have no text."""


def _objects(conn: sqlite3.Connection) -> dict[str, str]:
    """Return the text of everything that the schema has, but for what SQLite makes by itself."""
    found = {}
    for kind, name, sql in conn.execute("SELECT type, name, sql FROM sqlite_master"):
        is_sqlites = text_of(name) in _SQLITES_OWN if text_of(kind) == "table" else sql is None
        if not is_sqlites:
            found[f"{text_of(kind)} {text_of(name)}"] = text_of(sql)
    return found


# By the index alone but for each session's last entry: a million entries are not looked up one by one.
_WRONG_STATES = (
    """
    SELECT made.session_id FROM (
      SELECT session_id, max(id) AS seq, count(*) AS count FROM session_deltas GROUP BY session_id) AS made
    JOIN session_deltas d ON d.id = made.seq LEFT JOIN session_states s ON s.session_id = made.session_id
    WHERE s.seq IS NOT made.seq OR s.count IS NOT made.count OR s.recorded_at IS NOT d.created_at
      OR s.deleted IS NOT (d.delta_type = 'deleted') LIMIT 1
    """,
    """
    SELECT s.session_id FROM session_states s LEFT JOIN session_bases b ON b.session_id = s.session_id
    WHERE (s.seq IS NOT b.seq OR s.recorded_at IS NOT b.recorded_at OR s.count IS NOT 0 OR s.deleted IS NOT 0)
      AND NOT EXISTS (SELECT 1 FROM session_deltas d WHERE d.session_id = s.session_id) LIMIT 1
    """,
    """
    SELECT session_id FROM session_bases WHERE session_id NOT IN (SELECT session_id FROM session_states) LIMIT 1
    """,
)


def _cache(conn: sqlite3.Connection, report: Report) -> None:
    """Check the small tables, and that the cached states match those that the log and the kept states produce."""
    check_small_tables(conn, report)
    for sql in _WRONG_STATES:
        row = conn.execute(sql).fetchone()
        if row is not None:
            report.broken(
                "cache",
                f"the current state of session {text_of(row[0])[:80]!r} does not match the log"
                " (the table session_states can be rebuilt from the log)",
            )
            return
    counted = _count(conn, "session_states")
    told = conn.execute("SELECT value FROM counters WHERE name = 'sessions'").fetchone()
    if told is None or counted != told[0]:
        says = "is gone" if told is None else f"says {told[0]!r}"
        report.broken("cache", f"there are {counted:,} sessions, and the counter {says}")
    if not has_table(conn, "erased_states"):
        return
    _erased_bases(conn, report)
    back = conn.execute(
        "SELECT min(seq) FROM erased_states JOIN session_deltas ON id = seq"
        " WHERE before_digest IS NOT NULL AND before_state IS NOT NULL"
        " OR after_digest IS NOT NULL AND after_state IS NOT NULL"
    ).fetchone()[0]
    if back is not None:
        report.broken("erasure", f"the content of entry {back} is there, though it was erased", back)
    stray = conn.execute(
        "SELECT min(seq) FROM erased_states JOIN session_deltas d ON d.id = seq JOIN erasures r ON r.id = erasure"
        " WHERE d.session_id IS NOT r.session_id OR seq NOT BETWEEN r.first_seq AND r.last_seq"
    ).fetchone()[0]
    if stray is not None:
        text = f"the content of entry {stray} is gone, and the receipt that is named does not speak of it"
        report.broken("erasure", text, stray)


def _erased_bases(conn: sqlite3.Connection, report: Report) -> None:
    """Check that a state kept for what was pruned is gone exactly where a receipt says that it was erased."""
    receipt = "EXISTS (SELECT 1 FROM erasures e WHERE e.session_id = b.session_id AND e.head_seq >= b.seq)"
    for condition, text in (
        (f"state IS NULL AND NOT {receipt}", "is gone, and no receipt says that it was erased"),
        (f"state IS NOT NULL AND {receipt}", "is there, though it was erased"),
    ):
        row = conn.execute(f"SELECT session_id FROM session_bases b WHERE {condition} LIMIT 1").fetchone()
        if row is not None:
            name = text_of(row[0])[:80]
            report.broken("base", f"the state kept of session {name!r}, whose entries were pruned, {text}")


def _check_modes(report: Report, path: Path) -> None:
    for place, mode in ((path, 0o600), (path.parent, 0o700)):
        has = stat.S_IMODE(place.stat().st_mode)
        if has & ~mode:
            report.note("structure", f"{place} has mode {has:04o}: other users can access it")


def _count(conn: sqlite3.Connection, table: str) -> int:
    return int(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
