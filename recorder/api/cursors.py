"""Cursors: opaque texts that carry a question and the place where its answer goes on.

The server keeps nothing for them. A cursor holds for one question in one epoch: in another epoch its seq may name
another delta, and at another question it would skip or repeat, so both are refused. What a client makes up by hand
is refused too, or is a question like any other.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal, TypeVar

import msgspec

from recorder.core.errors import InvalidCursor

HINT = "begin again without it"
MAX_SEQ = 2**63 - 1
"""The largest number SQLite can keep."""

Order = Literal["asc", "desc"]
Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]
Values = Annotated[list[str], msgspec.Meta(min_length=1)]


class DeltasCursor(msgspec.Struct, frozen=True, tag="deltas", forbid_unknown_fields=True):
    """Where a walk through deltas goes on.

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
    """Where a walk through sessions goes on. They are listed by their last seq, and that moves meanwhile.

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


def encode(cursor: DeltasCursor | SessionsCursor) -> str:
    """The text of a cursor; URL-safe."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def decode(text: str, kind: type[Cursor], epoch: str) -> Cursor:
    """The cursor that a text carries.

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
            hint=HINT,
            place="cursor",
        ) from None
    if cursor.epoch != epoch:
        raise InvalidCursor(
            f"cursor: of epoch {cursor.epoch[:40]!r}, and {epoch} has begun since; its seqs may name other deltas",
            hint=HINT,
            place="cursor",
        )
    return cursor
