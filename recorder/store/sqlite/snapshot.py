"""Snapshots: bringing the file on disk up to the database in memory, by what is new.

Rows since the last snapshot are appended, pruned ones pruned, small tables copied; each step in a transaction that
leaves the file whole, so a crash at any instant leaves a consistent prefix. Rows travel as one JSON text per slice,
built by SQLite in the memory database's thread and read in the file's: neither holds the event loop or the writer for
more than a slice.

One snapshot at a time; who asks while one runs waits for its turn, and finds little left to do.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from recorder.store.sqlite.database import Database
from recorder.store.sqlite.files import FILE_MODE, sync
from recorder.store.sqlite.history import pruned_through
from recorder.store.sqlite.retention import Receipt, prune_slice
from recorder.store.sqlite.rows import Transaction, append_rows, get_meta, set_meta
from recorder.store.sqlite.schema import COLUMNS

TRANSACTION_ROWS = 20_000
"""Rows of one transaction on the file: what a crash in the middle of a long snapshot has to do again, at most."""
SLICE_ROWS = 500
SLICE_BYTES = 1 << 20
JOB_RUNS_KEPT = 1000
COMPACT_SHARE = 0.05
"""The share of free pages from which on the file is rewritten; fewer are used again by what comes."""

_BLOBS = tuple(index for index, name in enumerate(COLUMNS) if name in ("id_digest", "hash"))
_EXPORT = (
    "SELECT json_group_array(json_array("
    + ",".join(f"hex({name})" if index in _BLOBS else name for index, name in enumerate(COLUMNS))
    + ")) FROM (SELECT * FROM session_deltas WHERE id > ? AND id <= ? ORDER BY id LIMIT ?)"
)
_SMALL_TABLES = ("epochs", "prunes", "job_runs")


@dataclass(frozen=True, slots=True)
class SnapshotResult:
    """What a snapshot did.

    Args:
        rows: Entries it brought to disk.
        head: The highest seq on disk now.
        size: Bytes of the file.
    """

    rows: int
    head: int
    size: int


class Snapshotter:
    """Keeps one file up to one database in memory.

    Args:
        memory: The database in memory; only read.
        file: The file's database; used by nobody else.
        path: Where the file is.
        durable: The highest seq it has.
        keep_ids: As in `prune_slice`.
        average_bytes: Tells what a row takes, roughly.
    """

    def __init__(
        self,
        memory: Database,
        file: Database,
        path: Path,
        durable: int,
        *,
        keep_ids: int,
        average_bytes: Callable[[], float],
    ) -> None:
        self._memory = memory
        self._file = file
        self._path = path
        self._keep_ids = keep_ids
        self._average_bytes = average_bytes
        self._turn = asyncio.Lock()  # one snapshot at a time
        self.durable = durable  # the highest seq on disk, fsynced

    async def run(
        self, target: int, facts: dict[str, str], on_durable: Callable[[], None] = lambda: None
    ) -> SnapshotResult:
        """Bring the file up to what is recorded.

        Args:
            target: The highest seq to copy; everything up to it is recorded.
            facts: Written beside the data in the same last transaction (`meta`).
            on_durable: Called after each transaction that moved `durable`.

        Raises:
            sqlite3.Error, OSError: The disk said no; the file is as after the last transaction.
        """
        async with self._turn:
            before = self.durable
            while self.durable < target:
                await self._append(min(target, self.durable + TRANSACTION_ROWS))
                on_durable()
            await self._prune()
            await self._copy_small_tables(facts)
            return SnapshotResult(self.durable - before, self.durable, self._path.stat().st_size)

    async def compact(self) -> bool:
        """Rewrite the file without its free pages, when there are enough of them; whether it was done.

        The new file is made beside the old one, synced, and takes its place by rename: a crash at any instant leaves
        one of them, whole. It costs what remains, in the file's own thread. (Freeing pages in place,
        `incremental_vacuum`, took ten times as long: it moves every page by itself.)

        Raises:
            sqlite3.Error, OSError: The disk said no; the file is as it was.
        """
        async with self._turn:
            free, pages = await self._file.run(_free_pages)
            if free < pages * COMPACT_SHARE:
                return False
            new = self._path.with_name(f"{self._path.name}.new-{os.getpid()}")
            try:
                await self._file.run(lambda conn: _write_compact(conn, new))
                await self._file.reopen(lambda: _publish(new, self._path))
            finally:
                new.unlink(missing_ok=True)
            return True

    async def _append(self, target: int) -> None:
        """Copy rows up to `target` in one transaction."""
        await self._file.run(_begin)
        try:
            cursor = self.durable
            while cursor < target:
                limit = max(1, min(SLICE_ROWS, int(SLICE_BYTES / self._average_bytes())))
                after = cursor
                text = await self._memory.run(lambda conn: _export(conn, after, target, limit))  # noqa: B023
                cursor = await self._file.run(lambda conn: _import(conn, text))  # noqa: B023
            await self._file.run(_commit)
        except BaseException:
            # The commit may have been carried out all the same (a cancelled call goes on in its thread): ask.
            self.durable = await self._file.run(_rollback)
            raise
        self.durable = target

    async def _prune(self) -> None:
        receipts = await self._memory.run(_receipts)
        have = await self._file.run(pruned_through)
        for receipt, through in receipts:
            while have < through:
                removed, last = await self._file.run(
                    lambda conn: prune_slice(conn, through, receipt, self._keep_ids)  # noqa: B023
                )
                have = max(have, last) if removed else through

    async def _copy_small_tables(self, facts: dict[str, str]) -> None:
        rows = await self._memory.run(_read_small_tables)
        await self._file.run(lambda conn: _write_small_tables(conn, rows, facts))


def _export(conn: sqlite3.Connection, after: int, target: int, limit: int) -> str:
    return str(conn.execute(_EXPORT, (after, target, limit)).fetchone()[0])


def _import(conn: sqlite3.Connection, text: str) -> int:
    rows = orjson.loads(text)
    values: list[Any] = []
    for row in rows:
        for index in _BLOBS:
            row[index] = bytes.fromhex(row[index]) if row[index] else None
        values += row
    append_rows(conn, values, rows[0][0], rows[-1][0])
    return int(rows[-1][0])


def _free_pages(conn: sqlite3.Connection) -> tuple[int, int]:
    """Free pages, and all pages."""
    free, pages = (conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count"))
    return int(free), int(pages)


def _write_compact(conn: sqlite3.Connection, new: Path) -> None:
    # Made first, so that it has our mode from its beginning; VACUUM INTO takes an empty file.
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE))
    conn.execute("VACUUM INTO ?", (str(new),))
    sync(new)


def _publish(new: Path, path: Path) -> None:
    new.replace(path)
    sync(path.parent)


def _begin(conn: sqlite3.Connection) -> None:
    conn.execute("BEGIN IMMEDIATE")


def _commit(conn: sqlite3.Connection) -> None:
    conn.execute("COMMIT")


def _rollback(conn: sqlite3.Connection) -> int:
    """End a transaction that failed; the highest seq that the file has had."""
    if conn.in_transaction:
        conn.execute("ROLLBACK")
    row = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'session_deltas'").fetchone()
    return int(row[0]) if row else 0


def _receipts(conn: sqlite3.Connection) -> list[tuple[Receipt, int]]:
    rows = conn.execute("SELECT id, policy, pruned_at, last_seq FROM prunes ORDER BY id").fetchall()
    return [(Receipt(number, policy, pruned_at), last) for number, policy, pruned_at, last in rows]


def _read_small_tables(conn: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    tables = {name: conn.execute(f"SELECT * FROM {name}").fetchall() for name in _SMALL_TABLES}
    tables["meta"] = list(get_meta(conn).items())
    return tables


def _write_small_tables(
    conn: sqlite3.Connection, tables: dict[str, list[tuple[Any, ...]]], facts: dict[str, str]
) -> None:
    with Transaction(conn):
        for name in _SMALL_TABLES:
            for row in tables[name]:
                marks = ",".join("?" * len(row))
                conn.execute(f"INSERT OR REPLACE INTO {name} VALUES ({marks})", row)
        conn.execute("DELETE FROM job_runs WHERE id <= (SELECT max(id) FROM job_runs) - ?", (JOB_RUNS_KEPT,))
        set_meta(conn, **({str(key): str(value) for key, value in tables["meta"]} | facts))
