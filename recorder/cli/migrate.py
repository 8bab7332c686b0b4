"""`recorder migrate`: bring a database file to another version of its schema, with no recorder running on it.

Upward `recorder serve` does it by itself; this is the way to do it beforehand, and the way back, before an older
version of the recorder takes the file again.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from recorder.cli import console
from recorder.cli.options import JsonOption
from recorder.config.settings import load_settings
from recorder.core.clock import SystemClock
from recorder.core.errors import NotFound, StoreDamaged, StoreUnreadable
from recorder.store.sqlite import files, schema
from recorder.store.sqlite.commit_log import segment_files
from recorder.store.sqlite.connection import connect_file
from recorder.store.sqlite.identity import locked
from recorder.store.sqlite.migrations import migrate as migrate_database
from recorder.store.sqlite.recovery import check as checking
from recorder.store.sqlite.recovery.journal import check_at_rest


def migrate(
    to: Annotated[
        int,
        typer.Option(
            "--to",
            metavar="N",
            min=schema.OLDEST_VERSION,
            max=schema.USER_VERSION,
            help=f"The target version, {schema.OLDEST_VERSION} to {schema.USER_VERSION}.",
        ),
    ],
    db: Annotated[
        Path | None,
        typer.Option("--db", metavar="FILE", help="The database file (default DB_PATH).", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Migrate a database file to another version of its schema.

    Each step is one transaction. A copy of the file as it was is kept beside it.
    """
    path = db.resolve() if db is not None else load_settings().db_path
    if not path.is_file():
        raise NotFound(f"{path}: no such file")
    with locked(path):
        was, copy = _migrate(path, to)
    answer = {"dbPath": str(path), "from": was, "to": to, "copy": None if copy is None else str(copy)}
    told = f"{path}: schema {was} is now {to}; the file as it was is kept as {copy}"
    if copy is None:
        told = f"{path}: has schema {to} already"
    console.answer(answer, [told], as_json=json)


def _migrate(path: Path, to: int) -> tuple[int, Path | None]:
    """Return the version that the file had and the path of its copy; None if no migration was needed."""
    check_at_rest(path)
    left = segment_files(path)
    if left:
        raise StoreUnreadable(
            f"{left[0].path} has entries that are not in {path} yet, and an older version would not know them",
            hint="let this version's 'recorder serve' start on it and stop in order",
        )
    try:
        with closing(connect_file(path)) as conn:
            checking.check(conn)
            return schema.version(conn), migrate_database(conn, path, to, SystemClock().now_ms())
    except (StoreDamaged, sqlite3.Error) as error:
        raise files.unreadable(path, error) from error
