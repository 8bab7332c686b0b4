"""Which file the database is: one object owns that, from the lock to the signature.

A name is not an identity, nor is an inode: a file can have two names, its lock file can be removed, another file can
be copied over it, and a copy of it can be put back later. `FileLock` keeps other processes away from the file:

* `NAME.lock` is locked by flock and holds our pid, so that a second recorder can say who holds the file.
* On Linux one byte of the database's own inode is locked, too, by a lock that belongs to an open file description
  (OFD): a second name of the file leads to the same lock. The byte lies far behind everything that SQLite locks, so
  readers and SQLite are not disturbed.
* A file that is going to take the database's place is locked before it gets the name.

While SQLite is connected nobody in this process may open and close the database by hand: closing any descriptor of a
file drops all of the process's locks on it, SQLite's among them. The descriptor of the lock stays open for life.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loguru import logger

from recorder.core.errors import StoreLocked, StoreUnreadable

FILE_MODE = 0o600
LOCKED_BYTE = 1 << 62
"""The byte of the inode that is locked. SQLite locks bytes around 2^30; a file never grows to here."""

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
        """Let go of every file that is not at the database's path. No connection to them may be open."""
        try:
            current = file_id(self._path)
        except OSError:
            return  # removed: what is locked is what was there
        for held in [held for held in self._held if held != current]:
            os.close(self._held.pop(held))

    def close(self) -> None:
        """Let go of all. No connection to the database may be open."""
        while self._held:
            os.close(self._held.popitem()[1])


@contextmanager
def locked(path: Path) -> Iterator[FileLock]:
    """Hold the database file for this process.

    Args:
        path: The database file. It need not exist.

    Raises:
        StoreLocked: Another process holds it, under this name or another one.
        StoreUnreadable: The lock can't be made, or the file may not be written.
    """
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
