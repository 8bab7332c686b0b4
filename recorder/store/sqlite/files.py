"""The database file's surroundings: its directory, its modes, and how a new file takes its place.

A file that is not ours is not even opened by SQLite, which would recover its journal or convert it: what is looked at
is its header, as bytes.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from loguru import logger

from recorder.core.errors import StoreDamaged, StoreError, StoreUnreadable
from recorder.store.sqlite import schema
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.identity import FILE_MODE, FileId, file_id

DIRECTORY_MODE = 0o700
_HEADER = b"SQLite format 3\x00"
_USER_VERSION, _APPLICATION_ID = slice(60, 64), slice(68, 72)
"""Where a SQLite file's header has them, big endian."""

WAYS_ON = "it was left as it is; put back a copy of it, or start with --allow-data-loss to go on with what can be saved"
DISK_HINT = "is the disk full, read-only or locked?"
REPLACED_HINT = (
    "put the right file back, or move this one away and the recording is written anew; until then all that is"
    " recorded is in memory only, and lost if the recorder stops"
)


def prepare_directory(path: Path) -> None:
    """Create the database file's directory, or correct its mode if it belongs only to us.

    Raises:
        StoreUnreadable: It cannot be made or written to.
    """
    directory = path.parent
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
        status = directory.stat()
        wider = stat.S_IMODE(status.st_mode) & ~DIRECTORY_MODE
        if wider and _is_ours(directory, path, status):
            directory.chmod(DIRECTORY_MODE)
        elif wider:
            logger.bind(directory=str(directory)).warning(
                "others may list the database's directory; it holds other files, so its mode is left alone"
            )
    except OSError as error:
        raise StoreUnreadable(
            f"{directory}: {error.strerror}", hint="set DB_PATH to where you may write"
        ) from None


def unreadable(path: Path, error: Exception) -> StoreUnreadable:
    """Return the error for a file that cannot be used: whether it is damaged, and what to do.

    Args:
        path: The file.
        error: Of SQLite, of the operating system, or StoreDamaged without the file's name.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the extended codes have the rest
    if isinstance(error, StoreDamaged) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(f"{path}: {error}", hint=WAYS_ON)
    reason = error.strerror if isinstance(error, OSError) else error
    return StoreUnreadable(f"{path}: {reason}", hint="it was left as it is")


def disk_failed(path: Path, error: sqlite3.Error | OSError) -> StoreError:
    """Return the error of a statement or a write to the database file that failed."""
    reason = error.strerror if isinstance(error, OSError) else error
    is_replaced = isinstance(error, OSError) and error.errno == errno.ESTALE
    return StoreError(f"{path}: {reason}", hint=REPLACED_HINT if is_replaced else DISK_HINT)


def create_if_missing(path: Path, lock: Callable[[Path], None] = lambda new: None) -> bool:
    """Create an empty database file under a temporary name and publish it by rename; return whether it was
    missing.

    Args:
        path: Where.
        lock: As for `publish`.

    Raises:
        StoreUnreadable: It cannot be made.
    """
    if path.exists() or path.is_symlink():
        return False
    try:
        publish(path, lambda conn: None, lock=lock)
    except OSError as error:
        raise StoreUnreadable(
            f"{path}: {error.strerror}", hint="set DB_PATH to where you may write"
        ) from None
    return True


def publish(
    path: Path,
    fill: Callable[[sqlite3.Connection], None],
    before: Callable[[], None] = lambda: None,
    *,
    lock: Callable[[Path], None] = lambda new: None,
) -> None:
    """Create a database file under a temporary name and publish it by rename; it is on disk when this
    returns.

    Args:
        path: Where.
        fill: Puts into the empty database what shall be in it.
        before: Called when all of it is on disk, right before the rename.
        lock: Locks the new file before it gets its name (`FileLock.take`).

    Raises:
        sqlite3.Error, OSError: It can't be made; what was at the path still is.
    """
    # The lock is ours, so a file of this name was left by a crash.
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE))
        with closing(connect_sqlite(str(new))) as conn:
            schema.create(conn)
            fill(conn)
        sync(new)
        lock(new)
        before()
        new.rename(path)
        sync(path.parent)
    finally:
        new.unlink(missing_ok=True)


def check_file(path: Path, image: Path | None = None) -> None:
    """Check an existing file before anything modifies it; correct its mode if it is ours.

    Args:
        path: The file.
        image: A copy of it in which its journal was played back: what the header says is read there.

    Raises:
        StoreUnreadable: It is not a database of ours, or of a newer version. It is left as it is.
    """
    untouched = "it was left as it is; move it away, or set another DB_PATH"
    try:
        with (image or path).open("rb") as file:
            header = file.read(100)
        status = path.stat()
        if len(header) < 100 or not header.startswith(_HEADER):
            raise StoreDamaged(f"{path} is not a SQLite database ({status.st_size} bytes)", hint=WAYS_ON)
        if int.from_bytes(header[_APPLICATION_ID], "big") != schema.APPLICATION_ID:
            raise StoreUnreadable(f"{path} is not a recorder's database", hint=untouched)
        version = int.from_bytes(header[_USER_VERSION], "big")
        if version > schema.USER_VERSION:
            raise StoreUnreadable(
                f"{path} has schema {version}, this version knows {schema.USER_VERSION}",
                hint="it was left as it is; use a newer recorder",
            )
        if version < schema.OLDEST_VERSION:
            raise StoreUnreadable(
                f"{path} has schema {version}, which no recorder has written", hint=untouched
            )
        if stat.S_IMODE(status.st_mode) & ~FILE_MODE:
            path.chmod(FILE_MODE)
    except OSError as error:
        raise unreadable(path, error) from None


def is_gone(path: Path) -> bool:
    """Return whether nothing has this name, not even a dangling link."""
    return not os.path.lexists(path)


def check_identity(path: Path, expected: FileId) -> None:
    """Raise OSError where a path names another file than it did, or none: what SQLite writes would go nowhere."""
    if file_id(path) != expected:
        raise OSError(errno.ESTALE, "another file has taken its place", str(path))


def sync(path: Path) -> None:
    """Sync a file or a directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_ours(directory: Path, path: Path, status: os.stat_result) -> bool:
    """Return whether a directory may be made private: it is our own and contains only the database and
    dotfiles.
    """
    if status.st_uid != os.geteuid() or status.st_mode & stat.S_ISVTX:
        return False
    return (
        all(entry.name.startswith((path.name, ".")) for entry in directory.iterdir())
        and directory.resolve() != Path.cwd()
    )
