"""`recorder blame`: who changed one place in a session's state."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recorder.cli import console
from recorder.cli import database as dbfile
from recorder.cli import session as sessions
from recorder.cli.database import DbOption
from recorder.cli.history import JsonOption
from recorder.cli.http import DEFAULT_URL, OptionalUrl, Remote
from recorder.cli.options import Filters
from recorder.cli.session import Point, Session
from recorder.core import json_pointer as pointer
from recorder.core import json_text as jsontext
from recorder.core.errors import ClientError, InvalidQuery, NotFound
from recorder.core.json_blame import Blame
from recorder.wire.export import ExportRow

PAGE = 1000
_SHOWN_CHARS = 200


def blame(
    session: Session,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A place in its state, such as /plan/3/status (RFC 6901).")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 100,
    json: JsonOption = False,
    url: OptionalUrl = None,
    db: DbOption = None,
) -> None:
    """Show the deltas that touched one place in a session's state, newest first."""
    if db is not None:
        with dbfile.opened(db) as conn:
            _show(islice(_touches_in(conn, session, path), limit), as_json=json)
    else:
        with Remote(url or DEFAULT_URL) as remote:
            _show(islice(_touches_of(remote, session, path, limit), limit), as_json=json)


def _touches_of(remote: Remote, session: str, path: str, limit: int) -> Iterator[bytes]:
    """The touches a server tells of, walked back to the session's beginning as far as they are taken."""
    before: list[tuple[str, str]] = []
    while True:
        asked = [("path", path), ("limit", str(min(limit, PAGE))), *before]
        try:
            answer = jsontext.members(remote.get(sessions.path(session, "blame"), asked), trusted=True)
            yield from jsontext.elements(answer["touches"])
            following = orjson.loads(answer["next"])
        except (KeyError, ValueError):
            raise ClientError("the answer is not a recorder's", hint="is something else at --url?") from None
        if following is None:
            return
        before = [("before", str(following))]


def _touches_in(conn: sqlite3.Connection, session: str, path: str) -> Iterator[bytes]:
    try:
        walk = Blame[ExportRow](pointer.parse(path))
    except ValueError as error:
        raise InvalidQuery(f"PATH: {path[:80]!r}: {error}") from None
    rows = dbfile.rows(conn, Filters((session,)), descending=True)
    yield from (touch.text for touch in walk.back(rows))
    if walk.pending is None and not walk.erased and sessions.state_in(conn, session, None) is None:
        raise NotFound(f"nothing of session {session[:80]!r} is recorded")
    if walk.pending is not None and not walk.erased:
        kept = sessions.state_in(conn, session, Point(seq=walk.pending - 1))
        first = walk.begun(None if kept is None else kept.text)
        if first is not None:
            yield first.text


def _show(touches: Iterable[bytes], *, as_json: bool) -> None:
    """Print touches: a table on a terminal, else lines of JSON with the values byte for byte."""
    if as_json or not console.stdout_is_terminal():
        for touch in touches:
            # A value may have line breaks between its tokens, which JSON has as spaces just as well.
            console.out(touch.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
        return
    table = Table(
        "seq", "recorded at", "type", "before", "after", box=None, pad_edge=False, header_style="bold"
    )
    table.columns[0].justify = "right"
    for column in table.columns[3:]:
        column.no_wrap, column.ratio = True, 1
    for touch in touches:
        fields = jsontext.members(touch, trusted=True)
        cells = (orjson.loads(fields[name]) for name in ("recordedAt", "type"))
        values = (_cell(fields.get(name)) for name in ("before", "after"))
        table.add_row(*map(Text, (fields["seq"].decode(), *cells, *values)))
    Console().print(table)


def _cell(value: bytes | None) -> str:
    return "" if value is None else console.visible(" ".join(value.decode()[:_SHOWN_CHARS].split()))
