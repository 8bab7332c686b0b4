"""`recorder snapshot`: bring what is in memory to disk now, and with `--to` make a copy of the database.

The server is asked for the snapshot, and the copy is made here, from the file that stands alone afterwards:
a caller must not be able to name paths on the server. The copy is SQLite's own (`VACUUM INTO`), so it is
consistent whatever is written meanwhile; it appears complete or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from recorder.cli import console
from recorder.cli import database as dbfile
from recorder.cli.files import replacing
from recorder.cli.http import DEFAULT_URL, OptionalUrl, Remote
from recorder.config.settings import load_settings
from recorder.core.errors import NotAllowed, RecorderError
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.identity import COPIED
from recorder.store.sqlite.rows import Transaction, set_meta

_OPERATIONS = 200_000
"""Steps of SQLite's machine between two looks at how far it is: some tens of milliseconds."""


def snapshot(
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Then copy the database to this file.", show_default=False),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --to: replace the file if it is there.")
    ] = False,
    db: Annotated[
        Path | None,
        typer.Option(
            "--db", metavar="FILE", help="With --to: the database (default DB_PATH).", show_default=False
        ),
    ] = None,
    url: OptionalUrl = None,
) -> None:
    """Write a snapshot now.

    With --to also copy the database, consistently, whether a recorder runs or not.
    """
    if to is None:
        if db is not None or force:
            raise typer.BadParameter("only of use with --to", param_hint="--db" if db else "--force")
        with Remote(url or DEFAULT_URL) as remote:
            console.out(orjson.dumps(remote.post_json("/api/admin/snapshot", {})) + b"\n")
        return
    source = db.resolve() if db is not None else load_settings().db_path
    _refuse_target(to, source, force=force)
    _have_written(source, url)
    size = _copy(source, to)
    console.say(f"copied {source} to {to}, {size:,} bytes")


def _refuse_target(to: Path, source: Path, *, force: bool) -> None:
    if to.resolve() == source:
        raise NotAllowed(f"{to}: is the database itself")
    if to.exists() and (not force or not to.is_file()):
        raise NotAllowed(f"{to}: exists", hint="--force replaces a file")


def _have_written(source: Path, url: str | None) -> None:
    """Have the server that owns the file bring it up to date, or say that none was found."""
    with Remote(url or DEFAULT_URL) as remote:
        try:
            owned = remote.get_json("/api/stats").get("dbPath")
        except RecorderError:
            # At the default URL nothing runs, or something else does.
            if url is not None:
                raise
            owned = None
        if owned == str(source):
            remote.post_json("/api/admin/snapshot", {})
        elif url is None:
            console.say(f"no recorder of this file at {remote.url}: copying what is on disk")
        else:
            raise NotAllowed(
                f"{remote.url} records into {owned or 'nothing'}, not into {source}",
                hint="name its file with --db, or another recorder with --url",
            )


def _copy(source: Path, to: Path) -> int:
    with dbfile.opened(source) as conn, replacing(to) as path:
        total = _figure(conn, "page_count") * _figure(conn, "page_size")
        with console.Steps("copying", "bytes", total) as steps:
            conn.set_progress_handler(_watching(path, steps), _OPERATIONS)
            conn.execute("VACUUM INTO ?", (str(path),))
        _mark(path)
        _check(path)
        return path.stat().st_size


def _mark(path: Path) -> None:
    """Have the copy say that it is one: it begins a new epoch where a recorder is started on it."""
    with closing(connect_sqlite(str(path))) as conn, Transaction(conn):
        if conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is not None:
            set_meta(conn, **COPIED)


def _watching(path: Path, steps: console.Steps) -> Callable[[], int]:
    seen = 0

    def look() -> int:
        nonlocal seen
        size = path.stat().st_size
        steps.advance(size - seen)
        seen = size
        return 0  # anything else would end the copy

    return look


def _figure(conn: sqlite3.Connection, pragma: str) -> int:
    return int(conn.execute(f"PRAGMA {pragma}").fetchone()[0])


def _check(path: Path) -> None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as conn:
        found: list[tuple[Any, ...]] = conn.execute("PRAGMA quick_check(1)").fetchall()
    if found != [("ok",)]:
        raise sqlite3.DatabaseError(f"the copy is damaged: {found[0][0]}")
