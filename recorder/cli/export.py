"""`recorder export`: everything that is kept, or part of it, oldest first and whole.

A file is written beside its target and renamed when it is complete, so that a broken export never looks
like one. From a server the bytes are passed on as they come; from a database file the same encoder makes
the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from recorder.cli import console
from recorder.cli import database as dbfile
from recorder.cli.database import DbOption
from recorder.cli.files import replacing
from recorder.cli.http import DEFAULT_URL, OptionalUrl, Remote
from recorder.cli.options import After, Before, Filters, Sessions, Since, Types, Until, filters
from recorder.config.settings import load_settings
from recorder.wire.export import (
    CSV_HEADER,
    JSON_BETWEEN,
    JSON_CLOSE,
    JSON_EMPTY,
    JSON_OPEN,
    ExportRow,
    csv_line,
    json_item,
    ndjson_line,
)

FormatOption = Annotated[
    Literal["ndjson", "json", "csv"],
    typer.Option("--format", "-f", help="ndjson keeps every byte of the states and can be imported again."),
]


def export(
    format: FormatOption = "ndjson",  # noqa: A002 - the option's name
    session: Sessions = None,
    type: Types = None,  # noqa: A002 - the option's name
    since: Since = None,
    until: Until = None,
    after: After = None,
    before: Before = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write to this file instead of stdout.", show_default=False
        ),
    ] = None,
    url: OptionalUrl = None,
    db: DbOption = None,
) -> None:
    """Export what is recorded, oldest first."""
    wanted = filters(session, type, since, until, (after, before))
    with _target(output) as write:
        if db is not None:
            _from_file(db, format, wanted, write)
        else:
            _from_server(url or DEFAULT_URL, format, wanted, write)


def _from_file(db: Path, form: str, wanted: Filters, write: Callable[[bytes], object]) -> None:
    with dbfile.opened(db) as conn:
        wanted = dbfile.until_now(conn, wanted)
        with console.Steps("exporting", "deltas", dbfile.count(conn, wanted)) as steps:
            for piece in encoded(form, _counted(dbfile.rows(conn, wanted), steps)):
                write(piece)


def _counted(rows: Iterable[ExportRow], steps: console.Steps) -> Iterator[ExportRow]:
    for row in rows:
        yield row
        steps.advance(1)


def encoded(form: str, rows: Iterable[ExportRow]) -> Iterator[bytes]:
    """The rows in a format, in pieces.

    Args:
        form: ndjson, json or csv.
        rows: What to encode.
    """
    if form == "ndjson":
        yield from map(ndjson_line, rows)
    elif form == "csv":
        yield CSV_HEADER
        escapes = load_settings().csv_escape_formulas
        yield from (csv_line(row, escape_formulas=escapes) for row in rows)
    else:
        opening = JSON_OPEN
        for row in rows:
            yield opening + json_item(row)
            opening = JSON_BETWEEN
        yield JSON_CLOSE if opening == JSON_BETWEEN else JSON_EMPTY


def _from_server(url: str, form: str, wanted: Filters, write: Callable[[bytes], object]) -> None:
    with Remote(url) as remote, console.Steps("exporting", "bytes") as steps:
        for piece in remote.stream("/api/export", [("format", form), *wanted.params()]):
            write(piece)
            steps.advance(len(piece))


@contextmanager
def _target(output: Path | None) -> Iterator[Callable[[bytes], object]]:
    if output is None or str(output) == "-":
        yield console.out
    elif output.exists() and not output.is_file():
        # A device, a pipe: written to, never replaced.
        with output.open("wb") as file:
            yield file.write
    else:
        with replacing(output) as path, path.open("wb") as file:
            yield file.write
