"""The copies that are kept beside the database file: those from before a migration, and files that were found damaged.

Their names are the database's with what they are and when: `sessions.sqlite.schema1-20261120T120000Z`. Nothing here is
ever overwritten, read again or removed by the recorder; whoever runs it decides how long they stay.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from recorder.core.timestamps import format_ms
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.files import sync
from recorder.store.sqlite.identity import COPIED, FILE_MODE
from recorder.store.sqlite.rows import set_meta


def free_name(path: Path, label: str, now_ms: int) -> Path:
    """Return an unused name beside the database.

    Args:
        path: The database file.
        label: What it will be: `schema1`, `corrupt`.
        now_ms: The time in its name.
    """
    stamp = format_ms(now_ms)[:19].replace("-", "").replace(":", "")
    wanted = name = path.with_name(f"{path.name}.{label}-{stamp}Z")
    number = 1
    while os.path.lexists(name):
        number += 1
        name = wanted.with_name(f"{wanted.name}.{number}")
    return name


def name_aside(path: Path, name: Path) -> None:
    """Give a file a second name and move its journal there, as it does not belong to the next file of the
    first name.

    Args:
        path: The file. It keeps its name, until another one is renamed over it.
        name: The name aside.

    Raises:
        OSError: It could not be done.
    """
    try:
        os.link(path, name)
    except OSError:
        # Not every file system has a second name for a file.
        shutil.copy2(path, name)
        sync(name)
    for tail in ("-journal", "-wal", "-shm"):
        beside = path.with_name(path.name + tail)
        if beside.exists():
            beside.rename(name.with_name(name.name + tail))
    sync(path.parent)


def keep_copy(conn: sqlite3.Connection, path: Path, name: Path) -> None:
    """Write a consistent copy of a database, on disk when this returns; it has its name once it is whole.

    Args:
        conn: The database; no transaction may be open.
        path: Its file.
        name: Where the copy shall be, in the same directory.

    Raises:
        sqlite3.Error, OSError: It could not be written; nothing is left of it.
    """
    # Not a name of its own: the lock is ours, so a file of this name was left by a crash.
    part = path.with_name(f"{path.name}.copy")
    part.unlink(missing_ok=True)
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE))
        with closing(connect_sqlite(str(part))) as copy:
            # Until the rename a crash leaves nothing that anybody would read: no journal is needed, and one sync.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            # Where another program holds the file `backup` would wait for ever; this waits its time and raises.
            conn.execute("BEGIN")
            try:
                conn.execute("SELECT count(*) FROM sqlite_master")
                conn.backup(copy)
            finally:
                conn.execute("COMMIT")
            set_meta(copy, **COPIED)
        sync(part)
        part.rename(name)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)
