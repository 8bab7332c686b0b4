"""Snapshots: bringing the file on disk up to the database in memory, by what is new.

Rows since the last snapshot are appended, pruned ones pruned, small tables copied; each step in a transaction that
leaves the file whole, so a crash at any instant leaves a consistent prefix. Rows travel as one JSON text per slice,
built by SQLite in the memory database's thread and read in the file's: neither holds the event loop or the writer for
more than a slice.

A file that somebody has removed is recreated from memory; one that somebody has put in its place is not ours, and is
never written to: snapshots fail until it is moved away, or ours is put back.

One snapshot at a time; who asks while one runs waits for its turn, and finds little left to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from loguru import logger

from recorder.store.contract import SnapshotResult
from recorder.store.sqlite import erasure, span
from recorder.store.sqlite.connection import Database
from recorder.store.sqlite.files import is_gone
from recorder.store.sqlite.identity import KEYS, FileIdentity
from recorder.store.sqlite.job_log import trim_runs
from recorder.store.sqlite.receipts import Sign, signed_receipts, take_signatures, unsigned_from
from recorder.store.sqlite.recovery.recreate import recreate, small_tables
from recorder.store.sqlite.retention import FILE_SLICE, prune_slice, receipts_after, vacuum_slice
from recorder.store.sqlite.rows import Transaction, get_meta, set_meta

Result = TypeVar("Result")

TRANSACTION_ROWS, TRANSACTION_BYTES = 20_000, 64 << 20
"""What one transaction on the file takes: a crash in a long snapshot loses no more than this much of its work."""
FIRST_ROWS, SLICE_ROWS = 64, 500
"""What is read from memory at once: recording waits for it."""


class Snapshotter:
    """Keeps one file up to one database in memory.

    Args:
        memory: The database in memory; only read, but for the signatures of its receipts.
        file: The file's database; used by nobody else.
        path: Where the file is.
        identity: Which file that is.
        keep_ids: As in `prune_slice`.
        sign: Signs receipts; None signs nothing.
        on_last: Called on the file's thread in the last transaction of a snapshot.
    """

    def __init__(
        self,
        memory: Database,
        file: Database,
        path: Path,
        identity: FileIdentity,
        *,
        keep_ids: int,
        sign: Sign | None = None,
        on_last: Callable[[], None] = lambda: None,
    ) -> None:
        self._memory = memory
        self._file = file
        self._path = path
        self._identity = identity
        self._keep_ids = keep_ids
        self._sign = sign  # signs what the file says
        self._on_last = on_last
        self._turn = asyncio.Lock()  # one snapshot at a time
        self.durable = 0  # the highest seq on disk, fsynced
        self.pruned = 0  # the highest seq removed from the file
        self.is_lost = False  # what the file had is not at its path any more, or not all of it again

    async def run(
        self, target: int, facts: dict[str, str], on_durable: Callable[[], None] = lambda: None
    ) -> SnapshotResult:
        """Write everything recorded to the file.

        Args:
            target: The highest seq to copy; everything up to it is recorded.
            facts: Written beside the data in the same last transaction (`meta`).
            on_durable: Called after each transaction that moved `durable`.

        Raises:
            sqlite3.Error, OSError: The disk said no; the file is as after the last transaction.
        """
        async with self._turn:
            if is_gone(self._path):
                await self._recreate()
            await self.refresh()
            try:
                return await self._bring_up(target, facts, on_durable)
            except OSError as error:
                if error.errno == errno.ESTALE:
                    self._note_lost()
                raise

    async def _bring_up(
        self, target: int, facts: dict[str, str], on_durable: Callable[[], None]
    ) -> SnapshotResult:
        before, rows = self.durable, 0
        while self.durable < target:
            rows += await self._append(target)
            on_durable()
        if rows != self.durable - before:
            raise span.LogBroken(f"{rows} entries were written for seqs {before + 1} to {self.durable}")
        await self._prune()
        await self._copy_small_tables(facts)
        # Somebody may have removed it meanwhile: SQLite writes to it all the same.
        self._check_place()
        self.is_lost = False
        return SnapshotResult(rows, self.durable, self._path.stat().st_size)

    async def refresh(self) -> None:
        """Read the state of the file again: a call that was cancelled may have been carried out all the
        same.

        Raises:
            OSError: There is no file any more, or another one.
        """
        self._check_place()
        try:
            self.durable, self.pruned = await self._file.run(self._verified)
        except OSError:
            self._note_lost()
            raise

    @property
    def is_in_place(self) -> bool:
        """Return whether the file at the path is ours."""
        return self._identity.is_in_place

    def _check_place(self) -> None:
        """Raise OSError where the file at the path is not ours."""
        try:
            self._identity.check_place()
        except OSError:
            self._note_lost()
            raise

    def _note_lost(self) -> None:
        """Register that the file's content is lost: nothing counts as on disk, so nothing of it is pruned
        from memory.
        """
        self.is_lost, self.durable = True, self.pruned

    async def _recreate(self) -> None:
        """Put a new file where ours was removed."""
        self._note_lost()
        tables = await small_tables(self._memory)
        await self._file.run(_end_transaction)
        meta = await self._memory.run(get_meta)
        await self._file.run(lambda conn: recreate(self._path, tables, meta, self._identity))
        await self.switch_file()
        logger.bind(db_path=str(self._path)).warning(
            "the database file was removed; a new one is made from memory"
        )

    async def switch_file(self) -> None:
        """Switch to the file that is at the path now.

        Raises:
            sqlite3.Error, OSError: It can't be opened.
        """
        await self._file.reopen()
        self._identity.switch()

    async def compact(self) -> None:
        """Release the file's free pages to the file system, in slices: the cost depends on what was freed.

        Raises:
            sqlite3.Error, OSError: The disk said no; what has been given back so far is.
        """
        async with self._turn:
            self._identity.check_place()
            left = -1
            while left:
                before, left = left, await self._file.run(vacuum_slice)
                if left == before:
                    break  # somebody has rewritten the file without auto_vacuum

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Exclude all other writers of the file for the duration of the block."""
        async with self._turn:
            await self.refresh()
            yield

    async def rewrite(self) -> None:
        """Rewrite the file without the former content of its pages. Inside `exclusive`.

        Raises:
            sqlite3.Error, OSError: The disk said no; the old file is still there.
        """
        self._identity.check_place()
        await self._file.run(lambda conn: erasure.rewrite(conn, self._path, self._identity.lock.take))
        # In this order: a connection that is still the old file's is never written to, whatever happens in between.
        await self._file.reopen()
        self._identity.switch()
        await self._file.run(self._in_transaction(erasure.unmark))

    def _in_transaction(
        self, work: Callable[[sqlite3.Connection], Result]
    ) -> Callable[[sqlite3.Connection], Result]:
        """Return `work` in a transaction on the file, which is verified to be ours first."""

        def run(conn: sqlite3.Connection) -> Result:
            with self._identity.transaction(conn):
                return work(conn)

        return run

    def _verified(self, conn: sqlite3.Connection) -> tuple[int, int]:
        """Return what `_end_transaction` does, of a file that is verified to be ours."""
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        self._identity.verify(conn)
        return _end_transaction(conn)

    async def erase(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run `work` in a transaction on the file. Inside `exclusive`.

        Raises:
            sqlite3.Error, OSError: The disk said no, or the file is not ours any more.
        """
        return await self._file.run(self._in_transaction(work))

    async def _append(self, target: int) -> int:
        """Copy the next rows, up to `target` at most, in one transaction; how many. Raises `span.LogBroken`."""
        target = min(target, self.durable + TRANSACTION_ROWS)
        cursor, size, limit, rows = self.durable, 0, FIRST_ROWS, 0
        try:
            await self._file.run(self._identity.begin)
            while cursor < target and size < TRANSACTION_BYTES:
                after, most = cursor, limit
                text = await self._memory.run(lambda conn: span.export_slice(conn, after, target, most))  # noqa: B023
                count = await self._file.run(lambda conn: span.import_slice(conn, text, after))  # noqa: B023
                cursor, rows, size = after + count, rows + count, size + len(text)
                # Never far more than fitted last time: where rows grow, few are looked at in vain.
                limit = min(SLICE_ROWS, 2 * (cursor - after))
            await self._file.run(self._identity.commit)
            self._check_place()
        except BaseException:
            # The file must not stay locked until somebody tries again.
            with contextlib.suppress(OSError):  # noted, and what is raised here says more
                await self.refresh()
            raise
        self.durable = cursor
        return rows

    async def _prune(self) -> None:
        """Remove from the file what was removed from memory, all of which is on disk, with the same receipts."""
        for receipt, through in await self._memory.run(lambda conn: receipts_after(conn, self.pruned)):
            while self.pruned < through:
                _, last = await self._file.run(
                    self._in_transaction(
                        lambda conn: prune_slice(
                            conn,
                            through,  # noqa: B023
                            receipt,  # noqa: B023
                            self._keep_ids,
                            FILE_SLICE,
                            self._sign,
                        )
                    )
                )
                self.pruned = last or through

    async def _copy_small_tables(self, facts: dict[str, str]) -> None:
        last_run = await self._file.run(_last_run)
        meta, runs = await self._memory.run(lambda conn: (get_meta(conn), _runs_after(conn, last_run)))
        written = {key: value for key, value in (meta | facts).items() if key not in KEYS}
        await self._file.run(
            self._in_transaction(lambda conn: _write_small_tables(conn, runs, written, self._on_last))
        )
        # Signed where they are on disk; whoever asks is answered out of memory.
        first = await self._memory.run(unsigned_from)
        if self._sign is not None and first is not None:
            signed = await self._file.run(lambda conn: signed_receipts(conn, first))
            await self._memory.run(lambda conn: take_signatures(conn, signed))


def _end_transaction(conn: sqlite3.Connection) -> tuple[int, int]:
    """End a transaction that was left open; the highest seqs that the file has had, and has removed."""
    if conn.in_transaction:
        conn.execute("ROLLBACK")
    return span.given(conn), span.pruned_through(conn)


def _last_run(conn: sqlite3.Connection) -> int:
    return int(conn.execute("SELECT coalesce(max(id), 0) FROM job_runs").fetchone()[0])


def _runs_after(conn: sqlite3.Connection, number: int) -> list[tuple[Any, ...]]:
    return conn.execute("SELECT * FROM job_runs WHERE id > ? ORDER BY id", (number,)).fetchall()


def _write_small_tables(
    conn: sqlite3.Connection,
    runs: list[tuple[Any, ...]],
    meta: dict[str, str],
    on_last: Callable[[], None],
) -> None:
    with Transaction(conn):
        for row in runs:
            conn.execute(f"INSERT INTO job_runs VALUES ({','.join('?' * len(row))})", row)
        for name in {row[1] for row in runs}:
            trim_runs(conn, name)
        set_meta(conn, **meta)
        on_last()
