"""`recorder migrate`: bring a database file to another version of its schema, with no recorder running on it.

Upward `recorder serve` does it by itself; this is the way to do it beforehand, and the way back, before an older
version of the recorder takes the file again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from recorder.cli import console
from recorder.clock import SystemClock
from recorder.errors import NotFound
from recorder.settings import load_settings
from recorder.store.sqlite import schema
from recorder.store.sqlite.migrations import migrate_file


def migrate(
    to: Annotated[
        int,
        typer.Option(
            "--to",
            metavar="N",
            min=schema.OLDEST_VERSION,
            max=schema.USER_VERSION,
            help=f"The version wanted, {schema.OLDEST_VERSION} to {schema.USER_VERSION}.",
        ),
    ],
    db: Annotated[
        Path | None,
        typer.Option("--db", metavar="FILE", help="The database file (default DB_PATH).", show_default=False),
    ] = None,
) -> None:
    """Bring a database file to another version of its schema.

    Each step is one transaction. A copy of the file as it was is kept beside it.
    """
    path = db.resolve() if db is not None else load_settings().db_path
    if not path.is_file():
        raise NotFound(f"{path}: no such file")
    was, copy = migrate_file(path, to, SystemClock().now_ms())
    answer = {"dbPath": str(path), "from": was, "to": to, "copy": None if copy is None else str(copy)}
    console.out(orjson.dumps(answer) + b"\n")
