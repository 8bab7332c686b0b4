"""Query parameters and cursors: read strictly, so that a typo is an error and not another question."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
from starlette.datastructures import QueryParams

from recorder.errors import BadSubscription, InvalidCursor, InvalidQuery
from recorder.model.timestamps import normalise
from recorder.protocol.subscribe import check_sessions, check_types
from recorder.store.base import Query

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
MAX_SEQ = 2**63 - 1

FILTERS = ("session", "type", "since", "until", "after", "before", "lineage", "happenedSince", "happenedUntil")
"""Names of the parameters that choose entries; each has the meaning it has in PROTOCOL.md's tables."""

REPEATABLE = ("session", "type")


class _Cursor(msgspec.Struct):
    """What a cursor carries: the question, and where its answer goes on."""

    query: dict[str, list[str]]
    order: str
    seq: int


@dataclass(frozen=True, slots=True)
class Page:
    """A page of history that is asked for.

    Args:
        query: Which entries.
        limit: How many.
        asked: The parameters as given, for the next cursor.
    """

    query: Query
    limit: int
    asked: dict[str, list[str]]

    def cursor(self, last_seq: int) -> str:
        """The cursor of the page that follows an entry."""
        order = "desc" if self.query.descending else "asc"
        text = msgspec.json.encode(_Cursor(self.asked, order, last_seq))
        return base64.urlsafe_b64encode(text).decode().rstrip("=")


def parse_page(params: QueryParams, session_id: str | None = None) -> Page:
    """The page that a request asks for.

    Args:
        params: Its query.
        session_id: From the path, where it is there.

    Raises:
        InvalidQuery: A parameter is unknown or its value not allowed.
        InvalidCursor: The cursor is not one of ours, or another question's.
    """
    given = check_names(params, (*FILTERS, "order", "limit", "cursor"))
    limit = parse_limit(given.pop("limit", None))
    cursor = given.pop("cursor", None)
    orders = given.pop("order", None)
    order = orders[0] if orders else None
    if order not in (None, "asc", "desc"):
        raise InvalidQuery(f"order: {order[:20]!r} is neither asc nor desc", place="order")
    seq = None
    if cursor is not None:
        asked, order, seq = _parse_cursor(cursor[0], given, order)
        given = asked
    query = replace(parse_filters(given, session_id), descending=order != "asc")
    asked = dict(given)
    if seq is not None and query.descending:
        query = replace(query, before=seq if query.before is None else min(query.before, seq))
    elif seq is not None:
        query = replace(query, after=max(query.after, seq))
    return Page(query, limit, asked)


def parse_filters(given: Mapping[str, list[str]], session_id: str | None = None) -> Query:
    """The entries that filters choose.

    Args:
        given: Parameter values by name; only names of `FILTERS`.
        session_id: From the path, where it is there.

    Raises:
        InvalidQuery: A value is not allowed.
    """
    try:
        sessions = check_sessions(given["session"]) if "session" in given else None
        types = check_types(given["type"]) if "type" in given else None
        if session_id is not None:
            if sessions is not None:
                raise InvalidQuery("session: the path names the session already", place="session")
            sessions = check_sessions([session_id])
    except BadSubscription as error:
        raise InvalidQuery(error.message, place=error.place) from None
    lineage = _first(given, "lineage")
    if lineage not in (None, "broken"):
        raise InvalidQuery("lineage: only 'broken' can be asked for", place="lineage")
    return Query(
        sessions=sessions,
        types=types,
        after=_seq(given, "after") or 0,
        before=_seq(given, "before"),
        since=_time(given, "since"),
        until=_time(given, "until"),
        happened_since=_time(given, "happenedSince"),
        happened_until=_time(given, "happenedUntil"),
        lineage=lineage,
    )


def check_names(params: QueryParams, known: tuple[str, ...]) -> dict[str, list[str]]:
    """All values by name. Raises InvalidQuery for an unknown name, or one given twice that may be given once."""
    found: dict[str, list[str]] = {}
    for name, value in params.multi_items():
        if name not in known:
            raise InvalidQuery(f"unknown parameter {name[:80]!r}", hint=", ".join(known), place=name[:80])
        found.setdefault(name, []).append(value)
    for name, values in found.items():
        if len(values) > 1 and name not in REPEATABLE:
            raise InvalidQuery(f"{name}: given {len(values)} times", place=name)
    return found


def parse_limit(values: list[str] | None) -> int:
    """A page's size. Raises InvalidQuery unless it is a whole number from 1 to 1000."""
    if values is None:
        return DEFAULT_LIMIT
    text = values[0]
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    raise InvalidQuery(f"limit: {text[:20]!r} is not a number from 1 to {MAX_LIMIT}", place="limit")


def parse_seq(text: str, name: str) -> int:
    """A seq. Raises InvalidQuery unless it is one."""
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MAX_SEQ:
        return int(text)
    raise InvalidQuery(f"{name}: {text[:40]!r} is not a seq", place=name)


def parse_time(text: str, name: str) -> str:
    """A time in the fixed-width form. Raises InvalidQuery unless it is one."""
    try:
        # A "+" in a query string arrives as a space; a time has none anywhere else.
        return normalise(text.replace(" ", "+"))
    except ValueError as error:
        raise InvalidQuery(f"{name}: {text[:60]!r}: {error}", place=name) from None


def _parse_cursor(
    text: str, given: dict[str, list[str]], order: str | None
) -> tuple[dict[str, list[str]], str, int]:
    try:
        padded = text.encode() + b"=" * (-len(text) % 4)
        cursor = msgspec.json.decode(base64.b64decode(padded, b"-_", validate=True), type=_Cursor)
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        raise InvalidCursor("cursor: not one that this server made", hint="start again without it") from None
    fits = cursor.order in ("asc", "desc") and 0 <= cursor.seq <= MAX_SEQ and set(cursor.query) <= set(FILTERS)
    if not fits or not all(cursor.query.values()):
        raise InvalidCursor("cursor: not one that this server made", hint="start again without it")
    if (given and given != cursor.query) or (order is not None and order != cursor.order):
        raise InvalidCursor("cursor: made for another question", hint="repeat the question, or give none")
    return cursor.query, cursor.order, cursor.seq


def _first(given: Mapping[str, list[str]], name: str) -> str | None:
    return given[name][0] if name in given else None


def _seq(given: Mapping[str, list[str]], name: str) -> int | None:
    text = _first(given, name)
    return None if text is None else parse_seq(text, name)


def _time(given: Mapping[str, list[str]], name: str) -> str | None:
    text = _first(given, name)
    return None if text is None else parse_time(text, name)
