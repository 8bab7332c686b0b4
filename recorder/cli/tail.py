"""`recorder tail`: deltas as they come, like `tail -f`, across reconnections and without a gap.

On stdout each delta is a line: what it changed, on a terminal and in a pipe, or with `--json` the event of the wire with
the states byte for byte. What happens to the connection is said on stderr; a reset is said in both forms, since it voids
what was shown. With `--verify` stderr says, too, from where on deltas could not be verified, and why; a broken chain
ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from recorder.cli import console, table
from recorder.cli.credentials import token
from recorder.cli.history import TYPE_STYLES, change_of, pages
from recorder.cli.http import DEFAULT_URL, NOT_RECORDING, START_HINT, Remote, UrlOption, checked_url
from recorder.cli.options import HELP, Filters, JsonOption, Sessions, Types, filters, is_ago, moment
from recorder.core.errors import BadSubscription, InvalidQuery, Unavailable
from recorder.core.json_changes import summarise
from recorder.core.position import Position
from recorder.wire.export import ExportRow, ndjson_line
from recorder.wire.subscribe import parse_since

if TYPE_CHECKING:
    from recorder.client import Delta, Erasure, Event, Reset, State

_EVENT = b'{"event":"delta",'
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_LINKED = "linked"  # as in `client.Proof`
_STYLES = dict([*TYPE_STYLES, ("state", "magenta")])


def tail(
    session: Sessions = None,
    type: Types = None,  # noqa: A002 - the option's name
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHERE",
            help=f"latest (default), earliest, state, a position (epoch:seq or epoch:seq:hash), a seq, {HELP}.",
            show_default=False,
        ),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option("-n", "--last", metavar="N", min=1, help="Show the last N first.", show_default=False),
    ] = None,
    json: JsonOption = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Recompute each delta's hash; end where the chain is broken.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Follow new deltas, live.

    Reconnects and resumes by itself; Ctrl-C ends it.
    """
    if since is not None and last is not None:
        raise typer.BadParameter("not together with -n", param_hint="--since")
    wanted = filters(session, type)
    start = _checked_since(since or "latest")
    printer = _Printer(as_json=json)
    if last is not None:
        with Remote(url) as remote:
            start = _show_last(remote, wanted, last, printer.row)
    # Not at the top, as in `_follow`.
    import asyncio

    following = _follow(url, wanted, start, printer, verify=verify)
    try:
        asyncio.run(following)
    finally:
        # Ctrl-C may come before it was begun; Python would warn that nobody awaited it.
        following.close()


def _checked_since(text: str) -> str:
    if is_ago(text):
        return moment(text, "--since")
    try:
        parse_since(text)
    except BadSubscription:
        raise InvalidQuery(
            f"--since: {text!r} is no place to begin",
            hint=f"latest, earliest, state, epoch:seq, epoch:seq:hash, a seq, {HELP}",
        ) from None
    return text


def _show_last(remote: Remote, wanted: Filters, count: int, show: Callable[[ExportRow], None]) -> str:
    """Print the last entries and return the position to continue from without missing any."""
    with closing(pages(remote, wanted, "desc", count)) as found:
        all_pages = list(found)
    rows = [row for page in all_pages for row in page.rows][:count]
    for row in reversed(rows):
        show(row)
    # Nothing matches yet: then everything that matches is new, whatever was recorded in between.
    if not rows:
        return "earliest"
    link = rows[0].hash
    return str(Position(all_pages[0].epoch, rows[0].seq, None if link is None else link.hex()))


async def _follow(url: str, wanted: Filters, since: str, printer: _Printer, *, verify: bool) -> None:
    # Not at the top: the command's help should not wait for it.
    from recorder.client import Client

    sessions, types = wanted.sessions or None, wanted.types or None
    with _client_log_off():
        async with (
            Client(checked_url(url), token()) as client,
            client.subscribe(sessions, types, since, notices=True, verify=verify) as events,
        ):
            async for event in events:
                printer.event(event)


@contextmanager
def _client_log_off() -> Iterator[None]:
    """Keep the client's log quiet: what it would say is printed here, from its events."""
    import logging

    log = logging.getLogger("recorder.client")
    log.addFilter(_nothing)
    try:
        yield
    finally:
        log.removeFilter(_nothing)


def _nothing(record: object) -> bool:
    return False


