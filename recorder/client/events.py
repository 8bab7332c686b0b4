"""The events that a subscription yields (small frozen values, one class per kind), its freshness, and the errors
of publishing and subscribing.

States stay JSON text until somebody looks: `delta.after` decodes at each access, `delta.after_raw` is the
text as the publisher sent it, byte for byte. Whole numbers come out exact however long they are; a number
with a fraction is a float, so its exact spelling is in the text alone. Nothing here knows about connections.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from recorder.core import json_text
from recorder.core.errors import BY_CODE, ClientError
from recorder.core.position import Position

STALE_INTERVALS = 2.0
"""After this many heartbeat intervals of silence nothing is known any more."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """The freshness of a subscription; `str()` of it is `live`, `behind 12` or `stale 31 s`.

    `live`: everything heard of has been handed out. `behind`: so many more are known of; with a filter that is
    what waits to be taken (live), or an upper bound (before). `stale`: nothing was heard for so long that nobody
    knows.

    Args:
        kind: `live`, `behind` or `stale`.
        behind: How many deltas are known of and not yet handed out; 0 where `live`.
        stale_s: Seconds since anything was heard.
    """

    kind: Literal["live", "behind", "stale"]
    behind: int = 0
    stale_s: float = 0.0

    def __str__(self) -> str:
        if self.kind == "behind":
            return f"behind {self.behind}"
        return f"stale {self.stale_s:.0f} s" if self.kind == "stale" else "live"


def assess(*, connected: bool, is_live: bool, behind: int, silent_s: float, heartbeat_s: float) -> Freshness:
    """Return the freshness of a subscription.

    Args:
        connected: Whether there is a connection, and the server has said hello.
        is_live: Whether history is over.
        behind: How many deltas are known of and not yet handed out.
        silent_s: Seconds since anything was heard.
        heartbeat_s: The interval of heartbeats, in seconds.
    """
    behind = max(behind, 0)
    if not connected or silent_s > STALE_INTERVALS * heartbeat_s:
        return Freshness("stale", behind, silent_s)
    if is_live and behind == 0:
        return Freshness("live", 0, silent_s)
    return Freshness("behind", behind, silent_s)


def worst(freshnesses: Iterable[Freshness]) -> Freshness | None:
    """Return the least current freshness; None if there is none."""
    order = {"live": 0, "behind": 1, "stale": 2}
    return max(freshnesses, key=lambda one: (order[one.kind], one.stale_s, one.behind), default=None)


class PublishRefused(ClientError):
    """The server refused a frame: nothing of it is recorded.

    Its `code` is the server's (`invalid_delta`, `conflict`, …), and `retry` tells whether the same frame may
    go through later.

    Args:
        code: The server's code.
        message: The server's message.
        index: Which delta of the frame it was, from 0, or None.
    """

    def __init__(self, code: str, message: str, index: int | None = None) -> None:
        super().__init__(message, index=index)
        known = BY_CODE.get(code)
        # These hide the class's own: a refusal is as final as what it was refused for.
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "retry", known is not None and known.retry)


class TokenRefused(ClientError):
    """The server does not take the token: it is not valid, or not any more.

    Args:
        message: What the server said.
    """

    def __init__(self, message: str) -> None:
        super().__init__(
            message, hint="give the right token; where tokens expire, give a function that gets one"
        )


class OutcomeUnknown(ClientError):
    """The connection was lost (or the client closed) before the answer: the frame may be recorded or not.

    It is not sent again by itself, since a delta of it has no id; with ids it would have been.
    """


class ChainBroken(ClientError):
    """A delta's hash is not the one that follows from what was received: something was changed, added or taken away.

    Args:
        seq: The first delta of which that is so; those before it were as they should be.
        expected: The hash that was computed, or was said before (64 hex digits).
        found: The hash that came.
    """

    def __init__(self, seq: int, expected: str, found: str) -> None:
        super().__init__(
            f"the chain is broken at seq {seq}: its hash is {found}, and what came before it says {expected}",
            hint="verify the recording with 'recorder doctor'",
        )
        self.seq, self.expected, self.found = seq, expected, found


_any = msgspec.json.Decoder()
_reader = json.JSONDecoder(parse_constant=json_text.no_constant)


def decode_value(text: bytes) -> Any:
    """Decode a JSON value to Python objects; whole numbers exact, lone surrogate escapes as lone surrogates.

    Args:
        text: JSON text, UTF-8.

    Raises:
        ClientError: It is not JSON, or Python cannot hold it.
    """
    try:
        return _any.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _decode_slowly(text)


def _decode_slowly(text: bytes) -> Any:
    try:
        return _reader.decode(text.decode())
    except RecursionError:
        raise ClientError(
            "the state is nested too deeply for Python", hint="its text can still be used"
        ) from None
    except ValueError as error:
        raise ClientError(
            f"the state cannot be decoded: {error}", hint="its text can still be used"
        ) from None


@dataclass(frozen=True, slots=True)
class Erased:
    """The remains of states whose content was erased.

    Args:
        before: SHA-256 of the state before (64 hex digits), None where there was none.
        after: SHA-256 of the state after, None where there was none.
    """

    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Delta:
    """A delta at its place in the order.

    Args:
        seq: Its number in its epoch, from 1.
        epoch: The epoch.
        recorded_at: When it was recorded: UTC, milliseconds, `Z`.
        hash: The chain's hash at this place (64 hex digits), None where the chain is off.
        lineage: `broken` where `before` is not the state last recorded, else None.
        before_filled: Whether the publisher left `before` out and the recorder filled it in.
        id_digest: With an id: the digest of the content as it was sent (64 hex digits), else None.
        erased: The states' digests where their content was erased, else None.
        type: `created`, `updated` or `deleted`.
        session_id: The session.
        timestamp: When it happened, in the form of `recorded_at`.
        id: The publisher's idempotency key, or None.
        before_raw: JSON text of the state before, None where there is none.
        after_raw: JSON text of the state after, None where there is none.
        raw: The whole event as it was received.
        proof: What is known of its hash (a `Proof`); None unless the subscription verifies.
    """

    seq: int
    epoch: str
    recorded_at: str
    hash: str | None
    lineage: str | None
    before_filled: bool
    id_digest: str | None
    erased: Erased | None
    type: str
    session_id: str
    timestamp: str
    id: str | None
    before_raw: bytes | None
    after_raw: bytes | None
    raw: bytes
    proof: str | None = None

    @property
    def position(self) -> Position:
        """The position to resume from; `str()` of it is `epoch:seq:hash`, without a hash `epoch:seq`."""
        return Position(self.epoch, self.seq, self.hash)

    @property
    def before(self) -> Any:
        """The state before, decoded anew at each access; None where there is none.

        Raises:
            ClientError: Python cannot hold it (nested too deeply, a number out of range); use `before_raw`.
        """
        return None if self.before_raw is None else decode_value(self.before_raw)

    @property
    def after(self) -> Any:
        """The state after, decoded anew at each access; None where there is none.

        Raises:
            ClientError: Python cannot hold it (nested too deeply, a number out of range); use `after_raw`.
        """
        return None if self.after_raw is None else decode_value(self.after_raw)


@dataclass(frozen=True, slots=True)
class State:
    """The state of a session, as of a place in the order; one of a list that `Live` ends.

    After a `Reset` it is a session that is not deleted. After a `Conflated` it may be `null`, for one that was.

    Args:
        seq: The number of the session's last delta.
        epoch: The epoch.
        session_id: The session.
        state_raw: JSON text of the state.
        raw: The whole event as it was received.
    """

    seq: int
    epoch: str
    session_id: str
    state_raw: bytes
    raw: bytes

    @property
    def state(self) -> Any:
        """The state, decoded anew at each access.

        Raises:
            ClientError: Python cannot hold it (nested too deeply, a number out of range); use `state_raw`.
        """
        return decode_value(self.state_raw)


@dataclass(frozen=True, slots=True)
class Live:
    """History (or the list of states) is over: everything that matches, up to `seq`, has been yielded.

    Args:
        seq: The place in the order.
        epoch: The epoch.
        hash: The chain's hash there, None where it is not known.
    """

    seq: int
    epoch: str
    hash: str | None = None

    @property
    def position(self) -> Position:
        """The position to resume from."""
        return Position(self.epoch, self.seq, self.hash)


@dataclass(frozen=True, slots=True)
class Reset:
    """A reset: the position cannot be resumed from, what was derived so far is void. States and `Live` follow.

    Args:
        reason: `epoch_changed`, `pruned`, `ahead`, `fork` (the history up to there is another one) or
            `not_recording`; or `cut`, the client's own: the
            connection was lost in the middle of a list of states, which begins again from its start.
        epoch: The epoch from here on.
        oldest: The first seq still kept, None where the reason is `cut`.
        head: The highest seq given.
    """

    reason: str
    epoch: str
    oldest: int | None
    head: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure: a session's content was erased from the recorder's database. Erase your copies, too.

    It may be said again after a reconnection.

    Args:
        session_id: The session.
        through: The content of its deltas up to this seq was erased.
        count: Of how many deltas.
        erased_at: When: UTC, milliseconds, `Z`.
        epoch: The epoch.
    """

    session_id: str
    through: int
    count: int
    erased_at: str
    epoch: str


