"""Commands about one session: its state at any point, what changed between two, who changed one place in it.

A point is a seq, a time, or how long ago. A file answers as a server does, but for what only a server says: a point
before everything that is kept is simply not known there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer

from recorder.cli import console, table
from recorder.cli import database as dbfile
from recorder.cli.database import DbOption
from recorder.cli.history import PAGE, TYPE_STYLES, change_of, pages, time_cell
from recorder.cli.http import DEFAULT_URL, OptionalUrl, Remote, not_a_recorder
from recorder.cli.options import HELP, Filters, JsonOption, moment
from recorder.core import json_changes
from recorder.core import json_text as jsontext
from recorder.core.clock import SystemClock
from recorder.core.delta import DELETED
from recorder.core.errors import InvalidQuery, NotFound
from recorder.core.json_blame import Blame
from recorder.core.json_patch import Inexpressible, json_patch, merge_patch, parse_pointer
from recorder.core.position import MAX_SEQ
from recorder.core.timestamps import parse_ms
from recorder.wire.export import ExportRow

Session = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.", show_default=False)]
POINT_HELP = f"a seq, {HELP}"
SESSIONS_HINT = "'recorder sessions' lists the sessions"


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the recording: a seq, or a time in the fixed-width form."""

    seq: int | None = None
    time: str | None = None

    @property
    def text(self) -> str:
        """The point in the form that a server accepts."""
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
    """Return the point that was typed; None if nothing was typed.

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


def session_path(session: str, *more: str) -> str:
    """Return the path of a session's route."""
    name = quote(session, safe="")
    if name in (".", ".."):
        # As they stand they mean directories, which are taken out of a path before it is asked for.
        name = name.replace(".", "%2E")
    return "/".join(("/api/sessions", name, *more))


@contextmanager
def _hinting() -> Iterator[None]:
    """Add to a server's answer that there is no such session where to see which there are."""
    try:
        yield
    except NotFound as error:
        raise type(error)(error.message, hint=error.hint or SESSIONS_HINT) from None


def state_in(conn: sqlite3.Connection, session: str, at: Point | None) -> StateOf | None:
    """Return a session's state in a file; None if the session does not exist at that point.

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
    """Return the state kept by retention, if it is at least as old as the point."""
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


def state(
    session: Session,
    at: Annotated[
        str | None, typer.Option("--at", metavar="POINT", help=f"As of {POINT_HELP}.", show_default=False)
    ] = None,
    json: JsonOption = False,
    url: OptionalUrl = None,
    db: DbOption = None,
) -> None:
    """Show a session's state, now or as of a point; null where it is deleted."""
    then = point(at, "--at")
    if db is not None:
        with dbfile.opened(db) as conn:
            found = state_in(conn, session, then)
        if found is None:
            raise NotFound(f"session {session[:80]!r} is not known then", hint=SESSIONS_HINT)
        text = found.text.encode()
    else:
        with Remote(url or DEFAULT_URL) as remote, _hinting():
            body = remote.get(session_path(session), [] if then is None else [("at", then.text)])
        text = _state_of(body)
    _write_json(text, as_json=json)


def _write_json(text: bytes, *, as_json: bool) -> None:
    """Write JSON text: indented on a terminal, else byte for byte."""
    if not console.is_pretty(as_json):
        console.out(text + b"\n")
        return
    try:
        console.page(map(console.visible, indented(json_changes.parse(text.decode()))))
    except (RecursionError, jsontext.BadJson):  # too deep to be laid out
        console.out_line(console.visible(text.decode()))


