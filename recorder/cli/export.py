"""`recorder export`: everything that is kept, or part of it, oldest first and whole.

A file is written beside its target and renamed when it is complete, so that a broken export never looks like one. A
terminal that gets the data gets nothing else. From a server the bytes are passed on as they come; from a database file
the same encoder makes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from recorder.cli import console
from recorder.cli import database as dbfile
from recorder.cli.console import replacing
from recorder.cli.database import DbOption
from recorder.cli.http import DEFAULT_URL, OptionalUrl, Remote
from recorder.cli.options import (
    After,
    Before,
    Filters,
    HappenedSince,
    HappenedUntil,
    Lineage,
    Sessions,
    Since,
    Types,
    Until,
    filters,
)
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
    happened_since: HappenedSince = None,
    happened_until: HappenedUntil = None,
    after: After = None,
    before: Before = None,
    lineage: Lineage = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write to this file instead of stdout.", show_default=False
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="The same as --format ndjson: every answer can be had as JSON.")
    ] = False,
    url: OptionalUrl = None,
    db: DbOption = None,
) -> None:
    """Export recorded deltas, oldest first."""
    wanted = filters(session, type, since, until, (after, before), (happened_since, happened_until), lineage)
    if json and format != "ndjson":
        raise typer.BadParameter(f"not together with --format {format}", param_hint="--json")
    quiet = _is_stdout(output) and console.stdout_is_terminal()
    with _target(output) as write:
        if db is not None:
            amount = _from_file(db, format, wanted, write, quiet=quiet)
        else:
            amount = _from_server(url or DEFAULT_URL, format, wanted, write, quiet=quiet)
    if not _is_stdout(output):
        console.print_status(f"wrote {amount} to {output}")


def _is_stdout(output: Path | None) -> bool:
    return output is None or str(output) == "-"


def _from_file(db: Path, form: str, wanted: Filters, write: Callable[[bytes], object], *, quiet: bool) -> str:
    """Write what a file has; return how much that was, in words."""
    with dbfile.opened(db) as conn:
        wanted = dbfile.until_now(conn, wanted)
        with console.Steps("exporting", "deltas", dbfile.count(conn, wanted), quiet=quiet) as steps:
            for piece in encoded(form, _counted(dbfile.rows(conn, wanted), steps)):
                write(piece)
        return console.several(steps.done, "delta")


def _counted(rows: Iterable[ExportRow], steps: console.Steps) -> Iterator[ExportRow]:
    for row in rows:
        yield row
        steps.advance(1)


def encoded(form: str, rows: Iterable[ExportRow]) -> Iterator[bytes]:
    """Yield the rows encoded in a format, in pieces.

    Args:
        form: ndjson, json or csv.
        rows: What to encode.
    """
    if form == "ndjson":
        yield from map(ndjson_line, rows)
    elif form == "csv":
        yield CSV_HEADER
        # Not at the top: the command's help should not wait for the settings.
        from recorder.config.settings import load_settings

        escapes = load_settings().csv_escape_formulas
        yield from (csv_line(row, escape_formulas=escapes) for row in rows)
    else:
        opening = JSON_OPEN
        for row in rows:
            yield opening + json_item(row)
            opening = JSON_BETWEEN
        yield JSON_CLOSE if opening == JSON_BETWEEN else JSON_EMPTY


def _from_server(
    url: str, form: str, wanted: Filters, write: Callable[[bytes], object], *, quiet: bool
) -> str:
    """Write what a server sends; return how much that was, in words."""
    lines = 0
    with Remote(url) as remote, console.Steps("exporting", "bytes", quiet=quiet) as steps:
        for piece in remote.stream("/api/export", [("format", form), *wanted.params()]):
            write(piece)
            lines += piece.count(b"\n")
            steps.advance(len(piece))
        # In the other formats a line is not a delta: a state may have line breaks.
        return console.several(lines, "delta") if form == "ndjson" else console.several(steps.done, "byte")


@contextmanager
def _target(output: Path | None) -> Iterator[Callable[[bytes], object]]:
    if output is None or _is_stdout(output):
        yield console.out
    elif output.exists() and not output.is_file():
        # A device, a pipe: written to, never replaced.
        with output.open("wb") as file:
            yield file.write
    else:
        with replacing(output) as path, path.open("wb") as file:
            yield file.write
