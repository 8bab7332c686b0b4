"""The commit log: what `DURABILITY=commit` puts on disk before it is acked or broadcast.

Snapshots bring entries to the database file by and by; until then a group of entries lies here, as one record appended
to a segment file beside the database (`NAME.commits.1`, `.2`, …) and synced. A snapshot closes the segment that is
being written, and removes it once all of it is in the file, so the log is as long as what came since.

    segment = MAGIC record*        record = kind(1) length(4) crc32(4) payload(length)
    kind G: a group of entries: the columns of all rows, one row after the other, as one MessagePack array
    kind M: a mark: everything up to this seq (8 bytes) has been synced, and may have been acked; numbers big endian

The mark is written after the sync of its group and is itself synced with the next one, so it costs a write. It tells
a group that was torn by a crash (nothing follows; nobody was told that it is safe; it is dropped) from one that was
damaged later (a mark follows: what was acked is gone, and the start is refused). SQLite's own WAL ends silently at the
first frame that is not whole; that, and its cost for each delta, is why this is not a table in a WAL file.

Every write is made by one thread. After a write that failed the log takes nothing until `recover` has cut off what may
have got there. A group whose publisher was told "no" cannot come back: where what was written of it could not be cut off
before anybody is told, that is another error (`NotCut`), and its publisher is told that nobody knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO, TypeVar
from zlib import crc32

import msgspec

from recorder.core.delta import Entry
from recorder.engine.threads import started_pool
from recorder.store.sqlite.files import check_identity, sync
from recorder.store.sqlite.identity import FILE_MODE, FileId
from recorder.store.sqlite.span import WIDTH, flat, is_row

Result = TypeVar("Result")

MAGIC = b"recorder/commits/1\n"
GROUP, MARK = b"G", b"M"
_HEADER = Struct(">cII")
_SEQ = Struct(">Q")
_MARK_OPENING = _HEADER.pack(MARK, _SEQ.size, 0)[:5]
"""How every mark begins: what a search for one looks for."""


class NotCut(OSError):
    """A write failed, and so did cutting off what it may have left: a start after a crash may find the group."""


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A segment on disk.

    Args:
        path: Where.
        number: Its place among the others.
    """

    path: Path
    number: int


def segment_files(database: Path) -> list[SegmentFile]:
    """Return the segments beside a database file, oldest first."""
    pattern = re.compile(re.escape(database.name) + r"\.commits\.(\d{1,18})")
    found = [
        SegmentFile(entry, int(match[1]))
        for entry in database.parent.iterdir()
        if (match := pattern.fullmatch(entry.name))
    ]
    return sorted(found, key=lambda segment: segment.number)