@dataclass(frozen=True, slots=True)
class Conflated:
    """With `slow="conflate"`: the reader was too slow, and some deltas are not sent to it.

    A `State` follows for each session that they were about, then `Live` (or another `Conflated` that goes on where
    this one ends). Where the connection is lost before that `Live`, they come after all: as deltas, from `since` on.

    Args:
        epoch: The epoch.
        since: The deltas after this seq are left out.
        to: Up to and with this one.
        count: How many of them match the subscription.
    """

    epoch: str
    since: int
    to: int
    count: int


@dataclass(frozen=True, slots=True)
class Hello:
    """A connection was made. Yielded only where notices were asked for.

    Args:
        epoch: The epoch.
        head: The highest seq given.
        durable: The highest seq known to be on disk, None where it was not said.
        recording: Whether anything is recorded.
        durability: `snapshot` or `commit`.
        loss_window_ms: How much a crash may cost, in milliseconds, None where it was not said.
    """

    epoch: str
    head: int
    durable: int | None
    recording: bool
    durability: str
    loss_window_ms: int | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The server is alive. Yielded only where notices were asked for.

    Args:
        epoch: The epoch.
        head: The highest seq given.
        durable: The highest seq known to be on disk, None where it was not said.
        at: The server's time: UTC, milliseconds, `Z`.
        position: Where to resume from: nothing that matches is missing up to there. None during catch-up.
    """

    epoch: str
    head: int
    durable: int | None
    at: str
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection was lost, or could not be made; it will be tried again. Yielded only with notices.

    Args:
        why: What happened, for people.
        retry_s: Seconds until the next try.
    """

    why: str
    retry_s: float


Event = Delta | State | Live | Reset | Erasure | Conflated | Hello | Heartbeat | Disconnected
"""Everything a subscription can yield."""


@dataclass(frozen=True, slots=True)
class Ack:
    """A frame's deltas are recorded.

    Args:
        epoch: The epoch.
        first_seq: The number of the first delta; of a repeated id, the number it got at first.
        seq: The number of the last delta.
        count: How many deltas.
        durable: Whether they are known to be on disk.
    """

    epoch: str
    first_seq: int
    seq: int
    count: int
    durable: bool

    @property
    def position(self) -> Position:
        """The position from which a subscriber continues after these deltas."""
        return Position(self.epoch, self.seq)
