"""The encoder of a caller's deltas to the JSON text of a frame.

One rule for states: what is written decodes to what was given. Whole numbers of any length are exact, texts may hold
lone surrogates, `RawJson` goes out byte for byte at any place. What JSON has no way to say is refused with its place:
NaN and Infinity, keys that are no texts, values of other types. orjson writes what it writes right; what it refuses
(numbers beyond 64 bits, lone surrogates, depth) is written here, beside raw parts or not, by the same rule.

Only what would break the JSON of the frame is checked: whether a delta is valid is the server's to say.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import msgspec
import orjson

from recorder.core import json_text
from recorder.core.errors import ClientError
from recorder.core.json_patch import escape

_FIELDS = {"type": "type", "sessionId": "session_id", "before": "before", "after": "after"} | {
    name: name for name in ("timestamp", "id")
}


class RawJson:
    """JSON text to be sent as it is, as a state or anywhere inside one.

    Args:
        text: One JSON value, UTF-8.
    """

    # No dataclass: orjson would write one as an object, without asking.
    __slots__ = ("text",)

    def __init__(self, text: bytes | str) -> None:
        self.text = text  # checked when it is written

    def __repr__(self) -> str:
        return f"RawJson({self.text!r})"


@dataclass(frozen=True, slots=True)
class NewDelta:
    """A delta to publish.

    Args:
        type: `created`, `updated` or `deleted`.
        session_id: 1 to 256 characters, no control characters.
        before: The state before: dictionaries with texts as keys, lists, tuples, texts, numbers, booleans, None,
            dataclasses, enums, dates and UUIDs (as texts), or `RawJson`; NaN and Infinity are refused. None is the same
            as left out.
        after: The state after, likewise.
        timestamp: When it happened: RFC 3339 text, or a datetime with an offset. None: the time of receipt.
        id: Idempotency key of 1 to 128 characters. None: the client gives one, unless told not to.
    """

    type: str
    session_id: str
    before: Any = None
    after: Any = None
    timestamp: str | datetime | None = None
    id: str | None = None


Publishable = NewDelta | Mapping[str, Any]
"""A delta, or a mapping with the names of the wire (`sessionId`)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame to publish.

    Args:
        text: Its JSON text.
        count: How many deltas it has; None where that was not looked at.
        is_repeatable: Whether each delta has an id, so that sending it twice records it once.
    """

    text: bytes
    count: int | None
    is_repeatable: bool


class _Wire(msgspec.Struct, omit_defaults=True, rename="camel"):
    type: str
    session_id: str
    before: msgspec.Raw | None = None
    after: msgspec.Raw | None = None
    timestamp: str | None = None
    id: str | None = None


class _Identified(msgspec.Struct):
    id: str | None = None


_ids = msgspec.json.Decoder(_Identified | list[_Identified])


def encode_frame(deltas: Publishable | Sequence[Publishable], new_id: Callable[[], str] | None) -> Frame:
    """Return the frame of one delta, or of several that are recorded all or none.

    Args:
        deltas: One delta, or a sequence of at least one.
        new_id: Gives an id to those without one; None leaves them without.

    Raises:
        ClientError: A delta cannot be written as JSON; the message says which and why.
    """
    if isinstance(deltas, NewDelta | Mapping):
        wire = _to_wire(deltas, new_id, None)
        return Frame(_dump(wire), 1, wire.id is not None)
    asked: object = deltas  # whoever has no type checker may give anything
    if isinstance(asked, str | bytes | bytearray):
        # Its letters would be taken for deltas.
        raise ClientError("a text is no delta", hint="publish_raw takes JSON text")
    wires = [_to_wire(delta, new_id, index) for index, delta in enumerate(deltas)]
    if not wires:
        raise ClientError("there is nothing to publish", hint="give at least one delta")
    return Frame(_dump(wires), len(wires), all(wire.id is not None for wire in wires))


def raw_frame(text: bytes | str) -> Frame:
    """Return the frame of JSON text that already is a delta or an array of deltas.

    Raises:
        ClientError: It is not UTF-8.
    """
    try:
        data = text.encode() if isinstance(text, str) else bytes(text)
        data.decode()
    except UnicodeError as error:
        raise ClientError(f"the text is not UTF-8: {error}") from None
    try:
        found = _ids.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        # The server validates it; without known ids it is sent once.
        return Frame(data, None, is_repeatable=False)
    deltas = found if isinstance(found, list) else [found]
    return Frame(data, len(deltas), all(delta.id is not None for delta in deltas))


def encode_state(state: Any) -> bytes:
    """Write a state as JSON text.

    Args:
        state: What `NewDelta` takes as a state, `RawJson` or `msgspec.Raw`, also inside.

    Raises:
        ValueError: It cannot be written as JSON, or a raw part is not JSON; the message says where and why.
    """
    if isinstance(state, RawJson | msgspec.Raw):
        return _raw_text(state)
    try:
        text = orjson.dumps(state, default=_default)
    except orjson.JSONEncodeError:
        return _write_exactly(state)
    # orjson writes NaN as null, so that a text without one needs no second look.
    return text if b"null" not in text or _is_finite(state) else _write_exactly(state)


def _default(value: Any) -> Any:
    if isinstance(value, RawJson | msgspec.Raw):
        return orjson.Fragment(_raw_text(value))
    raise TypeError


def _is_finite(state: Any) -> bool:
    """Return whether no number in what orjson has written is NaN or infinite."""
    left = [state]
    while left:
        value = left.pop()
        if isinstance(value, float):
            if not math.isfinite(value):
                return False
        elif isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value
        elif isinstance(value, Enum):
            left.append(value.value)
        elif dataclasses.is_dataclass(value):
            left += _fields(value).values()
    return True


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that are written: as orjson does, none that begins with an underscore."""
    names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
    return {name: getattr(value, name) for name in names}


