"""Query parameters, and cursors: read strictly, so that a typo is an error and not another question.

The tuples name what each route takes; the API's description is made from them too.

Cursors are opaque texts that carry a question and the place where its answer goes on; the server keeps nothing for
them. One holds for one question in one epoch: in another epoch its seq may name another delta, and at another question
it would skip or repeat, so both are refused. What a client makes up by hand is refused too, or is a question like any
other.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeVar

import msgspec
from starlette.datastructures import QueryParams

from recorder.core.errors import BadSubscription, InvalidCursor, InvalidQuery
from recorder.core.json_patch import Steps, parse_pointer
from recorder.core.timestamps import normalise
from recorder.store.contract import Query
from recorder.wire.subscribe import check_sessions, check_types

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
MAX_REASON = 500
"""The most characters that the reason of an erasure may have."""

FILTERS = (
    "session",
    "type",
    "since",
    "until",
    "after",
    "before",
    "lineage",
    "happenedSince",
    "happenedUntil",
)
"""The parameters that choose entries."""

REPEATABLE = ("session", "type")

DELTAS = (*FILTERS, "order", "limit", "cursor")
SESSION_DELTAS = tuple(name for name in DELTAS if name != "session")
STREAM = ("session", "type", "since", "slow", "lastEventId")
EXPORT = (*FILTERS, "format")
SESSIONS = ("limit", "cursor")
SESSION = ("at",)
DIFF = ("from", "to", "as")
BLAME = ("path", "before", "limit")
JOBS = ("name", "limit")


CURSOR_HINT = "begin again without it"
MAX_SEQ = 2**63 - 1
"""The largest number SQLite can keep."""

Order = Literal["asc", "desc"]
Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]
Values = Annotated[list[str], msgspec.Meta(min_length=1)]


class DeltasCursor(msgspec.Struct, frozen=True, tag="deltas", forbid_unknown_fields=True):
    """The position at which the next page of deltas begins.

    Args:
        epoch: The epoch of `seq`.
        session: The session that the path names, if it names one.
        asked: The filters as given.
        order: `asc` or `desc`.
        seq: The last one returned.
    """

    epoch: str
    session: str | None
    asked: dict[str, Values]
    order: Order
    seq: Seq


class SessionsCursor(msgspec.Struct, frozen=True, tag="sessions", forbid_unknown_fields=True):
    """The position at which the next page of sessions begins. The last seq of a session may change between pages.

    Args:
        epoch: The epoch of the seqs.
        above: This round lists sessions whose last seq is greater than this.
        below: The rest of this round: those whose last seq is less than this. None where the round begins.
        head: The highest seq when this round began: what has moved since lies above it, for the next round.
    """

    epoch: str
    above: Seq = 0
    below: Seq | None = None
    head: Seq = 0


Cursor = TypeVar("Cursor", DeltasCursor, SessionsCursor)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of history that is asked for.

    Args:
        query: Which entries.
        limit: How many at most.
        epoch: The current one.
        session_id: From the path, where it is there.
        asked: The filters as given.
    """

    query: Query
    limit: int
    epoch: str
    session_id: str | None
    asked: dict[str, list[str]]

    def cursor(self, last_seq: int) -> str:
        """Return the cursor of the page that follows an entry."""
        order: Order = "desc" if self.query.descending else "asc"
        return encode_cursor(DeltasCursor(self.epoch, self.session_id, self.asked, order, last_seq))


def parse_page(params: QueryParams, epoch: str, session_id: str | None = None) -> Page:
    """Return the page that a request asks for.

    Args:
        params: Its query.
        epoch: The current one.
        session_id: From the path, where it is there.

    Raises:
        InvalidQuery: A parameter is unknown or its value not allowed.
        InvalidCursor: The cursor is not one of ours, or another question's.
    """
    asked = check_names(params, DELTAS if session_id is None else SESSION_DELTAS)
    limit = parse_limit(asked.pop("limit", None))
    order = one_of(asked.pop("order", None), "order", ("desc", "asc"))
    text = asked.pop("cursor", None)
    if text is None:
        query = replace(parse_filters(asked, session_id), descending=order != "asc")
        return Page(query, limit, epoch, session_id, asked)
    cursor = decode_cursor(text[0], DeltasCursor, epoch)
    _check_same_question(cursor, asked, order, session_id)
    query = replace(parse_filters(cursor.asked, session_id), descending=cursor.order != "asc")
    return Page(_from(query, cursor.seq), limit, epoch, session_id, cursor.asked)


def parse_filters(given: Mapping[str, list[str]], session_id: str | None = None) -> Query:
    """Return the entries that filters choose.

    Args:
        given: Parameter values by name; only names of `FILTERS`.
        session_id: From the path, where it is there.

    Raises:
        InvalidQuery: A value is not allowed.
    """
    named = given.get("session") if session_id is None else [session_id]
    types = given.get("type")
    with _as_query_errors():
        sessions = None if named is None else check_sessions(named)
        kinds = None if types is None else check_types(types)
    return Query(
        sessions=sessions,
        types=kinds,
        after=_seq(given, "after") or 0,
        before=_seq(given, "before"),
        since=_time(given, "since"),
        until=_time(given, "until"),
        happened_since=_time(given, "happenedSince"),
        happened_until=_time(given, "happenedUntil"),
        lineage=one_of(given.get("lineage"), "lineage", ("broken",)),
    )


