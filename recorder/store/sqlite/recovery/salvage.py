"""Salvage of a damaged file, where the operator accepts the loss.

Saved is one gapless run of entries from the first one kept on, each with its link verified, up to the first that can't
be read or does not follow; rows behind a gap are counted and not mixed in. Where the beginning is gone the run begins
with what is there: its first entry is given up for its hash, from which the chain can be verified on, and a receipt
tells what went. Receipts, bases, erasures, epochs, ids and job runs are saved row by row as far as they can be read.

The new file is complete before anything is touched; then the damaged one gets its name aside as a second name, and the
new one takes its place by rename. So at any instant there is a file of the right name, and nothing is overwritten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger

from recorder.core.chain import GENESIS
from recorder.core.timestamps import format_ms
from recorder.store.sqlite import schema, span
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.files import publish
from recorder.store.sqlite.recovery import backups as aside
from recorder.store.sqlite.recovery.check import Erased, break_in, erased_digests
from recorder.store.sqlite.recovery.journal import played_back
from recorder.store.sqlite.recovery.replay import Replayed
from recorder.store.sqlite.retention import Receipt, Slice, prune_slice
from recorder.store.sqlite.rows import Transaction, get_meta, rebuild_states, set_meta
from recorder.store.sqlite.span import LARGEST, append_rows, is_row

POLICY = "lost with a damaged file"
"""What the receipt says of a beginning that is gone."""

_NUMBERS: tuple[Callable[[sqlite3.Connection], int | None], ...] = (
    span.given,
    lambda conn: conn.execute("SELECT max(last_seq) FROM prunes").fetchone()[0],
    lambda conn: conn.execute("SELECT max(seq) FROM session_states").fetchone()[0],
    lambda conn: span.bounds(conn)[1],
)
"""Each tells of numbers that have been given."""


_NO_DAMAGE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
}
_UNREADABLE = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss that a start has accepted.

    Args:
        at: When (fixed-width form).
        reason: What was wrong.
        file: Where the damaged file is now.
        saved: How many entries could be saved.
        lost: The seqs that are gone, from each first to its last, as far as anybody can tell.
        readable: How many of these can still be read in the damaged file, behind the damage.
        incomplete: Other tables of which rows may be missing.
    """

    at: str
    reason: str
    file: str
    saved: int
    lost: tuple[tuple[int, int], ...]
    readable: int = 0
    incomplete: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of lost entries."""
        return sum(last - first + 1 for first, last in self.lost)

    def as_json(self) -> dict[str, Any]:
        """Return the loss as a JSON object for `/api/stats`."""
        return {
            "at": self.at,
            "reason": self.reason,
            "file": self.file,
            "saved": self.saved,
            "lost": [{"first": first, "last": last} for first, last in self.lost],
            "lostCount": self.count,
            "readable": self.readable,
            "incomplete": list(self.incomplete),
        }


def salvage(path: Path, reason: str, now_ms: int, lock: Callable[[Path], None] = lambda new: None) -> Loss:
    """Put a damaged file aside and a new one with what can be saved in its place.

    Args:
        path: The file; its lock is ours.
        reason: What is wrong with it.
        now_ms: For the name aside.
        lock: Locks the new file before it gets its name.

    Raises:
        sqlite3.Error, OSError: The new file can't be written; the damaged one is where it was.
    """
    with _best_source(path) as source:
        saving = _Saving(source, format_ms(now_ms))

        def fill(target: sqlite3.Connection) -> None:
            target.execute("PRAGMA synchronous = OFF")  # synced as a whole, before the rename
            saving.save(target)

        name = aside.free_name(path, "corrupt", now_ms)
        publish(path, fill, before=lambda: aside.name_aside(path, name), lock=lock)
        loss = saving.loss(reason, str(name))
    logger.bind(**loss.as_json()).error(
        "a damaged file was renamed; recording continues in a new file with what could be saved"
    )
    return loss


def give_up_rest(conn: sqlite3.Connection, path: Path, replayed: Replayed, now_ms: int) -> Loss:
    """Continue without what the commit log has after its damage. The segments are kept under another name.

    Args:
        conn: The database in memory, with what could be replayed.
        path: The database file.
        replayed: What came of the replay.
        now_ms: For the names aside.

    Raises:
        OSError: The segments can't be named.
    """
    head = span.end(conn)[0]
    name = aside.free_name(path, "corrupt", now_ms)
    for segment, _ in replayed.segments:
        aside.name_aside(segment.path, name.with_name(f"{name.name}.commits.{segment.number}"))
    # What is read of them from now on is what has been replayed: the next snapshot may remove them.
    replayed.segments = [(segment, min(last, head)) for segment, last in replayed.segments]
    # Whatever the mode: numbers that were broadcast are going to be given again.
    set_meta(conn, clean="0", durability="snapshot")
    lost = ((head + 1, replayed.given),) if replayed.given > head else ()
    loss = Loss(format_ms(now_ms), replayed.damage or "", f"{name}.commits.*", replayed.rows, lost)
    logger.bind(**loss.as_json()).error(
        "the commit log is damaged; recording continues with what could be replayed"
    )
    return loss


@contextmanager
def _best_source(path: Path) -> Iterator[sqlite3.Connection]:
    """Open what more can be saved from: the file as it is, or a copy in which its journal was played back."""
    with closing(_open_damaged(path)) as as_it_is, ExitStack() as stack:
        try:
            image = stack.enter_context(played_back(path))
        except (sqlite3.Error, OSError) as error:
            logger.bind(db_path=str(path), error=str(error)).warning(
                "the journal could not be rolled back in a copy"
            )
            image = None
        if image is not None:
            undone = stack.enter_context(closing(_open_damaged(image)))
            if _Saving(undone, "").count() >= _Saving(as_it_is, "").count():
                yield undone
                return
        yield as_it_is


def _open_damaged(path: Path) -> sqlite3.Connection:
    # Immutable: neither locked nor mended nor changed, and a journal beside it is left alone.
    conn = connect_sqlite(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    # Otherwise SQLite reads nothing at all of a file that has been cut, or has one unreadable definition.
    conn.execute("PRAGMA writable_schema = ON")
    return conn


class _Saving:
    """One rescue.

    Args:
        source: The damaged file.
        at: The time (fixed-width form).
    """

    def __init__(self, source: sqlite3.Connection, at: str) -> None:
        self._source = source
        self._at = at
        self._incomplete: list[str] = []  # tables that could not be read to their end
        self._pruned = 0  # up to here retention had removed everything
        self._first = 1  # the first entry saved
        self._last = 0  # the last

    def save(self, target: sqlite3.Connection) -> None:
        """Fill a new database with what could be saved."""
        for table in schema.SMALL_TABLES:
            with Transaction(target):
                self._copy(target, table)
        cut = target.execute("SELECT last_seq, last_hash FROM prunes ORDER BY id DESC LIMIT 1").fetchone()
        self._pruned, previous = (cut[0], cut[1] or GENESIS) if cut else (0, GENESIS)
        self._first, self._last = self._pruned + 1, self._pruned
        self._copy_log(target, previous)
        if self._first > self._pruned + 1:
            self._give_up_first(target)
        with Transaction(target):
            self._end_transaction(target)

    def count(self) -> int:
        """Return the number of entries that could be saved."""
        cut = _attempt(lambda: self._source.execute("SELECT max(last_seq) FROM prunes").fetchone()[0])
        self._pruned = cut if isinstance(cut, int) else 0
        previous = _attempt(
            lambda: self._source.execute(
                "SELECT last_hash FROM prunes WHERE last_seq = ?", (self._pruned,)
            ).fetchone()
        )
        erased = _attempt(lambda: erased_digests(self._source)) or {}
        return sum(1 for _ in self._verified((previous and previous[0]) or GENESIS, erased))

    def loss(self, reason: str, file: str) -> Loss:
        """Return the summary of what was lost."""
        lost = []
        if self._first > self._pruned + 1:
            lost.append((self._pruned + 1, self._first - 1))
        given = max(self._tried(number) or 0 for number in _NUMBERS)
        if given > self._last:
            lost.append((self._last + 1, given))
        saved = self._last - self._first + 1
        return Loss(
            self._at, reason, file, saved, tuple(lost), self._readable_beyond(), tuple(self._incomplete)
        )

    def _copy(self, target: sqlite3.Connection, table: str) -> None:
        """Copy what can be read of a small table; rows that the new one refuses are left out, too."""
        known = _columns(target, table)
        found = [name for name in known if name in self._source_columns(table)]
        if not found:
            if known and not self._is_older():
                self._incomplete.append(table)
            return
        insert = f"INSERT OR REPLACE INTO {table}({','.join(found)}) VALUES ({','.join('?' * len(found))})"
        try:
            for row in self._source.execute(f"SELECT {','.join(found)} FROM {table}"):
                target.execute(insert, row)
        except sqlite3.Error as error:
            _check_is_damage(error)
            self._incomplete.append(table)

    def _copy_log(self, target: sqlite3.Connection, previous: bytes) -> None:
        erased = erased_digests(target)
        batch: list[tuple[Any, ...]] = []
        for row in self._verified(previous, erased):
            batch.append(row)
            if len(batch) == LARGEST:
                self._append(target, batch)
        if batch:
            self._append(target, batch)

    def _verified(self, previous: bytes, erased: Erased) -> Iterator[tuple[Any, ...]]:
        """Yield the entries from the first kept on, as long as they can be read and continue the chain."""
        head = self._pruned
        for row in self._readable(head):
            if not is_row(row):
                return
            if head == self._pruned and row[0] > head + 1:
                # Itself it can't be verified: nothing is known of what was before.
                self._first = row[0] + 1
            elif break_in((row,), head, previous, erased):
                return
            head, previous = row[0], row[-1] or GENESIS
            yield row

    def _readable(self, after: int) -> Iterator[tuple[Any, ...]]:
        """Yield rows of the source up to where the damage is in the way."""
        try:
            yield from span.rows(self._source, after)
        except sqlite3.Error as error:
            _check_is_damage(error)

    def _append(self, target: sqlite3.Connection, batch: list[tuple[Any, ...]]) -> None:
        with Transaction(target):
            append_rows(target, [value for row in batch for value in row], batch[0][0], batch[-1][0])
        self._last = batch[-1][0]
        batch.clear()

    def _give_up_first(self, target: sqlite3.Connection) -> None:
        """Make the first entry's hash the anchor of the chain, with a receipt for the entries before it."""
        number = 1 + target.execute("SELECT ifnull(max(id), 0) FROM prunes").fetchone()[0]
        through = self._first - 1
        prune_slice(target, through, Receipt(number, POLICY, self._at), 1 << 62, Slice(1, 1 << 40))
        first = self._pruned + 1
        target.execute(
            "UPDATE prunes SET first_seq = ?, count = ?, first_hash = NULL WHERE id = ?",
            (first, through - first + 1, number),
        )

    def _end_transaction(self, target: sqlite3.Connection) -> None:
        """Delete statements about entries that are gone; the next epoch is a new one."""
        for table in ("heads", "erased_states"):
            target.execute(f"DELETE FROM {table} WHERE seq > ?", (self._last,))
        rebuild_states(target)
        # Where nothing of the log was saved no row has told the table its number.
        span.set_given(target, self._last)
        facts = {"clean": "0", "durability": "snapshot"}
        newest = target.execute("SELECT max(epoch) FROM epochs").fetchone()[0]
        if newest is not None and newest > get_meta(target).get("epoch", ""):
            facts["epoch"] = newest
        set_meta(target, **facts)

    def _readable_beyond(self) -> int:
        """Yield the entries after the last one saved that can be read: from there on, and from the end
        backwards.
        """
        seen = 0
        for descending in (False, True):
            try:
                for _ in span.seqs(self._source, self._last, descending=descending):
                    seen += 1
            except sqlite3.Error as error:
                _check_is_damage(error)
                continue
            break
        return seen

    def _is_older(self) -> bool:
        with suppress(sqlite3.Error):
            return schema.version(self._source) < schema.USER_VERSION
        return False

    def _source_columns(self, table: str) -> list[str]:
        return _attempt(lambda: _columns(self._source, table)) or []

    def _tried(self, number: Callable[[sqlite3.Connection], int | None]) -> int | None:
        found = _attempt(lambda: number(self._source))
        return found if isinstance(found, int) else None


def _columns(conn: sqlite3.Connection, table: str) -> list[str]:
    return [name for (name,) in conn.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def _attempt(work: Callable[[], Any]) -> Any:
    """Return the result of a read; None if the damage prevents it."""
    try:
        return work()
    except sqlite3.Error as error:
        _check_is_damage(error)
        return None


def _check_is_damage(error: sqlite3.Error) -> None:
    """Raise an error again that says nothing about the file: of the disk written to, of memory, of locks."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF in _NO_DAMAGE or (code & 0xFF == sqlite3.SQLITE_IOERR and code not in _UNREADABLE):
        raise error
