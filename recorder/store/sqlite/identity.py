"""The identity of the database file, owned by one object, `FileIdentity`, from the lock to the last transaction.

A name is not an identity, nor is an inode: a file can have two names, its lock file can be removed, another file can
be copied over it, and a copy of it can be put back later. `FileLock` keeps other processes away from the file:

* `NAME.lock` is locked by flock and holds our pid, so that a second recorder can say who holds the file.
* On Linux one byte of the database's own inode is locked, too, by a lock that belongs to an open file description
  (OFD): a second name of the file leads to the same lock. The byte lies far behind everything that SQLite locks, so
  readers and SQLite are not disturbed.
* A file that is going to take the database's place is locked before it gets the name.

While SQLite is connected nobody in this process may open and close the database by hand: closing any descriptor of a
file drops all of the process's locks on it, SQLite's among them. The descriptor of the lock stays open for life.

In the file (`meta`) stand `recording` (which recording it is, for ever), `tenure` (random, new at each start), `turn`
(one more with each transaction), `prior_tenure`, and `segment` (the lowest segment of the commit log that may hold more
than the file). A copy has `copied`. Beside the file `NAME.tenure` says the same, and where the log ended: it is written
after the transaction, so it may lag behind the file and never leads. It is replaced and synced at a start and at an
orderly stop; in between it is written in place, without a sync: it is shorter than a sector.

* An epoch goes on only where the file and `NAME.tenure` agree, after an orderly stop, or in commit mode where the
  segment that the file names is there. What was put back from a copy begins a new epoch.
* Before each transaction the inode, (tenure, turn) and the last (seq, hash) are compared with what was written last. A
  file that says anything else is not written to, and nothing in it counts as durable.

Left out: a whole folder that is put back cannot be told from one that was never away; `NEW_EPOCH=1` is for that.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import sqlite3
import stat
import struct
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from loguru import logger

from recorder.config.files import read_file, special_kind
from recorder.core.errors import StoreLocked, StoreUnreadable
from recorder.store.sqlite import span
from recorder.store.sqlite.rows import set_meta

FILE_MODE = 0o600
LOCKED_BYTE = 1 << 62
"""The byte of the inode that is locked. SQLite locks bytes around 2^30; a file never grows to here."""

COPIED = {"copied": "1", "clean": "0", "durability": "snapshot"}
"""The facts of a copy: it begins a new epoch when it is started, with older releases, too."""
KEYS = frozenset({"recording", "tenure", "prior_tenure", "turn", "copied", "seal", "unsigned"})
"""The facts in `meta` that only this module writes while a recorder runs."""
BESIDE_BYTES = 400
"""The length of what `NAME.tenure` holds: always the same, so that it can be written in place."""

REPLACED = (
    "file_replaced: what is in the database file is not what was written to it; another file was copied over it, or"
    " another program has changed it"
)

NOT_STOPPED = "the last stop was not clean"
"""Why a new epoch begins where what was acknowledged after the last snapshot may be lost."""

FileId = tuple[int, int]
"""Device and inode: which file it is, whatever its name."""


def file_id(path: Path) -> FileId:
    """Return which file a path names. Raises `OSError` where there is none."""
    status = path.stat()
    return status.st_dev, status.st_ino


class FileLock:
    """The lock on a database file. Made by `locked`.

    Args:
        path: The database file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: dict[FileId, int] = {}  # descriptors of the files whose byte is locked

    def take(self, path: Path) -> None:
        """Lock a file's inode in addition to those that are locked.

        Args:
            path: A name of it: the database's, or that of a file which is going to take its place.

        Raises:
            StoreLocked: Another process has the file, whatever name it uses.
            OSError: It cannot be opened for writing.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if (status.st_dev, status.st_ino) not in self._held:
                _lock_byte(descriptor, path)
                self._held[status.st_dev, status.st_ino] = descriptor
                return
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)

    def drop_others(self) -> None:
        """Release every file that is not at the database's path. No connection to them may be open."""
        try:
            current = file_id(self._path)
        except OSError:
            return  # removed: what is locked is what was there
        for held in [held for held in self._held if held != current]:
            os.close(self._held.pop(held))

    def close(self) -> None:
        """Release all files. No connection to the database may be open."""
        while self._held:
            os.close(self._held.popitem()[1])


