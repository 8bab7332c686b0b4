"""`recorder state`: a session's state, now or as of any point, byte for byte as it was published."""

from __future__ import annotations

from typing import Annotated

import typer

from recorder.cli import console
from recorder.cli import database as dbfile
from recorder.cli import session as sessions
from recorder.cli.database import DbOption
from recorder.cli.http import DEFAULT_URL, OptionalUrl, Remote
from recorder.cli.session import POINT_HELP, Session
from recorder.core import json_text as jsontext
from recorder.core.errors import ClientError, NotFound


def state(
    session: Session,
    at: Annotated[
        str | None, typer.Option("--at", metavar="POINT", help=f"As of {POINT_HELP}.", show_default=False)
    ] = None,
    url: OptionalUrl = None,
    db: DbOption = None,
) -> None:
    """Show a session's state, now or as of a point; null where it is deleted."""
    point = sessions.point(at, "--at")
    if db is not None:
        with dbfile.opened(db) as conn:
            found = sessions.state_in(conn, session, point)
        if found is None:
            raise NotFound(f"session {session[:80]!r} is not known then")
        text = found.text.encode()
    else:
        with Remote(url or DEFAULT_URL) as remote:
            body = remote.get(sessions.path(session), [] if point is None else [("at", point.text)])
        text = _state_of(body)
    console.out(text + b"\n")


def _state_of(body: bytes) -> bytes:
    try:
        return jsontext.members(body, trusted=True)["state"]
    except (KeyError, jsontext.BadJson):
        raise ClientError("the answer is not a recorder's", hint="is something else at --url?") from None
