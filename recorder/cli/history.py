"""`recorder query` and `recorder stats`: some of what is recorded, and how much that is."""

from __future__ import annotations

import json as json_module
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain, islice
from typing import Annotated, Literal, NamedTuple

import orjson
import typer

from recorder.cli import console, table
from recorder.cli import database as dbfile
from recorder.cli.database import DbOption
from recorder.cli.http import DEFAULT_URL, OptionalUrl, Remote, not_a_recorder
from recorder.cli.options import (
    FILTER_PANEL,
    After,
    Before,
    Filters,
    HappenedSince,
    HappenedUntil,
    JsonOption,
    Lineage,
    Sessions,
    Since,
    Types,
    Until,
    filters,
)
from recorder.core import json_text
from recorder.core.json_changes import summarise
from recorder.wire.export import ExportRow, ndjson_line, row_of_item

PAGE = 1000
WIDE, NARROW = 100, 72
"""From so many columns on a table has whole times; with fewer it has no days."""
TYPE_STYLES = (("created", "green"), ("updated", "cyan"), ("deleted", "red"))


def query(
    session: Sessions = None,
    type: Types = None,  # noqa: A002 - the option's name
    since: Since = None,
    until: Until = None,
    happened_since: HappenedSince = None,
    happened_until: HappenedUntil = None,
    after: After = None,
    before: Before = None,
    lineage: Lineage = None,
    grep: Annotated[
        str | None,
        typer.Option(
            "--grep",
            metavar="TEXT",
            help="Only entries that say this somewhere: in the session's id or in a state, as it was sent.",
            show_default=False,
            rich_help_panel=FILTER_PANEL,
        ),
    ] = None,
    order: Annotated[
        Literal["desc", "asc"], typer.Option("--order", help="Newest or oldest first.")
    ] = "desc",
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")] = 100,
    json: JsonOption = False,
    url: OptionalUrl = None,
    db: DbOption = None,
) -> None:
    """List recorded deltas, newest first.

    On a terminal each line says what the delta changed; in a pipe each is the whole entry.
    """
    bounds, happened = (after, before), (happened_since, happened_until)
    wanted = filters(session, type, since, until, bounds, happened, lineage)
    most = None if grep else limit
    if db is not None:
        with dbfile.opened(db) as conn:
            found = dbfile.rows(conn, wanted, descending=order == "desc", limit=most)
            show(islice(matching(found, grep), limit), as_json=json)
    else:
        with Remote(url or DEFAULT_URL) as remote, closing(pages(remote, wanted, order, most)) as walk:
            found = chain.from_iterable(page.rows for page in walk)
            show(islice(matching(found, grep), limit), as_json=json)


def matching(rows: Iterable[ExportRow], text: str | None) -> Iterator[ExportRow]:
    """Yield the rows that say a text: in their session's id, or in a state's JSON; None is all of them.

    A state has the text where it stands there as it was typed, or as JSON may write it (with its escapes).
    """
    if text is None:
        yield from rows
        return
    wanted = {text, orjson.dumps(text).decode()[1:-1], json_module.dumps(text)[1:-1]}
    for row in rows:
        places = (row.session_id, row.before or "", row.after or "")
        if any(form in place for form in wanted for place in places):
            yield row


class Page(NamedTuple):
    """Some of a server's history: the epoch it is in, the entries, and where the next page begins, if any."""

    epoch: str
    rows: list[ExportRow]
    following: str | None


def pages(
    remote: Remote, wanted: Filters, order: str, limit: int | None = None
) -> Generator[Page, None, None]:
    """Yield what a server has, page by page; at least one.

    Args:
        remote: The server.
        wanted: Which entries.
        order: desc or asc.
        limit: At most so many; None for all.
    """
    cursor: list[tuple[str, str]] = []
    left = limit
    while True:
        size = PAGE if left is None else min(left, PAGE)
        page = _page(
            remote.get("/api/deltas", [*wanted.params(), ("order", order), ("limit", str(size)), *cursor])
        )
        yield page
        left = None if left is None else left - len(page.rows)
        if page.following is None or (left is not None and left <= 0):
            return
        cursor = [("cursor", page.following)]


def _page(body: bytes) -> Page:
    try:
        page = json_text.members(body)
        rows = [row_of_item(item) for item in json_text.elements(page["deltas"])]
        epoch, following = orjson.loads(page["epoch"]), orjson.loads(page["next"])
    except (json_text.BadJson, KeyError, ValueError):
        raise not_a_recorder() from None
    if not isinstance(epoch, str) or not isinstance(following, str | None):
        raise not_a_recorder()
    return Page(epoch, rows, following)


def show(rows: Iterable[ExportRow], *, as_json: bool) -> None:
    """Print entries: a table of what they changed on a terminal, else lines of JSON with the states byte for byte."""
    if not console.is_pretty(as_json):
        for row in rows:
            console.out(ndjson_line(row))
        return
    width = console.width()
    columns = (
        table.Column("seq", is_right=True),
        table.Column("time UTC", least=23, style="dim"),
        table.Column("type", least=7, styles=TYPE_STYLES),
        table.Column("session", least=8, is_name=True),
        table.Column("change"),
    )
    console.page(table.lines(columns, (_cells(row, width) for row in rows), width))


def _cells(row: ExportRow, width: int) -> tuple[str, str, str, str, str]:
    session = console.visible(row.session_id)
    return str(row.seq), time_cell(row.recorded_at, width), row.type, session, change_of(row)


def time_cell(at: str, width: int) -> str:
    """Return a time as far as a table of so many columns has room for it: when it was recorded, in UTC."""
    if width < NARROW:
        return at[11:19]
    return at[:23].replace("T", " ") if width >= WIDE else at[5:19].replace("T", " ")


def change_of(row: ExportRow) -> str:
    """Return what a delta changed, on one line, as the page tells it; marked where its lineage is broken."""
    erased = row.erased_before is not None or row.erased_after is not None
    text = summarise(row.type, row.before, row.after, erased=erased)
    mark = "! before is not what was recorded last · " if row.lineage is not None else ""
    return console.visible(mark + text)