@contextmanager
def locked(path: Path) -> Iterator[FileLock]:
    """Lock the database file for this process.

    Args:
        path: The database file. It need not exist.

    Raises:
        StoreLocked: Another process holds it, under this name or another one.
        StoreUnreadable: The lock can't be made, or the file may not be written.
    """
    for name in (path, Path(f"{path}.lock"), beside(path)):
        refuse_special(name)
    refuse_bind_mount(path)
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    except OSError as error:
        raise StoreUnreadable(
            f"{path}.lock: {error.strerror}", hint="set DB_PATH to where you may write"
        ) from None
    lock = FileLock(path)
    try:
        _lock_name(descriptor, path)
        _lock_existing(lock, path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield lock
        os.ftruncate(descriptor, 0)
    finally:
        lock.close()
        # The file stays: removing it would let two processes lock two files of one name.
        os.close(descriptor)


def refuse_special(path: Path) -> None:
    """Refuse what is no regular file, before it is opened. Raises StoreUnreadable."""
    kind = special_kind(path)
    if kind is not None:
        raise StoreUnreadable(f"{path} is {kind}, not a file", hint="set DB_PATH to the path of a file")


def refuse_bind_mount(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> None:
    """Refuse a database file that is itself a mount point, as containers make one of a single file.

    A rename over it fails (EBUSY), and its journal lies in another file system: a crash could not be undone.

    Args:
        path: The database file.
        mounts: What the kernel says of the mounts; where it says nothing nothing is refused.

    Raises:
        StoreUnreadable: It is one.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    points = {
        re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split(" ")[4]) for line in lines
    }
    resolved = path.resolve()
    if str(resolved) in points and not resolved.is_dir():
        raise StoreUnreadable(
            f"{path} is mounted by itself: the recorder must be able to replace the file and to write beside it",
            hint=f"mount its directory {resolved.parent} instead",
        )


def _lock_name(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        raise StoreLocked(
            f"{path} is in use by process {holder}", hint="stop it, or set another DB_PATH"
        ) from None


def _lock_existing(lock: FileLock, path: Path) -> None:
    """Lock the file at the path, where there is one; what is no file is refused by who looks into it."""
    try:
        while path.exists() and stat.S_ISREG(path.stat().st_mode):
            lock.take(path)
            before = set(lock._held)
            lock.drop_others()
            if set(lock._held) == before:
                return
            # Renamed over between opening and locking: what is at the path now is another file.
    except OSError as error:
        raise StoreUnreadable(
            f"{path}: {error.strerror}", hint="it was left as it is; the recorder must be able to write to it"
        ) from None


def _lock_byte(descriptor: int, path: Path) -> None:
    """Lock the byte. Raises StoreLocked."""
    if sys.platform != "linux":
        return
    # struct flock: type, whence, start, length, pid (0 for a lock of this kind), padded to the kernel's size.
    wanted = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, LOCKED_BYTE, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
    except (BlockingIOError, PermissionError):
        raise StoreLocked(
            f"{path} is in use by another process, under another name or with its lock file removed",
            hint=f"find it with 'fuser {path}' and stop it, or set another DB_PATH",
        ) from None
    except OSError as error:
        logger.bind(db_path=str(path), error=error.strerror).warning(
            "the file system does not lock parts of files: a second name of the database is not noticed"
        )


@dataclass(frozen=True, slots=True)
class Place:
    """The position that a file has reached.

    Args:
        recording: Which recording it is.
        tenure: Which start of a recorder wrote to it last.
        turn: How many transactions that start has made.
        seq: The last seq that it has, or has had.
        hash: The chain's hash there, in hex; "" where there is none.
    """

    recording: str
    tenure: str
    turn: int
    seq: int
    hash: str


def beside(path: Path) -> Path:
    """Return the path of the file that lies beside a database."""
    return path.with_name(f"{path.name}.tenure")


def read_beside(path: Path) -> Place | None:
    """Return what the file beside a database says; None where there is none, or it cannot be read as one."""
    try:
        place = Place(**json.loads(read_file(beside(path))))
    except (OSError, ValueError, TypeError):
        return None
    kinds = (str, str, int, int, str)
    values = (place.recording, place.tenure, place.turn, place.seq, place.hash)
    return place if all(map(isinstance, values, kinds)) else None


def place_of(conn: sqlite3.Connection, meta: Mapping[str, str]) -> Place:
    """Return where a database has come to.

    Args:
        conn: The database.
        meta: Its small facts.
    """
    seq, found, _ = span.end(conn)
    turn = meta.get("turn", "")
    return Place(
        meta.get("recording", ""),
        meta.get("tenure", ""),
        int(turn) if turn.isdecimal() else -1,
        seq,
        "" if found is None else found.hex(),
    )


def reason_for_new_epoch(
    meta: Mapping[str, str], place: Place, beside: Place | None, segments: Collection[int]
) -> str | None:
    """Return why the epoch of a file may not go on, in words; None where it may.

    Args:
        meta: The file's small facts.
        place: Where the file has come to.
        beside: What the file beside it says.
        segments: The numbers of the segments of the commit log that are there.
    """
    if "epoch" not in meta:
        return "first start"
    reason = _copy_reason(meta, place, beside)
    if reason is not None:
        return reason
    if meta.get("clean") == "1":
        return None
    if meta.get("durability") != "commit":
        return NOT_STOPPED
    named = meta.get("segment")
    if named is None and segments:
        return None  # an older release named none; what is there joins, or the start is refused
    if named is None or not named.isdecimal() or int(named) not in segments:
        return "the commit log that belongs to the file is gone"
    return None


def _copy_reason(meta: Mapping[str, str], place: Place, beside: Place | None) -> str | None:
    """Return how it shows that a file is not as the last recorder left it; None where nothing shows."""
    if "copied" in meta:
        return "the file is a copy"
    if not place.tenure:
        # No release has left its mark in the file, as before this one: the file is what there is to go by.
        return None if beside is None else "an older copy of the file was put back"
    if beside is None:
        return "the file NAME.tenure is missing, or cannot be read: the database may be a copy"
    is_starting = place.turn == 1 and beside.tenure == meta.get("prior_tenure")
    if beside.recording != place.recording or (beside.tenure != place.tenure and not is_starting):
        return "the file is not the one that a recorder wrote to here last"
    if is_starting and beside.tenure != place.tenure:
        return None  # a crash between the first transaction and what is written beside it
    if place.turn < beside.turn:
        return "an older copy of the file was put back"
    if place.turn == beside.turn and (place.seq, place.hash) != (beside.seq, beside.hash):
        return "another program, or an older release, has written to the file"
    return None


class FileIdentity:
    """The identity of one database file, from its lock on.

    All methods that take a connection run on the thread of the file's connection.

    Args:
        path: The database file; it exists.
        lock: Holds it.
        attest: Signs in each transaction, as its last step but the turn, what the file says then; None signs nothing.
        distrust: Asked of a file that another program has written to: what does not hold in it; None where all does.
    """

    def __init__(
        self,
        path: Path,
        lock: FileLock,
        attest: Callable[[sqlite3.Connection], None] | None = None,
        distrust: Callable[[sqlite3.Connection], str | None] = lambda conn: None,
    ) -> None:
        self._path = path
        self._attest = attest
        self._distrust = distrust
        self._version: int | None = None  # SQLite's: another one once somebody else has written to the file
        self.lock = lock
        self._file = file_id(path)
        self._place: Place | None = (
            None  # where our last transaction has left the file; None before the first
        )
        self._maybe: Place | None = None  # the same of a transaction that failed while it was committed
        self._beside = -1  # a descriptor

    @property
    def is_in_place(self) -> bool:
        """Return whether the file at the path is ours, by its inode."""
        try:
            return file_id(self._path) == self._file
        except OSError:
            return False

    def check_place(self) -> None:
        """Raise OSError where the path names another file than it did, or none."""
        if file_id(self._path) != self._file:
            raise OSError(errno.ESTALE, "another file has taken its place", str(self._path))

    def switch(self) -> None:
        """Take the file that is at the path now for ours; the connection is open on it already."""
        self.lock.drop_others()
        self._file = file_id(self._path)
        self._version = None

    def verify(self, conn: sqlite3.Connection) -> None:
        """Compare the file with what was written to it last.

        Raises:
            OSError: It is another one, or was changed by somebody else (ESTALE).
            sqlite3.Error: It cannot be read at the moment.
        """
        self.check_place()
        if self._place is None:
            return
        try:
            found = place_of(conn, dict(conn.execute("SELECT key, value FROM meta").fetchall()))
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _NOT_OURS:
                raise
            raise OSError(errno.ESTALE, REPLACED, str(self._path)) from error
        if found == self._maybe:
            self._place, self._maybe = found, None
        elif found != self._place:
            raise OSError(errno.ESTALE, REPLACED, str(self._path))
        self._verify_changes(conn)

    def _verify_changes(self, conn: sqlite3.Connection) -> None:
        """Verify the file if another program has written to it since. Raises as `verify`."""
        version = int(conn.execute("PRAGMA data_version").fetchone()[0])
        if version == self._version:
            return
        reason = None if self._version is None else self._distrust(conn)
        if reason is not None:
            raise OSError(errno.ESTALE, f"{REPLACED} ({reason})", str(self._path))
        self._version = version

    def begin(self, conn: sqlite3.Connection) -> None:
        """Begin a transaction on the file. Raises as `verify`; no transaction is open then."""
        try:
            conn.execute("BEGIN IMMEDIATE")
            self.verify(conn)
        except sqlite3.DatabaseError as error:
            _roll_back(conn)
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_OURS:
                raise OSError(errno.ESTALE, REPLACED, str(self._path)) from error
            raise
        except OSError:
            _roll_back(conn)
            raise

    def commit(self, conn: sqlite3.Connection) -> None:
        """Commit the transaction, one turn on, and say so beside the file. Raises sqlite3.Error."""
        place = self._place
        if place is None:  # a start repairs what a crash has left, before its own first transaction
            conn.execute("COMMIT")
            return
        if self._attest is not None:
            self._attest(conn)
        seq, found, _ = span.end(conn)
        turn = place.turn + 1
        self._end(conn, Place(place.recording, place.tenure, turn, seq, "" if found is None else found.hex()))

    @contextmanager
    def transaction(self, conn: sqlite3.Connection) -> Iterator[None]:
        """Run the block in a transaction of ours. What raises in it is rolled back."""
        self.begin(conn)
        try:
            yield
            self.commit(conn)
        except BaseException:
            _roll_back(conn)
            raise

    @contextmanager
    def starting(self, conn: sqlite3.Connection) -> Iterator[None]:
        """Run the block in the first transaction of a start, and begin a tenure with it."""
        self.check_place()
        conn.execute("BEGIN IMMEDIATE")
        try:
            yield
            meta = dict(conn.execute("SELECT key, value FROM meta").fetchall())
            conn.execute("DELETE FROM meta WHERE key = 'copied'")
            set_meta(conn, prior_tenure=meta.get("tenure", ""))
            seq, found, _ = span.end(conn)
            recording = meta.get("recording") or secrets.token_hex(16)
            set_meta(conn, recording=recording, unsigned="0" if self._attest is not None else "1")
            if self._attest is not None:
                self._attest(conn)
            last = "" if found is None else found.hex()
            self._end(conn, Place(recording, secrets.token_hex(16), 1, seq, last))
        except BaseException:
            _roll_back(conn)
            raise
        self.write_beside()

    def stamp(self, conn: sqlite3.Connection, meta: Mapping[str, str]) -> None:
        """Write into a file that is made anew out of memory, inside its transaction, which it is.

        Args:
            conn: The new file.
            meta: The small facts in memory.
        """
        assert self._place is not None
        set_meta(conn, **meta)
        _write_place(conn, self._place)
        if self._attest is not None:
            self._attest(conn)
        seq, found, _ = span.end(conn)
        last = "" if found is None else found.hex()
        place = Place(self._place.recording, self._place.tenure, self._place.turn + 1, seq, last)
        _write_place(conn, place)
        self._maybe = place

    def write_beside(self) -> None:
        """Rewrite the file beside the database; it is on disk when this returns. Raises OSError."""
        if self._place is None:
            return
        new = self._path.with_name(f"{self._path.name}.tenure.new")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(new, flags, FILE_MODE)
        try:
            os.pwrite(descriptor, _beside_bytes(self._place), 0)
            os.fsync(descriptor)
            new.rename(beside(self._path))
            _sync_directory(self._path.parent)
        except BaseException:
            os.close(descriptor)
            new.unlink(missing_ok=True)
            raise
        self.close()
        self._beside = descriptor

    def close(self) -> None:
        """Close the file beside the database."""
        if self._beside >= 0:
            os.close(self._beside)
            self._beside = -1

    def _end(self, conn: sqlite3.Connection, place: Place) -> None:
        _write_place(conn, place)
        self._maybe = place
        conn.execute("COMMIT")
        self._place, self._maybe = place, None
        if self._version is None:
            self._version = int(conn.execute("PRAGMA data_version").fetchone()[0])
        if self._beside >= 0:
            with suppress(OSError):  # it may lag
                os.pwrite(self._beside, _beside_bytes(place), 0)


_NOT_OURS = frozenset(
    {
        sqlite3.SQLITE_ERROR,  # a table is missing
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_SCHEMA,
    }
)
"""What SQLite says of a file whose content was replaced under an open connection."""


def _write_place(conn: sqlite3.Connection, place: Place) -> None:
    set_meta(conn, recording=place.recording, tenure=place.tenure, turn=str(place.turn))


def _beside_bytes(place: Place) -> bytes:
    return json.dumps(asdict(place)).encode().ljust(BESIDE_BYTES - 1) + b"\n"


def _roll_back(conn: sqlite3.Connection) -> None:
    if conn.in_transaction:
        conn.execute("ROLLBACK")


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
