"""What is left of a transaction that a crash has broken off, undone in a copy first.

SQLite plays a journal back into the file when it is opened, and removes it. Where the journal or the file is damaged,
what comes of that is worse than what there was, and cannot be taken back: a file that is then refused would not have
been left as it was. It costs a copy of the file, after a crash in the middle of a snapshot only.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from loguru import logger

from recorder.core.errors import StoreDamaged
from recorder.store.sqlite import files
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.identity import FILE_MODE
from recorder.store.sqlite.recovery import check as checking


def rehearse(path: Path) -> None:
    """Play back the journal of a file in a copy, where there is one that is needed, and check what comes of it.

    Args:
        path: The file; its lock is ours.

    Raises:
        StoreUnreadable: The file can't be used; it and its journal are as they were.
    """
    journal = _journal(path)
    copy = path.with_name(f"{path.name}.rehearsal")
    # The lock is ours, so files of these names were left by a crash.
    _remove(copy)
    try:
        if not _is_needed(journal):
            return
        shutil.copyfile(path, copy)
        shutil.copyfile(journal, _journal(copy))
        for made in (copy, _journal(copy)):
            made.chmod(FILE_MODE)
        with closing(connect_sqlite(str(copy))) as conn:
            checking.check(conn)
            # A journal that was cut may undo a table and not its index: the next write would fail, too late.
            found = conn.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if found != "ok":
                raise StoreDamaged(found)
    except OSError as error:
        # On a full disk there is no room for a copy, and a recorder that does not start is no help either.
        logger.bind(db_path=str(path), error=error.strerror).warning(
            "a crash has broken off a snapshot; it is undone without having been tried on a copy"
        )
    except (StoreDamaged, sqlite3.Error) as error:
        raise files.unreadable(path, error) from error
    finally:
        _remove(copy)


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")


def _is_needed(journal: Path) -> bool:
    """Whether SQLite would play it back: until it is, its first byte is not zero."""
    try:
        with journal.open("rb") as file:
            return file.read(1) not in (b"", b"\0")
    except FileNotFoundError:
        return False


def _remove(copy: Path) -> None:
    for left in (copy, _journal(copy)):
        left.unlink(missing_ok=True)