def indented(node: json_changes.Node, before: str = "", after: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the lines of a value laid out as people read it; every number and string as it was written.

    Args:
        node: The value.
        before: What stands in front of it on its first line.
        after: What stands behind it on its last line.
        depth: How far it is indented.
    """
    margin = "  " * depth
    if not node.items:
        empty = {"object": "{}", "array": "[]"}.get(node.kind, node.raw)
        yield f"{margin}{before}{empty}{after}"
        return
    opening, closing = ("{", "}") if node.kind == "object" else ("[", "]")
    yield f"{margin}{before}{opening}"
    last = len(node.items) - 1
    for place, item in enumerate(node.items):
        name = f"{orjson.dumps(node.names[place]).decode()}: " if node.kind == "object" else ""
        yield from indented(item, name, "" if place == last else ",", depth + 1)
    yield f"{margin}{closing}{after}"


def _state_of(body: bytes) -> bytes:
    try:
        return jsontext.members(body, trusted=True)["state"]
    except (KeyError, jsontext.BadJson):
        raise not_a_recorder() from None


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
    json: JsonOption = False,
    url: OptionalUrl = None,
    db: DbOption = None,
) -> None:
    """Show what changed in a session between two points, as a patch.

    By default what its last delta changed.
    """
    start, end = point(from_, "--from"), point(to, "--to")
    if db is not None:
        with dbfile.opened(db) as conn:
            text = _diff_in(conn, session, (start, end), merge=merge)
    else:
        given = [(name, at.text) for name, at in (("from", start), ("to", end)) if at is not None]
        with Remote(url or DEFAULT_URL) as remote, _hinting():
            asked = [*given, ("as", "merge" if merge else "patch")]
            text = remote.get(session_path(session, "diff"), asked)
    _write_json(text, as_json=json)


def _diff_in(
    conn: sqlite3.Connection, session: str, points: tuple[Point | None, Point | None], *, merge: bool
) -> bytes:
    start, end = points
    after = state_in(conn, session, end)
    if start is None and after is not None:
        start = Point(seq=after.seq - 1)
    before = state_in(conn, session, start)
    if before is None and after is None:
        raise NotFound(f"session {session[:80]!r} is not known then", hint=SESSIONS_HINT)
    texts = ["null" if found is None else found.text for found in (before, after)]
    try:
        return (merge_patch if merge else json_patch)(texts[0].encode(), texts[1].encode())
    except Inexpressible as error:
        raise InvalidQuery(f"--merge: {error}", hint="leave it out") from None


def blame(
    session: Session,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A place in its state, such as /plan/3/status (RFC 6901).")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")] = 100,
    json: JsonOption = False,
    url: OptionalUrl = None,
    db: DbOption = None,
) -> None:
    """Show the deltas that touched one place in a session's state, newest first."""
    if db is not None:
        with dbfile.opened(db) as conn:
            _show(islice(_touches_in(conn, session, path), limit), path, as_json=json)
    else:
        with Remote(url or DEFAULT_URL) as remote, _hinting():
            _show(islice(_touches_of(remote, session, path, limit), limit), path, as_json=json)


def _touches_of(remote: Remote, session: str, path: str, limit: int) -> Iterator[bytes]:
    """Yield the touches that a server reports, walked back to the session's beginning as they are consumed."""
    before: list[tuple[str, str]] = []
    while True:
        asked = [("path", path), ("limit", str(min(limit, PAGE))), *before]
        try:
            answer = jsontext.members(remote.get(session_path(session, "blame"), asked), trusted=True)
            yield from jsontext.elements(answer["touches"])
            following = orjson.loads(answer["next"])
        except (KeyError, ValueError):
            raise not_a_recorder() from None
        if following is None:
            return
        before = [("before", str(following))]


def _touches_in(conn: sqlite3.Connection, session: str, path: str) -> Iterator[bytes]:
    try:
        walk = Blame[ExportRow](parse_pointer(path))
    except ValueError as error:
        raise InvalidQuery(f"PATH: {path[:80]!r}: {error}") from None
    rows = dbfile.rows(conn, Filters((session,)), descending=True)
    yield from (touch.text for touch in walk.back(rows))
    if walk.pending is None and not walk.erased and state_in(conn, session, None) is None:
        raise NotFound(f"nothing of session {session[:80]!r} is recorded", hint=SESSIONS_HINT)
    if walk.pending is not None and not walk.erased:
        kept = state_in(conn, session, Point(seq=walk.pending - 1))
        first = walk.begun(None if kept is None else kept.text)
        if first is not None:
            yield first.text


def _show(touches: Iterable[bytes], path: str, *, as_json: bool) -> None:
    """Print touches: a table on a terminal, else lines of JSON with the values byte for byte.

    Args:
        touches: JSON objects.
        path: The place that they touched. "" is the whole state: what changed in it is shown, not the states.
        as_json: Whether JSON is wanted on a terminal, too.
    """
    if not console.is_pretty(as_json):
        for touch in touches:
            # A value may have line breaks between its tokens, which JSON has as spaces just as well.
            console.out(touch.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
        return
    width = console.width()
    columns = (
        table.Column("seq", is_right=True),
        table.Column("time UTC", least=23, style="dim"),
        table.Column("type", least=7, styles=TYPE_STYLES),
        *((table.Column("before", least=10), table.Column("after")) if path else (table.Column("change"),)),
    )
    console.page(table.lines(columns, (_cells(touch, path, width) for touch in touches), width))


def _cells(touch: bytes, path: str, width: int) -> tuple[str, ...]:
    fields = jsontext.members(touch, trusted=True)
    at, kind = (orjson.loads(fields[name]) for name in ("recordedAt", "type"))
    if path:
        values = [_value(fields.get(name), width) for name in ("before", "after")]
    else:
        before, after = (_text(fields.get(name)) for name in ("before", "after"))
        values = [console.visible(json_changes.summarise(kind, before, after, erased=after is None))]
    return (fields["seq"].decode(), time_cell(at, width), kind, *values)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _value(text: bytes | None, width: int) -> str:
    # No more than a line has room for: a value may be megabytes.
    return "" if text is None else console.visible(" ".join(text.decode()[: 4 * width].split()))


def sessions(
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")] = 50,
    json: JsonOption = False,
    url: OptionalUrl = None,
    db: DbOption = None,
) -> None:
    """List the sessions, the last changed first.

    On a terminal with what the last delta of each has changed.
    """
    if db is not None:
        with dbfile.opened(db) as conn:
            _list(
                dbfile.sessions(conn, limit), lambda wanted: dbfile.rows(conn, wanted, limit=1), as_json=json
            )
    else:
        with Remote(url or DEFAULT_URL) as remote:
            _list(islice(_listed(remote, limit), limit), partial(_delta, remote), as_json=json)


def _listed(remote: Remote, limit: int) -> Iterator[dict[str, Any]]:
    """Yield the sessions that a server lists, each once though it may move to the front meanwhile."""
    seen: set[str] = set()
    cursor: list[tuple[str, str]] = []
    while True:
        answer = remote.get_json("/api/sessions", [("limit", str(min(limit, PAGE))), *cursor])
        found, following = answer.get("sessions"), answer.get("next")
        if not isinstance(found, list):
            raise not_a_recorder()
        fresh = [row for row in found if row["sessionId"] not in seen]
        seen.update(row["sessionId"] for row in fresh)
        yield from fresh
        # A further round lists what has moved meanwhile: nothing new is the end.
        if following is None or not fresh:
            return
        cursor = [("cursor", following)]


def _delta(remote: Remote, wanted: Filters) -> Iterator[ExportRow]:
    for page in pages(remote, wanted, "asc", 1):
        yield from page.rows


def _list(
    found: Iterable[dict[str, Any]], last: Callable[[Filters], Iterator[ExportRow]], *, as_json: bool
) -> None:
    if not console.is_pretty(as_json):
        for session in found:
            console.out(orjson.dumps(session) + b"\n")
        return
    now, width = SystemClock().now_ms(), console.width()

    def cells(session: dict[str, Any]) -> tuple[str, ...]:
        seq = int(session["seq"])
        delta = next(last(Filters((session["sessionId"],), after=seq - 1, before=seq + 1)), None)
        return (
            console.visible(session["sessionId"]),
            "deleted" if session["deleted"] else "live",
            f"{session['count']:,}",
            age(now - parse_ms(session["recordedAt"])),
            "" if delta is None else change_of(delta),
        )

    columns = (
        table.Column("session", least=10, is_name=True),
        table.Column("state", least=7, styles=(("live", "green"), ("deleted", "red"))),
        table.Column("deltas", least=9, is_right=True),
        table.Column("changed", least=10, is_right=True, style="dim"),
        table.Column("last change"),
    )
    console.page(table.lines(columns, map(cells, found), width))


def age(ms: int) -> str:
    """Return how long ago something was, in its largest unit: now, 12 s, 4 min, 3 h, 9 d."""
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if ms >= size:
            return f"{ms // size:,} {unit} ago"
    return "now"