class _Printer:
    """Shows events.

    Args:
        as_json: As lines of JSON, else for people.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._greeted = False  # whether a connection was ever made
        self._proof: str | None = _LINKED  # of the last delta, as far as it was said

    def event(self, event: Event) -> None:
        """Print an event.

        Raises:
            Unavailable: No connection was ever made: that is a mistake in the URL, or nothing runs there.
        """
        from recorder.client import Delta, Disconnected, Erasure, Hello, Live, Reset, State

        match event:
            case Delta():
                self._say_proof(event)
                self.row(_row(event))
            case State():
                self._state(event)
            case Hello():
                if self._greeted:
                    console.print_status("connected again")
                elif not event.recording:
                    console.print_status(NOT_RECORDING)
                self._greeted = True
            case Disconnected():
                if not self._greeted:
                    raise Unavailable(event.why, hint=START_HINT)
                console.print_status(f"{event.why}; trying again in {event.retry_s:.1f} s")
            case Reset():
                self._reset(event)
            case Erasure():
                self._erasure(event)
            case Live():
                if self._as_json:
                    self._line(orjson.dumps({"event": "live", "seq": event.seq, "epoch": event.epoch}))

    def row(self, row: ExportRow) -> None:
        """Print a delta."""
        if self._as_json:
            self._line(_EVENT + ndjson_line(row)[1:-1])
            return
        mark = "(erased)" if row.erased_before is not None or row.erased_after is not None else change_of(row)
        self._pretty(row.recorded_at, row.seq, (row.type, row.session_id), mark)

    def _say_proof(self, delta: Delta) -> None:
        """Print where deltas cannot be verified and where they can be again, once for each change."""
        from recorder.client import Proof

        proof = Proof.LINKED if delta.proof == Proof.BY_DIGEST else delta.proof
        if proof is None or proof == self._proof:
            return
        self._proof = proof
        if proof == Proof.LINKED:
            console.print_status(f"seq {delta.seq}: verified from here on")
        else:
            console.print_status(f"seq {delta.seq}: not verified from here on: {proof}")

    def _state(self, event: State) -> None:
        if self._as_json:
            self._line(event.raw.translate(_BREAKS))
        else:
            self._pretty(
                "-",
                event.seq,
                ("state", event.session_id),
                summarise("created", None, event.state_raw.decode()),
            )

    def _reset(self, event: Reset) -> None:
        console.print_status(
            f"reset ({event.reason}): what was shown no longer holds; the sessions' states follow"
        )
        if self._as_json:
            fields = {
                "reason": event.reason,
                "epoch": event.epoch,
                "oldest": event.oldest,
                "head": event.head,
            }
            self._line(orjson.dumps({"event": "reset", **fields}))

    def _erasure(self, event: Erasure) -> None:
        session = console.visible(event.session_id)
        console.print_status(
            f"erased: what session {session} said up to seq {event.through}; copies are to go, too"
        )
        if self._as_json:
            fields = {
                "sessionId": event.session_id,
                "through": event.through,
                "count": event.count,
                "erasedAt": event.erased_at,
            }
            self._line(orjson.dumps({"event": "erased", **fields}))

    def _line(self, line: bytes) -> None:
        console.out(line + b"\n")
        console.flush()

    def _pretty(self, at: str, seq: int, names: tuple[str, str], change: str) -> None:
        kind, session = names
        # What a deletion changed is said by its type.
        session, change = console.visible(session), "" if change == kind else console.visible(change)
        if not console.stdout_is_terminal():
            console.out_line(f"{at} {seq} {kind} {session} {change}".rstrip())
            return
        # Cut before it is coloured: a line on a terminal is one line.
        head = f"{at[11:23] or at} {seq} {kind} "
        text = table.cut(f"{head}{session} {change}", console.width())[len(head) :]
        time, kind = console.styled(at[11:23] or at, "dim"), console.styled(kind, _STYLES[kind])
        console.out_line(f"{time} {seq} {kind} {text}")


def _row(delta: Delta) -> ExportRow:
    erased = delta.erased
    return ExportRow(
        delta.seq,
        delta.recorded_at,
        delta.type,
        delta.session_id,
        None if delta.before_raw is None else delta.before_raw.decode(),
        None if delta.after_raw is None else delta.after_raw.decode(),
        delta.timestamp,
        delta.id,
        delta.lineage,
        _digest(delta.hash),
        delta.before_filled,
        _digest(delta.id_digest),
        None if erased is None else _digest(erased.before),
        None if erased is None else _digest(erased.after),
    )


def _digest(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)
