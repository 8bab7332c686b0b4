"""The decoder of a server's messages: from bytes to one wire value, or None for an unknown event.

One msgspec pass with the states left raw; a text with a lone surrogate escape goes the slow way and comes
out the same. Unknown fields and events are ignored, as the protocol asks of clients. Anything else that does
not fit raises `Violation`, and nothing else is ever raised.
"""

from __future__ import annotations

import msgspec

from recorder.core.json_text import scan_members

ABSENT = msgspec.Raw(b"null")
"""The state where there is none: `null` and left out mean the same."""


class Violation(Exception):
    """The server broke the protocol, or something on the way did: the connection is not to be trusted."""


class HelloWire(msgspec.Struct, tag_field="event", tag="hello", rename="camel"):
    """`hello`."""

    protocol: int
    epoch: str
    head: int
    durable: int | None = None
    recording: bool = True
    durability: str = "snapshot"
    loss_window_ms: int | None = None
    scoped: bool = False


class EnvelopeWire(msgspec.Struct, rename="camel"):
    """The delta inside a delta event."""

    type: str
    session_id: str
    timestamp: str
    before: msgspec.Raw = ABSENT
    after: msgspec.Raw = ABSENT
    id: str | None = None


class ErasedWire(msgspec.Struct):
    """The digests of states that were erased."""

    before: str | None = None
    after: str | None = None


class DeltaWire(msgspec.Struct, tag_field="event", tag="delta", rename="camel"):
    """`delta`."""

    seq: int
    recorded_at: str
    delta: EnvelopeWire
    hash: str | None = None
    lineage: str | None = None
    before_filled: bool = False
    id_digest: str | None = None
    erased: ErasedWire | None = None


class StateWire(msgspec.Struct, tag_field="event", tag="state", rename="camel"):
    """`state`."""

    seq: int
    session_id: str
    state: msgspec.Raw = ABSENT


class LiveWire(msgspec.Struct, tag_field="event", tag="live"):
    """`live`."""

    seq: int
    hash: str | None = None


class ResetWire(msgspec.Struct, tag_field="event", tag="reset"):
    """`reset`."""

    reason: str
    epoch: str
    oldest: int
    head: int


class HeartbeatWire(msgspec.Struct, tag_field="event", tag="heartbeat"):
    """`heartbeat`."""

    epoch: str
    head: int
    durable: int | None = None
    at: str = ""
    through: int | None = None


class ErasureWire(msgspec.Struct, tag_field="event", tag="erased", rename="camel"):
    """`erased`."""

    session_id: str
    through: int
    count: int
    erased_at: str = ""


class ConflatedWire(msgspec.Struct, tag_field="event", tag="conflated"):
    """`conflated`."""

    epoch: str
    since: int = msgspec.field(name="from")
    to: int
    count: int


class ErrorWire(msgspec.Struct, tag_field="event", tag="error"):
    """`error`."""

    code: str
    message: str
    index: int | None = None


class AckWire(msgspec.Struct, tag_field="event", tag="ack", rename="camel"):
    """`ack`."""

    epoch: str
    first_seq: int
    seq: int
    count: int
    durable: bool = False


Wire = (
    HelloWire
    | DeltaWire
    | StateWire
    | LiveWire
    | ResetWire
    | HeartbeatWire
    | ErasureWire
    | ConflatedWire
    | ErrorWire
    | AckWire
)

_KNOWN = {"hello", "delta", "state", "live", "reset", "heartbeat", "erased", "conflated", "error", "ack"}
_STATES = ("before", "after")
_decoder: msgspec.json.Decoder[Wire] = msgspec.json.Decoder(Wire)


def decode(data: bytes) -> Wire | None:
    """Decode one message.

    Args:
        data: The message's payload.

    Returns:
        The event, or None for one of a kind that is not known here.

    Raises:
        Violation: It is not UTF-8, not JSON, not an event, or an event without what belongs to it.
    """
    if not data.isascii():
        # msgspec does not look inside what it leaves raw.
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise Violation(f"a message is not UTF-8 at byte {error.start}") from None
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        return _decode_slowly(data, error)


def state_text(raw: msgspec.Raw) -> bytes | None:
    """Return the bytes of a state; None if it is `null` or absent."""
    text = bytes(raw)
    return None if text == b"null" else text


def _decode_slowly(data: bytes, refusal: Exception) -> Wire | None:
    """Decode a message that msgspec rejected: an unknown event, a lone surrogate in a state, or an invalid
    message.
    """
    try:
        fields = dict(scan_members(data.decode()))
        event = msgspec.json.decode(fields.get("event", "null"))
        if isinstance(event, str) and event not in _KNOWN:
            return None
        if event == "delta":
            return _delta(fields)
        if event == "state":
            state = fields.pop("state", "null")
            wire = _decoder.decode(_join(fields))
            assert isinstance(wire, StateWire)
            wire.state = msgspec.Raw(state.encode())
            return wire
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Violation(f"a message cannot be understood: {error}") from None
    raise Violation(f"a message cannot be understood: {refusal}")


def _delta(fields: dict[str, str]) -> Wire:
    envelope = dict(scan_members(fields.get("delta", "null")))
    states = {name: msgspec.Raw(envelope.pop(name, "null").encode()) for name in _STATES}
    wire = _decoder.decode(_join({**fields, "delta": _join(envelope)}))
    assert isinstance(wire, DeltaWire)
    wire.delta.before, wire.delta.after = states["before"], states["after"]
    return wire


def _join(fields: dict[str, str]) -> str:
    return (
        "{"
        + ",".join([f"{msgspec.json.encode(name).decode()}:{text}" for name, text in fields.items()])
        + "}"
    )
