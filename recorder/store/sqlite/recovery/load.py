"""Loading of the file into memory at start: page by page, with progress; and the epoch that it continues in.

The file is copied by SQLite's backup, so a million entries take seconds. Whether the epoch goes on is said by
`identity.reason_for_new_epoch`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from recorder.core.chain import GENESIS
from recorder.core.errors import Closed
from recorder.core.position import new_epoch
from recorder.core.timestamps import format_ms
from recorder.store.contract import Loaded
from recorder.store.sqlite import span
from recorder.store.sqlite.connection import Database
from recorder.store.sqlite.rows import Transaction, get_meta, set_meta

LOAD_PAGES = 8192


async def copy_to_memory(file: Database, memory: Database, on_progress: Callable[[int, int], None]) -> None:
    """Copy the file's pages into the database in memory. Who is cancelled ends the copying.

    Args:
        file: From here.
        memory: To here; empty, and used by nobody else meanwhile.
        on_progress: Gets pages left and pages in all, on the file's thread.
    """
    stopped = False
    target = await memory.run(lambda conn: conn)

    def progress(_status: int, left: int, total: int) -> None:
        if stopped:
            raise Closed("stopped while loading")
        on_progress(left, total)

    try:
        await file.run(lambda source: copy_pages(source, target, progress))
    finally:
        stopped = True


def copy_pages(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    progress: Callable[[int, int, int], None] = lambda status, left, total: None,
) -> None:
    """Copy a database page by page; nobody may use the copy meanwhile."""
    # Where another program holds the file `backup` would wait for ever; this waits its time and raises.
    source.execute("BEGIN")
    try:
        source.execute("SELECT count(*) FROM sqlite_master")
        source.backup(target, pages=LOAD_PAGES, progress=progress)
    finally:
        source.execute("COMMIT")


def facts(conn: sqlite3.Connection, now_ms: int, reason: str | None) -> Loaded:
    """Return where the recording in a database ends, and the epoch that begins or goes on now.

    Args:
        conn: The database.
        now_ms: The time, for the name of a new epoch.
        reason: Why a new epoch begins; None where the old one goes on.
    """
    meta = get_meta(conn)
    pruned = span.pruned_through(conn)
    last, last_hash, last_recorded_at = span.end(conn)
    head = max(last, span.given(conn))
    previous = meta.get("epoch")
    epoch = previous if reason is None and previous is not None else new_epoch(now_ms, previous)
    count = head - pruned if head > pruned else 0
    return Loaded(epoch, head, pruned, count, last_hash or GENESIS, last_recorded_at, meta)


@dataclass(frozen=True, slots=True)
class Begin:
    """The epoch and position in which a recording continues.

    Args:
        loaded: Where.
        now_ms: When.
        durability: The mode it goes on in.
        reason: Why a new epoch begins; None where the old one goes on.
        segment: The number of the commit log's segment that is written next; None where there is no commit log.
    """

    loaded: Loaded
    now_ms: int
    durability: str
    reason: str | None
    segment: int | None = None


def begin(conn: sqlite3.Connection, how: Begin) -> None:
    """Register that a recording is in progress, and how.

    Args:
        conn: The database, in memory or the file.
        how: How it goes on.
    """
    loaded, now = how.loaded, format_ms(how.now_ms)
    facts = {"epoch": loaded.epoch, "clean": "0", "durability": how.durability}
    if how.segment is not None:
        facts["segment"] = str(how.segment)
    with Transaction(conn):
        conn.execute(
            "INSERT OR IGNORE INTO epochs VALUES (?, ?, ?, ?)",
            (loaded.epoch, loaded.head + 1, now, how.reason or "unknown"),
        )
        set_meta(conn, **facts)