def _write_exactly(state: Any) -> bytes:
    parts: list[bytes] = []
    try:
        _write(state, "", parts)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return b"".join(parts)


def _write(value: Any, where: str, parts: list[bytes]) -> None:
    """Append the text of a value.

    Args:
        value: It.
        where: Its place as a JSON Pointer, for errors.
        parts: What is appended to.
    """
    match value:
        case RawJson() | msgspec.Raw():
            parts.append(_raw_text(value))
        case Enum():
            _write(value.value, where, parts)
        case None | bool() | str() | int() | float():
            parts.append(_scalar(value, where))
        case dict():
            _write_members(value, where, parts)
        case list() | tuple():
            for index, element in enumerate(value):
                parts.append(b"," if index else b"[")
                _write(element, f"{where}/{index}", parts)
            parts.append(b"]" if value else b"[]")
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            _write_members(_fields(value), where, parts)
        case _:
            try:
                parts.append(orjson.dumps(value))  # such as a date
            except orjson.JSONEncodeError:
                raise _no_json(where, f"a value of type {type(value).__name__} is no JSON") from None


def _write_members(members: dict[Any, Any], where: str, parts: list[bytes]) -> None:
    opening = b"{"
    for name, value in members.items():
        if not isinstance(name, str):
            raise _no_json(where, f"the key {name!r} is no text, as JSON's must be")
        parts.append(opening + _scalar(name, where) + b":")
        _write(value, f"{where}/{escape(name)}", parts)
        opening = b","
    parts.append(b"}" if members else b"{}")


def _scalar(value: bool | str | int | float | None, where: str) -> bytes:
    if isinstance(value, float) and not math.isfinite(value):
        raise _no_json(where, f"{value} is no JSON")
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # an integer beyond 64 bits, a lone surrogate
        try:
            return json.dumps(value).encode()
        except ValueError as error:  # an integer of more digits than Python writes
            raise _no_json(where, str(error)) from None


def _no_json(where: str, why: str) -> ValueError:
    return ValueError(f"{why}, at {where[:200]}" if where else why)


def _raw_text(raw: RawJson | msgspec.Raw) -> bytes:
    given = raw.text if isinstance(raw, RawJson) else bytes(raw)
    text = given.encode() if isinstance(given, str) else bytes(given)
    try:
        json_text.check(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the raw text is not one JSON value: {error}") from None
    return text


def _to_wire(delta: Publishable, new_id: Callable[[], str] | None, index: int | None) -> _Wire:
    if isinstance(delta, Mapping):
        delta = _from_mapping(delta, index)
    if not isinstance(delta, NewDelta):
        raise _refused(
            index, "delta", f"a NewDelta or a mapping is wanted, this is of type {type(delta).__name__}"
        )
    identity = new_id() if delta.id is None and new_id is not None else delta.id
    when = delta.timestamp
    if isinstance(when, datetime):
        if when.utcoffset() is None:
            raise _refused(index, "timestamp", "a datetime must have an offset, such as tzinfo=UTC")
        when = when.isoformat()
    return _Wire(
        delta.type,
        delta.session_id,
        _state(delta.before, index, "before"),
        _state(delta.after, index, "after"),
        when,
        identity,
    )


def _from_mapping(delta: Mapping[str, Any], index: int | None) -> NewDelta:
    unknown = [name for name in delta if name not in _FIELDS]
    if unknown:
        raise _refused(index, str(unknown[0]), f"unknown field; there are {', '.join(_FIELDS)}")
    for name in ("type", "sessionId"):
        if name not in delta:
            raise _refused(index, name, "required")
    return NewDelta(**{_FIELDS[name]: value for name, value in delta.items()})


def _state(state: Any, index: int | None, name: str) -> msgspec.Raw | None:
    if state is None:
        return None
    try:
        return msgspec.Raw(encode_state(state))
    except ValueError as error:
        raise _refused(index, name, str(error)) from None


def _dump(wire: _Wire | list[_Wire]) -> bytes:
    try:
        return msgspec.json.encode(wire)
    except (ValueError, TypeError) as error:
        raise ClientError(f"a delta cannot be written as JSON: {error}") from None


def _refused(index: int | None, name: str, why: str) -> ClientError:
    place = name if index is None else f"[{index}].{name}"
    return ClientError(f"{place}: {why}", index=index, place=place)
