"""`recorder query`: some of what is recorded, as a table for people or as lines for programs."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import chain
from typing import Annotated, Literal, NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recorder.bridges.imports import rawjson
from recorder.bridges.imports.records import Unfit
from recorder.cli import console
from recorder.cli import database as dbfile
from recorder.cli.database import DbOption
from recorder.cli.http import DEFAULT_URL, OptionalUrl, Remote
from recorder.cli.options import After, Before, Filters, Sessions, Since, Types, Until, filters
from recorder.core.errors import ClientError
from recorder.wire.export import ExportRow, ndjson_line, row_of_item

PAGE = 1000
_SHOWN_CHARS = 400

JsonOption = Annotated[bool, typer.Option("--json", help="Lines of JSON even on a terminal.")]


def query(
    session: Sessions = None,
    type: Types = None,  # noqa: A002 - the option's name
    since: Since = None,
    until: Until = None,
    after: After = None,
    before: Before = None,
    order: Annotated[
        Literal["desc", "asc"], typer.Option("--order", help="Newest or oldest first.")
    ] = "desc",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 100,
    json: JsonOption = False,
    url: OptionalUrl = None,
    db: DbOption = None,
) -> None:
    """Show some of what is recorded, newest first."""
    wanted = filters(session, type, since, until, (after, before))
    if db is not None:
        with dbfile.opened(db) as conn:
            show(dbfile.rows(conn, wanted, descending=order == "desc", limit=limit), as_json=json)
    else:
        with Remote(url or DEFAULT_URL) as remote, closing(pages(remote, wanted, order, limit)) as found:
            show(chain.from_iterable(page.rows for page in found), as_json=json)


class Page(NamedTuple):
    """Some of a server's history: the epoch it is in, the entries, and where the next page begins, if any."""

    epoch: str
    rows: list[ExportRow]
    following: str | None


def pages(remote: Remote, wanted: Filters, order: str, limit: int) -> Generator[Page, None, None]:
    """What a server has, page by page; at least one.

    Args:
        remote: The server.
        wanted: Which entries.
        order: desc or asc.
        limit: At most so many.
    """
    cursor: list[tuple[str, str]] = []
    while True:
        params = [*wanted.params(), ("order", order), ("limit", str(min(limit, PAGE))), *cursor]
        page = _page(remote.get("/api/deltas", params))
        yield page
        limit -= len(page.rows)
        if page.following is None or limit <= 0:
            return
        cursor = [("cursor", page.following)]


def _page(body: bytes) -> Page:
    try:
        page = rawjson.members(body)
        rows = [row_of_item(item) for item in rawjson.elements(page["deltas"])]
        return Page(rawjson.string(page["epoch"]) or "", rows, rawjson.string(page.get("next")))
    except (Unfit, KeyError, ValueError):
        raise ClientError("the answer is not a recorder's", hint="is something else at --url?") from None


def show(rows: Iterable[ExportRow], *, as_json: bool) -> None:
    """Print entries: a table on a terminal, else lines of JSON with the states byte for byte."""
    if as_json or not console.stdout_is_terminal():
        for row in rows:
            console.out(ndjson_line(row))
        return
    table = Table(
        "seq", "recorded at", "type", "session", "state", box=None, pad_edge=False, header_style="bold"
    )
    table.columns[0].justify = "right"
    table.columns[4].no_wrap, table.columns[4].ratio = True, 1
    for row in rows:
        table.add_row(*map(Text, _cells(row)))
    Console().print(table)


def _cells(row: ExportRow) -> tuple[str, str, str, str, str]:
    state = row.after if row.after is not None else row.before or ""
    shown = console.visible(" ".join(state[:_SHOWN_CHARS].split()))
    return str(row.seq), row.recorded_at, row.type, console.visible(row.session_id), shown
