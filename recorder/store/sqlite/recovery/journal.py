"""The rest of a transaction that a crash interrupted, rolled back in a copy first.

SQLite plays a journal back into the file when it is opened, and removes it. Where the journal or the file is damaged,
what comes of that is worse than what there was, and cannot be taken back: a file that is then refused would not have
been left as it was. It costs a copy of the file, after a crash in the middle of a snapshot only.

Until the journal is played back the file says nothing about itself, and its header is no exception: the journal may hold
the first page. So nothing of a file is looked at before this.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from loguru import logger

from recorder.core.errors import StoreDamaged, StoreUnreadable
from recorder.store.sqlite import files
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.identity import FILE_MODE
from recorder.store.sqlite.recovery import check as checking
from recorder.store.sqlite.recovery.backups import free_name


def check_at_rest(path: Path) -> None:
    """Check a file before anything modifies it; if it has a journal, in a copy with the journal rolled back.

    Args:
        path: The file; its lock is ours.

    Raises:
        StoreUnreadable: The file can't be used; it and its journal are as they were.
    """
    try:
        with played_back(path) as image:
            files.check_file(path, image)
            if image is not None:
                _check(image)
    except OSError as error:
        _go_on_without_copy(path, error)
    except (StoreDamaged, sqlite3.Error) as error:
        raise files.unreadable(path, error) from error


@contextmanager
def played_back(path: Path) -> Iterator[Path | None]:
    """Make a copy of a file with its journal rolled back, for the duration of the block; None if there is no
    journal.

    Args:
        path: The file; its lock is ours. It and its journal are left as they are.

    Raises:
        sqlite3.Error: SQLite can't make a database of the two.
        OSError: They can't be read, or the copy can't be written.
    """
    journal = _journal(path)
    copy = path.with_name(f"{path.name}.rehearsal")
    # The lock is ours, so files of these names were left by a crash.
    _remove(copy)
    if not _is_needed(journal):
        yield None
        return
    try:
        shutil.copyfile(path, copy)
        shutil.copyfile(journal, _journal(copy))
        for made in (copy, _journal(copy)):
            made.chmod(FILE_MODE)
        with closing(connect_sqlite(str(copy))) as conn:
            conn.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield copy
    finally:
        _remove(copy)


def set_stray_aside(path: Path, now_ms: int) -> None:
    """Put a journal aside whose database file is gone: it would be played back into the new one.

    Args:
        path: The database file; its lock is ours.
        now_ms: For the name aside.

    Raises:
        StoreUnreadable: It can't be renamed.
    """
    journal = _journal(path)
    if os.path.lexists(path) or not _is_needed(journal):
        return
    name = free_name(path, "stray", now_ms)
    aside = name.with_name(f"{name.name}-journal")
    try:
        journal.rename(aside)
        files.sync(path.parent)
    except OSError as error:
        raise files.unreadable(journal, error) from error
    logger.bind(db_path=str(path), journal=str(aside)).warning(
        "there is a journal without its database file; it was renamed, and a new recording begins"
    )


def _check(image: Path) -> None:
    with closing(connect_sqlite(str(image))) as conn:
        checking.check(conn)
        # A journal that was cut may undo a table and not its index: the next write would fail, too late.
        found = conn.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise StoreDamaged(found)


def _go_on_without_copy(path: Path, error: OSError) -> None:
    """Let SQLite roll the journal back without a trial: a recorder that does not start on a full disk is no
    better.
    """
    try:
        files.check_file(path)
    except StoreDamaged:
        # What the header says counts only once the journal is played back: nobody knows that this is damage.
        size = path.stat().st_size
        raise StoreUnreadable(
            f"{path}: a crash interrupted a snapshot, and it can't be rolled back in a copy first: {error.strerror}",
            hint=f"it was left as it is; free {size} bytes beside it, and start again",
        ) from error
    logger.bind(db_path=str(path), error=error.strerror).warning(
        "a crash interrupted a snapshot; it is rolled back without a trial on a copy"
    )


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")


def _is_needed(journal: Path) -> bool:
    """Return whether SQLite would roll back with this journal: its first byte is not zero."""
    try:
        with journal.open("rb") as file:
            return file.read(1) not in (b"", b"\0")
    except FileNotFoundError:
        return False


def _remove(copy: Path) -> None:
    for left in (copy, _journal(copy)):
        left.unlink(missing_ok=True)
