"""What the commands about one session share: which point is meant, and a state out of a file.

A point is a seq, a time, or how long ago. A file answers as a server does, but for what only a server says: a point
before everything that is kept is simply not known there.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

import typer

from recorder.cli import database as dbfile
from recorder.cli.options import Filters
from recorder.cli.timeparse import HELP, moment
from recorder.core.delta import DELETED
from recorder.core.errors import InvalidQuery, NotFound
from recorder.core.position import MAX_SEQ

Session = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.", show_default=False)]
POINT_HELP = f"a seq, {HELP}"


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the recording: a seq, or a time in the fixed-width form."""

    seq: int | None = None
    time: str | None = None

    @property
    def text(self) -> str:
        """As a server takes it."""
        return str(self.seq) if self.time is None else self.time


@dataclass(frozen=True, slots=True)
class StateOf:
    """A session's state in a file.

    Args:
        seq: The delta that made it.
        text: JSON text; `null` where the session is deleted.
    """

    seq: int
    text: str


def point(typed: str | None, option: str) -> Point | None:
    """The point that was meant; None where none was typed.

    Raises:
        InvalidQuery: It is none.
    """
    if typed is None:
        return None
    if not (typed.isascii() and typed.isdigit()):
        try:
            return Point(time=moment(typed, option))
        except InvalidQuery:
            raise InvalidQuery(f"{option}: {typed[:60]!r} is not {POINT_HELP}") from None
    if len(typed) > 19 or int(typed) > MAX_SEQ:
        raise InvalidQuery(f"{option}: {typed[:40]} is not a seq")
    return Point(seq=int(typed))


def path(session: str, *more: str) -> str:
    """The path of a session's route."""
    name = quote(session, safe="")
    if name in (".", ".."):
        # As they stand they mean directories, which are taken out of a path before it is asked for.
        name = name.replace(".", "%2E")
    return "/".join(("/api/sessions", name, *more))


def state_in(conn: sqlite3.Connection, session: str, at: Point | None) -> StateOf | None:
    """A session's state in a file; None where it is not known there then.

    Raises:
        NotFound: Its content was erased.
    """
    at = at or Point(seq=MAX_SEQ - 1)
    wanted = Filters((session,), until=at.time, before=None if at.seq is None else at.seq + 1)
    row = next(dbfile.rows(conn, wanted, descending=True, limit=1), None)
    if row is None:
        return _base(conn, session, at)
    if row.type == DELETED:
        return StateOf(row.seq, "null")
    return StateOf(row.seq, _there(row.after, row.seq))


def _base(conn: sqlite3.Connection, session: str, at: Point) -> StateOf | None:
    """The state that retention has kept, where that is as old as the point."""
    column, value = ("seq", at.seq) if at.time is None else ("recorded_at", at.time)
    try:
        sql = f"SELECT seq, state FROM session_bases WHERE session_id = ? AND {column} <= ?"
        found = conn.execute(sql, (session, value)).fetchone()
    except sqlite3.OperationalError:
        return None  # a file without that table: nothing of it was pruned
    return None if found is None else StateOf(found[0], _there(found[1], found[0]))


def _there(state: str | None, seq: int) -> str:
    if state is None:
        raise NotFound(f"the state that delta {seq} made was erased")
    return state
