"""`recorder stats`: how much is recorded, and how fresh the file is."""

from __future__ import annotations

from typing import Any

import orjson

from recorder.cli import console
from recorder.cli import database as dbfile
from recorder.cli.database import DbOption
from recorder.cli.history import JsonOption
from recorder.cli.http import DEFAULT_URL, OptionalUrl, Remote


def stats(json: JsonOption = False, url: OptionalUrl = None, db: DbOption = None) -> None:
    """Show how much is recorded."""
    if db is not None:
        with dbfile.opened(db) as conn:
            figures = dbfile.statistics(conn, db)
    else:
        with Remote(url or DEFAULT_URL) as remote:
            figures = remote.get_json("/api/stats")
    if json or not console.stdout_is_terminal():
        console.out(orjson.dumps(figures) + b"\n")
        return
    width = max(map(len, figures), default=0)
    for name, value in figures.items():
        console.out_line(f"{name:<{width}}  {_shown(value)}")


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return console.visible(value if isinstance(value, str) else orjson.dumps(value).decode())