def check_names(params: QueryParams, known: tuple[str, ...]) -> dict[str, list[str]]:
    """Return all values by name. Raises InvalidQuery for an unknown name, or one given twice that may be given once."""
    found: dict[str, list[str]] = {}
    for name, value in params.multi_items():
        if name not in known:
            hint = f"this route takes {', '.join(known)}" if known else "this route takes none"
            raise InvalidQuery(f"unknown parameter {name[:80]!r}", hint=hint, place=name[:80])
        found.setdefault(name, []).append(value)
    for name, values in found.items():
        if len(values) > 1 and name not in REPEATABLE:
            raise InvalidQuery(f"{name}: given {len(values)} times", place=name)
    return found


def parse_limit(values: list[str] | None) -> int:
    """Return a page's size. Raises InvalidQuery unless it is a whole number from 1 to 1000."""
    if values is None:
        return DEFAULT_LIMIT
    text = values[0]
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    raise InvalidQuery(f"limit: {text[:20]!r} is not a number from 1 to {MAX_LIMIT}", place="limit")


def parse_seq(text: str, name: str) -> int:
    """Return a seq. Raises InvalidQuery unless it is one."""
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MAX_SEQ:
        return int(text)
    raise InvalidQuery(f"{name}: {text[:40]!r} is not a seq", place=name)


def parse_time(text: str, name: str, hint: str | None = None) -> str:
    """Return a time in the fixed-width form. Raises InvalidQuery, with a hint, unless it is one."""
    try:
        # A "+" in a query string arrives as a space; a time has none anywhere else.
        return normalise(text.replace(" ", "+"))
    except ValueError as error:
        raise InvalidQuery(f"{name}: {text[:60]!r}: {error}", hint=hint, place=name) from None


def parse_path(values: list[str] | None) -> tuple[str, Steps]:
    """Return a place in a state, as given and taken apart; the whole state by default. Raises InvalidQuery."""
    text = "" if values is None else values[0]
    try:
        return text, parse_pointer(text)
    except ValueError as error:
        raise InvalidQuery(f"path: {text[:80]!r}: {error}", place="path") from None


def check_session_id(session_id: str) -> None:
    """Raise InvalidQuery unless a path names a session that there can be."""
    with _as_query_errors():
        check_sessions([session_id])


def parse_format(values: list[str] | None, known: Iterable[str]) -> str:
    """Return an export's format; the first that is known by default. Raises InvalidQuery."""
    formats = tuple(known)
    return one_of(values, "format", formats) or formats[0]


def _from(query: Query, seq: int) -> Query:
    """Return the part of a query that follows a seq, in its direction."""
    if query.descending:
        return replace(query, before=seq if query.before is None else min(query.before, seq))
    return replace(query, after=max(query.after, seq))


def _check_same_question(
    cursor: DeltasCursor, asked: Mapping[str, list[str]], order: str | None, session_id: str | None
) -> None:
    """Raise InvalidCursor unless a cursor was made for this question; filters and order need not be repeated."""
    if not cursor.asked.keys() <= set(FILTERS):
        raise InvalidCursor("cursor: not one that this server gave", hint=CURSOR_HINT, place="cursor")
    same_filters = not asked or _as_sets(asked) == _as_sets(cursor.asked)
    if not same_filters or order not in (None, cursor.order) or session_id != cursor.session:
        raise InvalidCursor(
            "cursor: made for another question", hint="repeat the question, or give none", place="cursor"
        )


def _as_sets(values: Mapping[str, list[str]]) -> dict[str, set[str]]:
    return {name: set(given) for name, given in values.items()}


@contextmanager
def _as_query_errors() -> Iterator[None]:
    """Raise what is wrong in a filter as wrong in the query."""
    try:
        yield
    except BadSubscription as error:
        raise InvalidQuery(error.message, place=error.place) from None


def one_of(values: list[str] | None, name: str, known: tuple[str, ...]) -> str | None:
    """Return a value out of a few, None where none is given. Raises InvalidQuery."""
    if values is None:
        return None
    if values[0] not in known:
        raise InvalidQuery(f"{name}: {values[0][:20]!r} is not {' or '.join(known)}", place=name)
    return values[0]


def _first(given: Mapping[str, list[str]], name: str) -> str | None:
    return given[name][0] if name in given else None


def _seq(given: Mapping[str, list[str]], name: str) -> int | None:
    text = _first(given, name)
    return None if text is None else parse_seq(text, name)


def _time(given: Mapping[str, list[str]], name: str) -> str | None:
    text = _first(given, name)
    return None if text is None else parse_time(text, name)


def encode_cursor(cursor: DeltasCursor | SessionsCursor) -> str:
    """Return the text of a cursor; URL-safe."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def decode_cursor(text: str, kind: type[Cursor], epoch: str) -> Cursor:
    """Return the cursor that a text carries.

    Args:
        text: As it was given out.
        kind: What it must be.
        epoch: The current one.

    Raises:
        InvalidCursor: It is not a cursor of this kind, or of another epoch.
    """
    try:
        padded = text.encode() + b"=" * (-len(text) % 4)
        cursor = msgspec.json.decode(base64.b64decode(padded, b"-_", validate=True), type=kind)
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        raise InvalidCursor(
            "cursor: not one that this server gave for this route",
            hint=CURSOR_HINT,
            place="cursor",
        ) from None
    if cursor.epoch != epoch:
        raise InvalidCursor(
            f"cursor: of epoch {cursor.epoch[:40]!r}, and {epoch} has begun since; its seqs may name other deltas",
            hint=CURSOR_HINT,
            place="cursor",
        )
    return cursor
