"""The SQLite store: an event store in memory, kept up on disk by snapshots, and a state store on the same database.

Two connections, each with its thread: `:memory:`, which the writer fills and everybody reads in slices, and the file,
which only the snapshotter uses. With `commit` the commit log, with a thread of its own, comes before both. `open`
takes the file (lock, checks) and fails fast; `load` fills the memory, which may take seconds; `close` records what is
queued, takes a last snapshot and marks it clean, and gives everything back whatever happens.

How a recording starts is in `recovery.start`, what removes entries from it in `removal`. Invariant: reads return
everything up to `recorded`, and everything up to `durable` survives a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import orjson
from loguru import logger

from recorder.core.clock import Clock
from recorder.core.delta import Entry
from recorder.core.errors import RecorderError, StoreError
from recorder.core.metrics import Metrics
from recorder.core.observers import Observers
from recorder.core.session_filter import Sessions
from recorder.core.statements import ErasureReceipt, Head, Signed
from recorder.core.timestamps import format_ms
from recorder.store.contract import Guarantee, Health, JobRun, Loaded, Piece, Query, Receipts, SnapshotResult
from recorder.store.sqlite import erasure, files, retention, span
from recorder.store.sqlite.commit_log import CommitLog
from recorder.store.sqlite.config import StoreConfig
from recorder.store.sqlite.connection import Database, open_memory
from recorder.store.sqlite.history import HistoryReader
from recorder.store.sqlite.identity import (
    FileIdentity,
    FileLock,
    locked,
)
from recorder.store.sqlite.job_log import JobRuns
from recorder.store.sqlite.receipts import (
    Attestor,
    end_of,
    read_all,
)
from recorder.store.sqlite.recovery.open import Opening
from recorder.store.sqlite.recovery.salvage import Loss
from recorder.store.sqlite.recovery.start import Start
from recorder.store.sqlite.removal import Removal
from recorder.store.sqlite.rows import get_meta, set_meta
from recorder.store.sqlite.snapshot import Snapshotter
from recorder.store.sqlite.states import LOAD_ROWS, SqliteStateStore
from recorder.store.sqlite.trust import unverified
from recorder.store.sqlite.writer import Writer


class SqliteStore:
    """The event store in SQLite, created by `open`.

    Args:
        config: What it is opened with.
        lock: Holds the file.
        file, memory: The two databases, open.
        commits: The commit log; without `config.commit` only what an earlier run left in it counts.
        opening: How the file was opened, and what was lost.
        clock: For times that are written down.
        metrics: Counts.
    """

    def __init__(
        self,
        config: StoreConfig,
        lock: FileLock,
        file: Database,
        memory: Database,
        commits: CommitLog,
        opening: Opening,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._file = file
        self._memory = memory
        self._commits = commits
        self._opening = opening
        self._clock = clock
        self._metrics = metrics
        self._writer = Writer(
            memory,
            0,
            self._progress,
            max_entries=config.queue_max_deltas,
            max_bytes=config.queue_max_bytes,
            log_entries=config.log_entries,
            commits=commits if config.commit else None,
            on_rolled_back=self._rolled_back,
            recover=self._recover,
            check=self._check_file,
        )
        self._writing: asyncio.Task[None] | None = None  # the writer's task, from `load` to `close`
        self._reader = HistoryReader(memory, metrics)
        attestor = None if config.sign is None else Attestor(config.sign, lambda: format_ms(clock.now_ms()))
        self._attestor = attestor
        self._identity = FileIdentity(
            config.path, lock, None if attestor is None else attestor.attest, self._distrust
        )
        self._snapshotter = Snapshotter(
            memory,
            file,
            config.path,
            self._identity,
            keep_ids=config.keep_ids,
            sign=config.sign,
            on_last=self._keep_head,
        )
        self._removal = Removal(config, file, memory, self._snapshotter, clock, self.snapshot, self.flush)
        self._facts = 0  # how often small facts have changed
        self._saved_facts = 0  # the same, when the last snapshot that succeeded began
        self._closing = asyncio.Lock()  # one close at a time
        self._closed = False
        self._progress_observers: Observers[()] = Observers("progress", metrics)
        self._losers: list[Callable[[str, bool], None]] = []  # take back what the disk did not take
        self.states = SqliteStateStore(memory, lambda: self.recorded)
        self.runs = JobRuns(memory)
        self.last_snapshot_at: str | None = None  # when the last snapshot succeeded
        self.last_loss: str | None = None  # what was lost at a start, the last time that was accepted; JSON

    @classmethod
    @asynccontextmanager
    async def open(cls, config: StoreConfig, clock: Clock, metrics: Metrics) -> AsyncIterator[SqliteStore]:
        """Take the file for this process, check it, and close everything in order at the end.

        Raises:
            StoreLocked: Another process has the file.
            StoreUnreadable: It can't be used; it is left as it is.
        """
        path = config.path
        files.prepare_directory(path)
        async with AsyncExitStack() as stack:
            lock = stack.enter_context(locked(path))
            commits = await stack.enter_async_context(CommitLog.open(path))
            # Closed after the file: a load that is cancelled still writes to it from the file's thread.
            memory = await stack.enter_async_context(open_memory())
            opening = Opening(
                path, lock, clock, allow_data_loss=config.allow_data_loss, busy_seconds=config.busy_seconds
            )
            file = await stack.enter_async_context(opening.file())
            store = cls(config, lock, file, memory, commits, opening, clock, metrics)
            stack.push_async_callback(store.close)
            yield store

    async def load(self, on_progress: Callable[[int, int], None] = lambda left, total: None) -> Loaded:
        """Load the memory from the file and start recording.

        Args:
            on_progress: Gets pages left and pages in all, from another thread.

        Returns:
            Where the recording goes on.
        """
        start = Start(
            self._config,
            self._opening,
            self._file,
            self._memory,
            self._commits,
            self._identity,
            self._snapshotter,
            self._attestor,
            self._clock,
        )
        loaded = await start.run(on_progress)
        self._removal.closed_receipts = start.closed_receipts
        self._writer.resume(loaded.head)
        self._removal.pruned = loaded.pruned
        self.last_snapshot_at = loaded.meta.get("last_snapshot_at")
        self.last_loss = _json_or_none(loaded.meta.get("last_loss"))
        for loss in self._opening.losses:
            await self._note(loss)
        if self._opening.losses:
            # At once: what was given up must not be met again, nor what is going to be acked be beside it.
            await self.snapshot()
        self._writing = asyncio.create_task(self._writer.run(), name="store-writer")
        return loaded

    @property
    def path(self) -> Path:
        """The database file."""
        return self._config.path

    # EventStore

    @property
    def guarantee(self) -> Guarantee:
        """The guarantee of the store."""
        return Guarantee(
            order="by seq, which is the order of acceptance; gapless from `oldest` to `recorded`",
            durability="recorded: on disk and fsynced"
            if self._config.commit
            else "recorded: until the process ends; up to `durable`: on disk and fsynced",
            loss_window_ms=0 if self._config.commit else self._config.snapshot_interval_ms,
        )

    @property
    def recorded(self) -> int:
        """The highest seq that reads will return."""
        return self._writer.recorded

    @property
    def durable(self) -> int:
        """The highest seq on disk: in the file, or in the commit log."""
        if self._commits.lost or self._snapshotter.is_lost:
            return self.on_file
        return max(self.on_file, min(self._commits.durable, self.recorded))

    @property
    def on_file(self) -> int:
        """The highest seq in the database file."""
        return self._snapshotter.durable

    @property
    def oldest(self) -> int:
        """The first seq kept; one more than the last given where none is."""
        return self._removal.pruned + 1

    @property
    def count(self) -> int:
        """The number of entries kept."""
        return self.recorded - self._removal.pruned

    @property
    def capacity(self) -> int:
        """The number of entries the recording queue has capacity for."""
        return self._writer.capacity

    @property
    def waiting(self) -> int:
        """Entries appended and not recorded."""
        return self._writer.waiting

    @property
    def recorded_bytes(self) -> int:
        """Bytes recorded since the start, as they travel."""
        return self._writer.recorded_bytes

    @property
    def fatal_error(self) -> str | None:
        """The error that ended recording; None while it works."""
        return self._writer.fatal_error

    @property
    def disk_error(self) -> str | None:
        """The error of the last write to the commit log, which is retried; None if there is none."""
        return self._writer.disk_error

    @property
    def is_dirty(self) -> bool:
        """Return whether a snapshot has something to write."""
        return (
            self.on_file < self.recorded
            or self._snapshotter.pruned < self._removal.pruned
            or self._saved_facts != self._facts
            or not self._snapshotter.is_in_place
        )

    def extend(self, entries: Sequence[Entry]) -> None:
        """Queue entries. Raises `Closed`."""
        self._writer.extend(entries)

    def fail(self, reason: str) -> None:
        """Record nothing more: what was given out can't be recorded whole. The next start begins a new epoch."""
        self._writer.fail(reason)

    async def flush(self) -> None:
        """Wait until everything appended before is recorded."""
        await self._writer.flush()

    async def read(self, query: Query, limit: int) -> Piece:
        """Return at most `limit` matches, in bounded time; continue from `last_seq` until `done`."""
        return await self._reader.read(query, limit, self.recorded)

    async def last_at(self, time: str) -> int:
        """Return the last seq recorded at or before a time; 0 if there is none. Raises `Pruned`."""
        return await self._reader.last_at(time)

    async def read_slice(self, after: int, sessions: Sessions, types: frozenset[str] | None) -> Piece:
        """Return the next matches after a seq. Raises `Pruned` if what follows it was removed."""
        return await self._reader.read_on(Query(sessions=sessions, types=types, after=after), self.recorded)

    async def first_at(self, time: str) -> int:
        """Return the first seq kept that was recorded at or after a time; the last seq + 1 if there is none."""
        return await self._reader.seq_at(time, self.recorded)

    async def seq_at(self, time: str) -> int | None:
        """Return the first recorded seq at or after a time; None if entries of that time were pruned."""
        first = await self.first_at(time)
        return first if first > self._removal.pruned + 1 or not await self._pruned_since(time) else None

    async def hash_at(self, seq: int) -> bytes | None:
        """Return the hash that the entry after a recorded seq links to; None if that seq was pruned."""
        return await self._reader.hash_at(seq)

    async def prune(self, through: int, policy: str) -> int:
        """Remove everything up to a seq from memory, in slices; the next snapshot removes it from the file.

        Args:
            through: The highest seq to go. What is not in the file yet stays.
            policy: Why, for the receipt.

        Returns:
            How many entries it removed.
        """
        return await self._removal.prune(through, policy)

    async def erase(
        self,
        session_id: str,
        reason: str,
        forget: Callable[[], int],
        tell: Callable[[ErasureReceipt], None] = lambda receipt: None,
    ) -> Signed[ErasureReceipt] | None:
        """Erase what a session's states say, in the file and in the database in memory; their digests stay.

        Args:
            session_id: Whose.
            reason: Why, for the receipt.
            forget: Makes those who make entries forget the session's state; gives the last entry that may hold it.
            tell: Called once it is erased, and can be read no more; cleaning up may still fail.

        Returns:
            The receipt; None where there was nothing to erase.

        Raises:
            StoreError: The disk said no. Where it has been erased already, it is cleaned up at the next try or start.
        """
        return await self._removal.erase(session_id, reason, forget, tell)

    async def erasures_since(self, seq: int, sessions: Sessions) -> list[tuple[str, int, int, str]]:
        """Return (session id, last seq then, count, time) of the erasures since the log had this seq, in
        order.
        """
        rows = await self._memory.run(lambda conn: erasure.told_since(conn, seq))
        return [row for row in rows if sessions is None or row[0] in sessions]

    async def health_check(self) -> Health:
        """Check whether it can record and answer."""
        if self.fatal_error is not None:
            return Health(False, f"recording failed: {self.fatal_error}")
        try:
            oldest, head = await self._memory.run(span.bounds)
        except (sqlite3.Error, RecorderError) as error:
            return Health(False, f"{type(error).__name__}: {error}")
        return Health(True, details={"head": head, "oldest": oldest, "waiting": self.waiting})

    # Upkeep

    async def snapshot(self, *, clean: bool = False) -> SnapshotResult:
        """Write everything recorded to the file.

        Args:
            clean: Mark it as the last one of an orderly stop.

        Raises:
            StoreError: The disk said no. What is on disk is as after the last success.
        """
        await self._drain()
        at = format_ms(self._clock.now_ms())
        is_clean = clean and self.fatal_error is None
        facts = {"last_snapshot_at": at, "clean": "1" if is_clean else "0"}
        if self._config.commit and not is_clean:
            # Before the file names it: where it is missing at a start, the file has been put back from a copy.
            facts["segment"] = str(await self._commits.begin())
        changed = self._facts
        try:
            result = await self._snapshotter.run(self.recorded, facts, self._progress)
            await self._commits.forget(self.on_file)
            if is_clean:
                await self._file.run(lambda conn: self._identity.write_beside())
        except span.LogBroken as error:
            self._writer.fail(str(error))
            raise StoreError(
                str(error), hint="restart the recorder: it continues from what is on disk"
            ) from error
        except (sqlite3.Error, OSError) as error:
            raise files.disk_failed(self._config.path, error) from error
        self.last_snapshot_at, self._saved_facts = at, changed
        return result

    async def _drain(self) -> None:
        """Wait until everything waiting is recorded or rolled back; afterwards all of the log is in closed
        segments.
        """
        # What was recorded before recording failed, or the log broke, is worth keeping, too.
        with contextlib.suppress(StoreError):
            await self.flush()
            if await self._commits.rotate() > self.recorded:
                # A group was on its way from the log to memory.
                await self.flush()

    async def compact(self) -> None:
        """Release to the file system what pruning has freed in the file.

        Memory that pruning has freed stays with the process and is used again by what comes.

        Raises:
            StoreError: The disk said no. Nothing is lost; the next time goes on from there.
        """
        try:
            await self._snapshotter.compact()
        except (sqlite3.Error, OSError) as error:
            raise files.disk_failed(self._config.path, error) from error

    async def set_metadata(self, **values: str) -> None:
        """Keep small facts beside the data, until the next snapshot in memory only."""
        await self._memory.run(lambda conn: set_meta(conn, **values))
        self._facts += 1

    async def ids(self, after: int) -> list[tuple[str, int, bytes]]:
        """Return (id, seq, digest) of the next ids after a seq, ascending by seq; at most 2000, none at the
        end.

        Among them are the last ids of what was pruned.
        """
        return await self._memory.run(lambda conn: span.ids(conn, after, LOAD_ROWS))

    async def head(self) -> Signed[Head] | None:
        """Return a signed statement of the current end of the recording; None if nothing is signed."""
        if self._config.sign is None:
            return None
        (seq, count, found), meta = await self._memory.run(lambda conn: (end_of(conn), get_meta(conn)))
        now = format_ms(self._clock.now_ms())
        head = Head(meta["epoch"], seq, count, found, now, min(self.durable, seq))
        return Signed(head, self._config.sign(head))

    async def receipts(self) -> Receipts:
        """Return the receipts of prunes and erasures; those on disk are signed."""
        return await self._memory.run(read_all)

    async def used_bytes(self) -> int:
        """Return the bytes in use of the database in memory."""
        return await self._memory.run(retention.used_bytes)

    def file_size(self) -> int | None:
        """Return the size of the file in bytes; None if there is none."""
        try:
            return self._config.path.stat().st_size
        except OSError:
            return None

    def copies(self) -> list[str]:
        """Return the names of other files beside the database that are made from it, and may hold what was erased."""
        return erasure.leftovers(self._config.path)

    def on_progress(self, callback: Callable[[], None]) -> None:
        """Call `callback` when more is recorded or durable, or when recording failed."""
        self._progress_observers.add(callback)

    def on_rolled_back(self, callback: Callable[[str, bool], None]) -> None:
        """Call `callback` when what is not recorded yet is rolled back (`commit` only).

        Args:
            callback: Gets the reason, and whether nobody knows if some of it is on disk all the same.
        """
        self._losers.append(callback)

    async def close(self) -> None:
        """Record what is queued, take the last snapshot, close both databases. Twice is fine.

        Raises:
            StoreError: Not everything could be recorded or saved; everything has been closed all the same.
        """
        self._writer.close()
        # Who comes second waits for the first: what it does next may be to let the file go.
        async with self._closing:
            if self._closed:
                return
            self._closed = True
            try:
                if self._writing is not None:
                    await self._finish(self._writing)
            finally:
                await self._file.close()
                await self._memory.close()
                self._identity.close()

    async def _finish(self, writing: asyncio.Task[None]) -> None:
        try:
            await self.snapshot(clean=True)
            if self.fatal_error is not None:
                raise StoreError(f"nothing can be recorded after seq {self.recorded}: {self.fatal_error}")
            logger.bind(db_path=str(self._config.path), durable=self.durable).debug("last snapshot saved")
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    def _distrust(self, conn: sqlite3.Connection) -> str | None:
        """Return what does not hold in a file that another program has written to; None where all does."""
        sign = self._config.sign
        gap = None if sign is None else unverified(conn, sign.trusted, sign.sealed)
        return None if gap is None else gap.reason

    def _keep_head(self) -> None:
        if self._attestor is not None:
            self._attestor.keep()

    async def _note(self, loss: Loss) -> None:
        """Keep what was lost where it will be looked for: in the small facts and among the runs of jobs."""
        self.last_loss = orjson.dumps(loss.as_json()).decode()
        await self.set_metadata(last_loss=self.last_loss)
        counts = {"saved": loss.saved, "lost": loss.count, "readable": loss.readable}
        await self.runs.add(JobRun("salvage", loss.at, 0, "ok", counts, f"{loss.reason} (now {loss.file})"))

    async def _recover(self) -> None:
        await self._commits.recover()
        if self._commits.lost or self._snapshotter.is_lost:
            # What was acked is in memory only: until it is in the file, no new ack could be believed.
            await self.snapshot()

    def _check_file(self) -> None:
        if self._snapshotter.is_lost:
            raise OSError(
                errno.ESTALE, "the database file is gone, and what was acked with it", str(self._config.path)
            )

    def _rolled_back(self, reason: str, unknown: bool) -> None:
        for callback in self._losers:
            callback(reason, unknown)

    def _progress(self) -> None:
        # The writer calls this between two groups: nobody who is told may end recording.
        self._progress_observers.tell()

    async def _pruned_since(self, time: str) -> bool:
        """Return whether an entry recorded at or after a time has been removed."""
        last = await self._memory.run(
            lambda conn: conn.execute(
                "SELECT last_recorded_at FROM prunes ORDER BY id DESC LIMIT 1"
            ).fetchone()
        )
        return last is not None and last[0] >= time


def _json_or_none(text: str | None) -> str | None:
    """Return a JSON text as it is; None where it is none: nothing signs it, and the file may have been edited."""
    try:
        orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return None
    return text