class SegmentReader:
    """Reads one segment; iterate it for its groups (the columns of their rows, one row after the other).

    What it found out stands in its attributes, once the iteration is over.

    Args:
        path: The segment.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.good = 0  # bytes from the beginning that are whole records
        self.torn = 0  # bytes behind them that a crash left, never acked
        self.damage: str | None = (
            None  # what is wrong, where something that may have been acked is not readable
        )
        self.last = 0  # the highest seq read
        self.acked = 0  # the highest seq that a mark behind the damage tells of

    def __iter__(self) -> Iterator[list[Any]]:
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            opening = file.read(len(MAGIC))
            if opening != MAGIC:
                self._end(file, 0, size)
                return
            self.good = len(MAGIC)
            while (record := _read_record(file)) is not None:
                kind, payload = record
                if kind == GROUP:
                    values = _group(payload)
                    if values is None:
                        # No crash leaves a right check behind a wrong record.
                        self._end(file, self.good, size)
                        self.torn = 0
                        self.damage = (
                            self.damage or f"{self.path.name}: no group of entries at byte {self.good}"
                        )
                        return
                    self.last = values[-WIDTH]
                    yield values
                self.good = file.tell()
            if self.good < size:
                self._end(file, self.good, size)

    def _end(self, file: BinaryIO, good: int, size: int) -> None:
        """Handle bytes from `good` on that are no record: torn, unless a mark says that they were acked."""
        file.seek(good)
        rest = file.read()
        at = rest.find(_MARK_OPENING)
        while at >= 0:
            end = at + _HEADER.size + _SEQ.size
            if _parse(rest[at:end]) is not None:
                self.acked = max(self.acked, _SEQ.unpack(rest[end - _SEQ.size : end])[0])
            at = rest.find(_MARK_OPENING, at + 1)
        if self.acked:
            self.damage = (
                f"{self.path.name}: damaged at byte {good}; deltas up to seq {self.acked} were acked"
            )
        else:
            self.torn = size - good


def _read_record(file: BinaryIO) -> tuple[bytes, bytes] | None:
    """Return the next record; None if there is no complete one."""
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    length = _HEADER.unpack(header)[1]
    # A damaged length may ask for four gigabytes: no more is read than there is.
    if length > os.fstat(file.fileno()).st_size - file.tell():
        return None
    return _parse(header + file.read(length))


def _parse(record: bytes) -> tuple[bytes, bytes] | None:
    if len(record) < _HEADER.size:
        return None
    kind, length, check = _HEADER.unpack_from(record)
    payload = record[_HEADER.size :]
    if kind not in (GROUP, MARK) or length != len(payload) or _check(kind, payload) != check:
        return None
    return kind, payload


def _group(payload: bytes) -> list[Any] | None:
    """Return the columns of a group's rows, one row after the other; None if the payload is not a group."""
    try:
        values: list[Any] = msgspec.msgpack.decode(payload, type=list[Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    rows = [values[at : at + WIDTH] for at in range(0, len(values), WIDTH)]
    return values if rows and all(map(is_row, rows)) else None


def _record(kind: bytes, payload: bytes) -> bytes:
    return _HEADER.pack(kind, len(payload), _check(kind, payload)) + payload


def _check(kind: bytes, payload: bytes) -> int:
    return crc32(payload, crc32(kind + len(payload).to_bytes(4, "big")))


class _Segment:
    """The segment that is being written. Its methods run on the log's thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE
        )
        try:
            status = os.fstat(self._descriptor)
            self._identity: FileId = (status.st_dev, status.st_ino)  # which file it is
            self.last = 0  # the highest seq in it
            self.good = 0  # bytes that are whole and synced, or a mark
            self._write(MAGIC)
            os.fdatasync(self._descriptor)
            sync(path.parent)
            self.good = len(MAGIC)
        except BaseException:
            os.close(self._descriptor)
            path.unlink(missing_ok=True)
            raise

    def append(self, payload: bytes, last: int) -> None:
        check_identity(self.path, self._identity)
        record = _record(GROUP, payload)
        self._write(record)
        os.fdatasync(self._descriptor)
        self.good += len(record)
        self.last = last

    def mark(self) -> None:
        record = _record(MARK, _SEQ.pack(self.last))
        self._write(record)
        self.good += len(record)

    def cut(self) -> None:
        """Cut off everything after the last complete record. Raises OSError (ESTALE, ENOENT if the file is
        gone).
        """
        # Through the descriptor first: a file that was moved away, and may be moved back, is cut all the same.
        os.ftruncate(self._descriptor, self.good)
        os.fsync(self._descriptor)
        check_identity(self.path, self._identity)

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


class CommitLog:
    """The log of one database file. Made by `open`.

    Args:
        database: The database file.
        threads: One thread, ours.
    """

    def __init__(self, database: Path, threads: ThreadPoolExecutor) -> None:
        self._database = database
        self._threads = threads
        self._segment: _Segment | None = None  # being written
        self._closed: dict[Path, int] = {}  # segments that wait for a snapshot, and the highest seq of each
        self._number = 0  # of the segment made last
        self._broken = False  # a write failed, and what it left has not been cut off
        self.lost = 0  # acked up to this seq, and vanished from the log: only a snapshot makes it durable; 0 for nothing
        self.durable = 0  # the highest seq that is synced here

    @classmethod
    @asynccontextmanager
    async def open(cls, database: Path) -> AsyncIterator[CommitLog]:
        """Open the log beside a database file; nothing is written before the first append."""
        with started_pool(1, "store-commits") as threads:
            log = cls(database, threads)
            try:
                yield log
            finally:
                await log._run(log._shut)

    def found(self, path: Path, number: int, last: int) -> None:
        """Take over a segment of an earlier run, read at start, until a snapshot has what is in it."""
        self._closed[path] = last
        self._number = max(self._number, number)
        self.durable = max(self.durable, last)

    async def append(self, group: Sequence[Entry]) -> None:
        """Put a group on disk.

        Args:
            group: Its entries, gapless and after all that were put here before.

        Raises:
            NotCut: Nobody knows whether it is on disk. Nothing is taken before `recover`.
            OSError: It is not on disk, and never will be: publish it again. Nothing is taken before `recover`.
        """
        await self._run(lambda: self._append(group))

    async def recover(self) -> None:
        """Recover after a failure: cut off incomplete records, and test whether the disk accepts writes
        again.

        Raises:
            OSError: Not yet.
        """
        await self._run(self._recover)

    async def begin(self) -> int:
        """Create the next segment, if none is open, and return its number. It is still empty.

        Where the disk does not take it, it is made before the next group is written.
        """
        return await self._run(self._begin_next)

    async def rotate(self) -> int:
        """Close the segment that is being written; the highest seq in the closed ones."""
        return await self._run(self._rotate)

    async def forget(self, on_file: int) -> None:
        """Remove the closed segments of which everything is in the database file.

        Args:
            on_file: The highest seq in the file.
        """
        await self._run(lambda: self._forget(on_file))

    async def _run(self, work: Callable[[], Result]) -> Result:
        # Shielded: what the thread has begun is carried out, and the next call must find what came of it.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._threads, work))

    def _append(self, group: Sequence[Entry]) -> None:
        if self._broken:
            raise OSError(errno.EIO, "an earlier write failed", str(self._database))
        last = group[-1].seq
        payload = msgspec.msgpack.encode(flat(group))
        self._broken = True
        segment = self._segment or self._begin()
        try:
            segment.append(payload, last)
        except OSError as error:
            # At once, before any answer is sent; if it fails, `recover` retries it.
            try:
                self._cut(segment)
            except OSError as why:
                raise NotCut(
                    error.errno, f"{error.strerror}; cut: {why.strerror}", str(segment.path)
                ) from error
            raise
        self._broken = False
        self.durable = last
        self._mark(segment)

    def _mark(self, segment: _Segment) -> None:
        try:
            segment.mark()
        except OSError:
            # The group is safe and is going to be acked; the next one will fail where this did, and be refused.
            self._broken = True

    def _begin(self) -> _Segment:
        self._number += 1
        self._segment = _Segment(self._database.with_name(f"{self._database.name}.commits.{self._number}"))
        return self._segment

    def _begin_next(self) -> int:
        if self._segment is not None:
            return self._number
        try:
            self._begin()
        except OSError:
            self._number -= 1
            return self._number + 1
        return self._number

    def _recover(self) -> None:
        if not self._broken:
            return
        if self._segment is not None:
            self._cut(self._segment)
            self._close_segment()
        # A new segment, synced: the disk takes writes again. After a failed sync the old one is not to be trusted.
        self._begin()
        self._broken = False

    def _cut(self, segment: _Segment) -> None:
        """Remove what a failed write left; where the segment itself has vanished, note what was lost with it."""
        try:
            segment.cut()
        except OSError as error:
            if error.errno not in (errno.ESTALE, errno.ENOENT):
                raise
            self.lost = segment.last

    def _rotate(self) -> int:
        # What a failed write left is cut off first, by `recover`: closed with it, the segment would give the next start
        # entries of the same numbers as those that come now.
        if not self._broken:
            self._close_segment()
        return max(self._closed.values(), default=0)

    def _close_segment(self) -> None:
        segment = self._segment
        if segment is not None:
            self._closed[segment.path] = segment.last
            self._segment = None
            segment.close()

    def _shut(self) -> None:
        if self._segment is not None:
            if self._broken:
                with contextlib.suppress(OSError):
                    self._cut(self._segment)
            self._segment.close()

    def _forget(self, on_file: int) -> None:
        gone = [path for path, last in self._closed.items() if last <= on_file]
        for path in gone:
            path.unlink(missing_ok=True)
            del self._closed[path]
        if gone:
            sync(self._database.parent)
        if self.lost <= on_file:
            self.lost = 0
