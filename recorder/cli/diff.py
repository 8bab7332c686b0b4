"""`recorder diff`: what changed in a session between two points."""

from __future__ import annotations

import sqlite3
from typing import Annotated

import typer

from recorder.cli import console
from recorder.cli import database as dbfile
from recorder.cli import session as sessions
from recorder.cli.database import DbOption
from recorder.cli.http import DEFAULT_URL, OptionalUrl, Remote
from recorder.cli.session import POINT_HELP, Point, Session
from recorder.core.errors import InvalidQuery, NotFound
from recorder.core.json_patch import Inexpressible, json_patch, merge_patch


def diff(
    session: Session,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="POINT",
            help=f"From {POINT_HELP}; by default from the delta before.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="POINT", help=f"To {POINT_HELP}; by default to now.", show_default=False
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="As a merge patch (RFC 7396), not a JSON Patch (RFC 6902).")
    ] = False,
    url: OptionalUrl = None,
    db: DbOption = None,
) -> None:
    """Show what changed in a session between two points, as a patch; by default what its last delta changed."""
    start, end = sessions.point(from_, "--from"), sessions.point(to, "--to")
    if db is not None:
        with dbfile.opened(db) as conn:
            text = _diff_in(conn, session, (start, end), merge=merge)
    else:
        given = [(name, at.text) for name, at in (("from", start), ("to", end)) if at is not None]
        with Remote(url or DEFAULT_URL) as remote:
            asked = [*given, ("as", "merge" if merge else "patch")]
            text = remote.get(sessions.path(session, "diff"), asked)
    console.out(text + b"\n")


def _diff_in(
    conn: sqlite3.Connection, session: str, points: tuple[Point | None, Point | None], *, merge: bool
) -> bytes:
    start, end = points
    after = sessions.state_in(conn, session, end)
    if start is None and after is not None:
        start = Point(seq=after.seq - 1)
    before = sessions.state_in(conn, session, start)
    if before is None and after is None:
        raise NotFound(f"session {session[:80]!r} is not known then")
    texts = ["null" if found is None else found.text for found in (before, after)]
    try:
        return (merge_patch if merge else json_patch)(texts[0].encode(), texts[1].encode())
    except Inexpressible as error:
        raise InvalidQuery(f"--merge: {error}", hint="leave it out") from None
