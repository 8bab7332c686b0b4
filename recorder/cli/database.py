"""A recorder's database file, read without a server.

Opened read-only and read in slices, each a statement of its own: between them the file is unlocked, so that
the recorder that owns it can write its snapshots meanwhile. Only what SPEC.md fixes is relied on; columns
that came later read as NULL where they are missing. Left out: writing, and anything that has to understand
the other tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from recorder.cli.http import PANEL
from recorder.cli.options import Filters
from recorder.core.errors import NotFound, StoreUnreadable
from recorder.wire.export import COLUMNS, ExportRow

SLICE_ROWS, SLICE_CHARS = 1000, 8_388_608
_ERASED = "".join(
    f",(SELECT {name} FROM erased_states WHERE seq = id AND before_state IS NULL AND after_state IS NULL)"
    for name in ("before_digest", "after_digest")
)
BUSY_SECONDS = 30.0

DbOption = Annotated[
    Path | None,
    typer.Option(
        "--db",
        metavar="FILE",
        help="Read this database file instead of a server.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file read-only.

    Raises:
        NotFound: There is no such file.
        StoreUnreadable: It is not a recorder's database, or it breaks off or is damaged where it is read.
    """
    # Not at the top: a command's help should not wait for the store's modules.
    from recorder.store.sqlite.connection import connect_sqlite

    if not path.is_file():
        raise NotFound(f"{path}: no such file")
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(connect_sqlite(uri, uri=True, timeout=BUSY_SECONDS)) as conn:
            if not _columns(conn):
                raise StoreUnreadable(f"{path}: not a recorder's database (it has no table session_deltas)")
            yield conn
    except sqlite3.DatabaseError as error:
        raise StoreUnreadable(f"{path}: {error}", hint=_hint(error)) from error


def _hint(error: sqlite3.DatabaseError) -> str | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_READONLY_ROLLBACK:
        return "its recorder died while writing; 'recorder serve' on this file repairs it"
    if code == sqlite3.SQLITE_BUSY:
        return "its recorder is writing a large snapshot; try again"
    return None


def _has_erased_states(conn: sqlite3.Connection) -> bool:
    return conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'erased_states'").fetchone() is not None


def _columns(conn: sqlite3.Connection) -> set[str]:
    return {name for (name,) in conn.execute("SELECT name FROM pragma_table_info('session_deltas')")}


def rows(
    conn: sqlite3.Connection, wanted: Filters, *, descending: bool = False, limit: int | None = None
) -> Iterator[ExportRow]:
    """Yield the matching entries, ordered by seq.

    Args:
        conn: The file.
        wanted: Which.
        descending: Newest first.
        limit: At most so many.
    """
    low, high = (wanted.after or 0), (wanted.before if wanted.before is not None else 2**63 - 1)
    present, erasable = _columns(conn), _has_erased_states(conn)
    selected = ",".join(column if column in present else f"NULL AS {column}" for column in COLUMNS)
    selected += _ERASED if erasable else ",NULL,NULL"
    where, values = _conditions(wanted, present)
    order = "DESC" if descending else "ASC"
    # The seq alone decides the order; unary plus keeps the planner on the primary key for everything else.
    sql = f"SELECT {selected} FROM session_deltas WHERE id > ? AND id < ?{where} ORDER BY id {order} LIMIT ?"
    left = limit if limit is not None else 2**63 - 1
    while left > 0:
        size = min(SLICE_ROWS, left)
        found = _slice(conn, sql, (low, high, *values, size))
        if not found:
            return
        yield from found
        left -= len(found)
        low, high = (low, found[-1].seq) if descending else (found[-1].seq, high)


def _slice(conn: sqlite3.Connection, sql: str, values: tuple[Any, ...]) -> list[ExportRow]:
    """Return the first rows of a query: as many as requested, or fewer if their states are large."""
    found: list[ExportRow] = []
    size = 0
    # Closing the cursor early ends the statement, and with it the lock on the file.
    with closing(conn.execute(sql, values)) as cursor:
        for row in map(ExportRow._make, cursor):
            found.append(row)
            size += len(row.before or "") + len(row.after or "")
            if size >= SLICE_CHARS:
                break
    return found


def until_now(conn: sqlite3.Connection, wanted: Filters) -> Filters:
    """Return the filters bounded by the file's current end, so that reading ends while the recorder goes on
    writing.
    """
    head = conn.execute("SELECT max(id) FROM session_deltas").fetchone()[0] or 0
    return replace(wanted, before=min(head + 1, wanted.before if wanted.before is not None else head + 1))


def count(conn: sqlite3.Connection, wanted: Filters) -> int:
    """Return the number of matching entries."""
    where, values = _conditions(wanted, _columns(conn))
    low, high = (wanted.after or 0), (wanted.before if wanted.before is not None else 2**63 - 1)
    sql = f"SELECT count(*) FROM session_deltas WHERE id > ? AND id < ?{where}"
    return int(conn.execute(sql, (low, high, *values)).fetchone()[0])


def _conditions(wanted: Filters, present: set[str]) -> tuple[str, list[Any]]:
    text = ""
    values: list[Any] = []
    if len(wanted.sessions) == 1:
        text += " AND session_id = ?"
    elif wanted.sessions:
        text += f" AND +session_id IN ({','.join('?' * len(wanted.sessions))})"
    values += wanted.sessions
    if wanted.types:
        text += f" AND delta_type IN ({','.join('?' * len(wanted.types))})"
        values += wanted.types
    bounds = (
        ("created_at", ">=", wanted.since),
        ("created_at", "<=", wanted.until),
        ("timestamp", ">=", wanted.happened_since),
        ("timestamp", "<=", wanted.happened_until),
    )
    for column, sign, bound in bounds:
        if bound is not None:
            text += f" AND +{column} {sign} ?"
            values.append(bound)
    if wanted.lineage is not None:
        # A file of the first schema has no such column: nothing in it is marked.
        text += " AND lineage = ?" if "lineage" in present else " AND ? IS NULL"
        values.append(wanted.lineage)
    return text, values


def statistics(conn: sqlite3.Connection, path: Path) -> dict[str, Any]:
    """Return the fields of `GET /api/stats` that a file alone can provide."""
    deltas, oldest = conn.execute("SELECT count(*), min(id) FROM session_deltas").fetchone()
    # The highest number ever given: what is pruned at the end does not free its number.
    head = conn.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'session_deltas'").fetchone()[0]
    sessions = conn.execute("SELECT count(DISTINCT session_id) FROM session_deltas").fetchone()[0]
    return {
        "dbPath": str(path.absolute()),
        "fileSize": path.stat().st_size,
        "deltaCount": deltas,
        "sessionCount": sessions,
        "oldest": oldest,
        "head": head or 0,
    }


def sessions(conn: sqlite3.Connection, limit: int) -> list[dict[str, Any]]:
    """Return the sessions of a file, the last changed first, as `GET /api/sessions` lists them.

    Args:
        conn: The file.
        limit: At most so many.
    """
    sql = (
        "SELECT session_id, id, created_at, n, delta_type = 'deleted' FROM session_deltas JOIN"
        " (SELECT max(id) AS last, count(*) AS n FROM session_deltas GROUP BY session_id) ON id = last"
        " ORDER BY id DESC LIMIT ?"
    )
    return [
        {"sessionId": name, "seq": seq, "recordedAt": at, "count": count, "deleted": bool(deleted)}
        for name, seq, at, count, deleted in conn.execute(sql, (limit,))
    ]
