"""The parameters of a subscription: sessions, types, and its start.

The same rules whether it asks in a query string, in a message or in process. What is asked for wrongly is refused and
never guessed at: a subscriber that believes to have missed nothing must be right. Left out: where the place that a
`since` names lies, and whether it can still be honoured, which only the hub knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import parse_qsl

import msgspec

from recorder.auth.grants import Grant
from recorder.core.delta import DELTA_TYPES
from recorder.core.errors import BadSubscription
from recorder.core.position import MAX_SEQ, Position, parse_position
from recorder.core.session_filter import Sessions
from recorder.core.timestamps import normalise
from recorder.wire.decode import session_id_fault

MAX_SESSIONS = 1000
"""The most sessions one subscription may name."""


@dataclass(frozen=True, slots=True)
class Since:
    """The start of a subscription, in exactly one of the forms of the protocol.

    Args:
        kind: `latest`, `earliest`, `state`, `position`, `seq` or `time`.
        position: For `position`.
        seq: For `seq` (a place in the current epoch).
        time: For `time`: fixed-width form.
    """

    kind: Literal["latest", "earliest", "state", "position", "seq", "time"]
    position: Position | None = None
    seq: int = 0
    time: str = ""

    @property
    def text(self) -> str:
        """The text of the `since` parameter."""
        return {"position": str(self.position), "seq": str(self.seq), "time": self.time}.get(
            self.kind, self.kind
        )


LATEST = Since("latest")


@dataclass(frozen=True, slots=True)
class Subscription:
    """The filters and the start of one subscription.

    Args:
        sessions: Which; None for all. Where a token is for some sessions alone, these.
        types: Delta types, or None for all.
        since: From where on.
        conflate: Whether, where it is too slow, it is moved on to the latest states instead of being closed.
        with_hashes: Whether the chain's hashes are shown; not to who may see some sessions only, since they cover all.
    """

    sessions: Sessions = None
    types: frozenset[str] | None = None
    since: Since = LATEST
    conflate: bool = False
    with_hashes: bool = True


class _SubscribeOp(msgspec.Struct, forbid_unknown_fields=True):
    op: str
    sessions: list[str] | None = None
    types: list[str] | None = None
    since: str | int | None = None


_decode_op = msgspec.json.Decoder(_SubscribeOp)


def parse_since(text: str | int | None) -> Since:
    """Parse a `since` parameter.

    Raises:
        BadSubscription: It is none of the forms of the protocol.
    """
    if text is None or text == "latest":
        return LATEST
    if text == "earliest":
        return Since("earliest")
    if text == "state":
        return Since("state")
    spelled = str(text)
    if spelled.isascii() and spelled.isdigit() and len(spelled) < 20 and int(spelled) <= MAX_SEQ:
        return Since("seq", seq=int(spelled))
    position = parse_position(spelled)
    if position is not None:
        return Since("position", position=position)
    try:
        return Since("time", time=normalise(spelled))
    except ValueError:
        raise BadSubscription(
            f"since: {spelled[:80]!r} is no position",
            hint="latest, earliest, state, epoch:seq, epoch:seq:hash, seq, or an RFC 3339 time",
            place="since",
        ) from None


def parse_query(query: str, max_sessions: int = MAX_SESSIONS) -> Subscription:
    """Parse the query string of a subscription.

    Args:
        query: The part of the address behind `?`.
        max_sessions: How many it may name.

    Raises:
        BadSubscription: A parameter is unknown or its value is not allowed.
    """
    sessions: list[str] = []
    types: list[str] = []
    since: str | None = None
    conflate = False
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "session":
            sessions.append(value)
        elif name == "type":
            types.append(value)
        elif name == "since":
            if since is not None:
                raise BadSubscription("since: given twice", hint="give one place to begin", place="since")
            # A "+" in a query string arrives as a space; no form of a since has one.
            since = value.replace(" ", "+")
        elif name == "slow":
            if value not in ("close", "conflate"):
                raise BadSubscription(f"slow: {value[:40]!r} is neither close nor conflate", place="slow")
            conflate = value == "conflate"
        else:
            raise BadSubscription(f"unknown parameter {name[:80]!r}", hint="session, type, since, slow")
    found = _subscription(sessions or None, types or None, since, max_sessions)
    return replace(found, conflate=conflate)


def narrowed(subscription: Subscription, grant: Grant) -> Subscription:
    """Return the permitted part of a subscription. Raises NotAllowed if it names a session that is not
    permitted.
    """
    asked = subscription.sessions
    assert asked is None or isinstance(asked, frozenset)
    if grant.sessions is None:
        return subscription
    since = subscription.since
    if since.position is not None:
        # Else it could be tried out whether a guess at what lies before is right.
        since = replace(since, position=replace(since.position, hash=None))
    return replace(subscription, sessions=grant.narrow(asked), since=since, with_hashes=False)


def parse_op(message: bytes, max_sessions: int = MAX_SESSIONS) -> Subscription | None:
    """Parse a `subscribe` message; return None for a `ping`.

    Args:
        message: JSON text.
        max_sessions: How many it may name.

    Raises:
        BadSubscription: It is neither, or a field is not allowed.
    """
    try:
        op = _decode_op.decode(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadSubscription(
            f"not a message of the protocol: {str(error)[:200]}", hint='{"op":"subscribe",…} or {"op":"ping"}'
        ) from None
    if op.op == "ping":
        return None
    if op.op != "subscribe":
        raise BadSubscription(f"unknown op {op.op[:40]!r}", hint="subscribe, ping", place="op")
    return _subscription(op.sessions or None, op.types or None, op.since, max_sessions)


def names_of(what: str, given: Iterable[str] | str | None) -> list[str]:
    """Return the names of a filter; none where there is no filter.

    Args:
        what: What they are names of, for errors: `sessions`, `types`.
        given: The names; a lone text is one name, and not a list of its letters.

    Raises:
        BadSubscription: There is none in it, so that nothing could ever match, or one is no text.
    """
    asked: object = given  # whoever has no type checker may give anything
    if asked is None:
        return []
    if isinstance(asked, str):
        return [asked]
    if isinstance(asked, bytes | bytearray) or not isinstance(asked, Iterable):
        raise BadSubscription(
            f"{what}: {str(asked)[:40]!r} is neither a text nor a list of texts",
            hint="None is all",
            place=what,
        )
    found = list(asked)
    if not found:
        raise BadSubscription(f"{what}: an empty list names none", hint="None is all", place=what)
    for name in found:
        if not isinstance(name, str):
            raise BadSubscription(f"{what}: {str(name)[:40]!r} is no text", place=what)
    return list(dict.fromkeys(found))


def check_sessions(sessions: Iterable[str], most: int = MAX_SESSIONS) -> frozenset[str]:
    """Check the sessions of a filter and return them as a set.

    Args:
        sessions: Their ids.
        most: How many there may be.

    Raises:
        BadSubscription: One cannot be a session's id, or there are too many.
    """
    found = frozenset(sessions)
    if len(found) > most:
        raise BadSubscription(f"{len(found)} sessions, at most {most} can be named", place="session")
    for session in found:
        fault = session_id_fault(session)
        if fault is not None:
            raise BadSubscription(f"session: {session[:80]!r} {fault}", place="session")
    return found


def check_types(types: Iterable[str]) -> frozenset[str]:
    """Check the types of a filter and return them as a set.

    Raises:
        BadSubscription: One is not a delta type.
    """
    found = frozenset(types)
    for kind in found:
        if kind not in DELTA_TYPES:
            raise BadSubscription(f"type: {kind[:40]!r} is not one of {', '.join(DELTA_TYPES)}", place="type")
    return found


def _subscription(
    sessions: list[str] | None, types: list[str] | None, since: str | int | None, max_sessions: int
) -> Subscription:
    return Subscription(
        None if sessions is None else check_sessions(sessions, max_sessions),
        None if types is None else check_types(types),
        parse_since(since),
    )
