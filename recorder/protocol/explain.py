"""The careful way through a publisher's JSON: slower than msgspec, and able to say what is wrong and where.

It walks the top level by itself and leaves values to the standard library's scanner, which accepts all that
RFC 8259 allows. Used for what msgspec refused, and to cut an array into its elements. It keeps the text of states
as it is. What it repeats of the input in a message is short and can be written as UTF-8, however hostile it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import NoReturn

from recorder.errors import InvalidDelta, InvalidJson
from recorder.model.delta import DELTA_TYPES, Delta

FIELDS = ("type", "sessionId", "before", "after", "timestamp", "id")
_SPACE = re.compile(r"[ \t\r\n]*")
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in _STEPS)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(
    parse_constant=_no_constant,
    # Values are only skipped: building numbers would cost, and int() refuses more than 4300 digits.
    parse_int=len,
    parse_float=len,
)


def elements(data: bytes) -> Iterator[bytes]:
    """The texts of an array's elements, in order, each as soon as it is found.

    Lazily, because what is wrong is mostly wrong at once: a hostile array of millions of elements costs no more
    than its first one.

    Args:
        data: JSON text of an array, UTF-8, already checked to be UTF-8.

    Raises:
        InvalidJson: It is not JSON from there on; the message says where.
    """
    text = data.decode()
    position = _skip(text, _skip(text, 0) + 1)
    index = 0
    closed = text[position : position + 1] == "]"
    while not closed:
        end = _value_end(text, position, f"[{index}]", index)
        yield text[position:end].encode()
        position = _skip(text, end)
        closed = text[position : position + 1] == "]"
        if not closed:
            position = _skip(text, _expect(text, position, ",", index))
            index += 1
    if _skip(text, position + 1) != len(text):
        raise InvalidJson(f"not JSON: more text after the array, at character {position + 1}")


def delta_fields(data: bytes, index: int | None) -> Delta:
    """The fields of one delta's JSON text, types checked, rules not yet.

    Args:
        data: The text, UTF-8, already checked to be UTF-8.
        index: Its place in an array, for messages, or None.

    Raises:
        InvalidJson: It is not JSON.
        InvalidDelta: It is not an object, a field is unknown, missing or of the wrong type.
    """
    # All of it first, so that what is not JSON is called so; of two fields with one name the last counts.
    raw = dict(_members(data.decode(), index))
    for name in raw:
        if name not in FIELDS:
            raise InvalidDelta(
                f"{place(index)}unknown field {name[:40]!r}",
                hint=f"there are {', '.join(FIELDS)}",
                index=index,
                place=None if index is None else f"[{index}]",
            )
    for name in ("type", "sessionId"):
        if name not in raw:
            raise refused(index, name, "required")
    kind = _string(raw["type"], "type", index)
    if kind not in DELTA_TYPES:
        raise refused(index, "type", f"must be 'created', 'updated' or 'deleted', is {kind[:40]!r}")
    return Delta(
        kind,
        _string(raw["sessionId"], "sessionId", index),
        _state(raw.get("before")),
        _state(raw.get("after")),
        _string(raw["timestamp"], "timestamp", index) if raw.get("timestamp", "null") != "null" else None,
        _string(raw["id"], "id", index) if raw.get("id", "null") != "null" else None,
    )


def place(index: int | None) -> str:
    """How a message names the delta it speaks of: nothing for a single one, `[2]: ` in an array."""
    return "" if index is None else f"[{index}]: "


def refused(index: int | None, name: str, why: str) -> InvalidDelta:
    """An InvalidDelta that names a field: `[2].after: required for type 'updated'`."""
    where = name if index is None else f"[{index}].{name}"
    return InvalidDelta(f"{where}: {why}", index=index, place=where)


def depth(text: str) -> int:
    """How many arrays and objects a JSON text has inside one another."""
    # Without escapes every other piece between quotes is inside a string.
    outside = text.replace(r"\\", "").replace(r"\"", "").split('"')[::2]
    brackets = "".join(outside).encode().translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _state(text: str | None) -> str | None:
    return None if text == "null" else text


def _string(text: str, name: str, index: int | None) -> str:
    if not text.startswith('"'):
        raise refused(index, name, f"must be a string, is {text[:40]}")
    value = json.loads(text)
    assert isinstance(value, str)
    return value


def _members(text: str, index: int | None) -> Iterator[tuple[str, str]]:
    position = _skip(text, 0)
    if text[position : position + 1] != "{":
        end = _value_end(text, position, "", index)
        if _skip(text, end) != len(text):
            raise InvalidJson(f"{place(index)}not JSON: more text at character {end}", index=index)
        raise InvalidDelta(f"{place(index)}a delta is a JSON object, this is not one", index=index)
    position = _skip(text, position + 1)
    closed = text[position : position + 1] == "}"
    while not closed:
        end = _value_end(text, position, "", index)
        if text[position : position + 1] != '"':
            raise InvalidJson(f"{place(index)}not JSON: a name expected at character {position}", index=index)
        name = json.loads(text[position:end])
        start = _skip(text, _expect(text, end, ":", index))
        shown = name if name in FIELDS else repr(name[:40])
        end = _value_end(text, start, shown if index is None else f"[{index}].{shown}", index)
        yield name, text[start:end]
        position = _skip(text, end)
        closed = text[position : position + 1] == "}"
        if not closed:
            position = _skip(text, _expect(text, position, ",", index))
    if _skip(text, position + 1) != len(text):
        raise InvalidJson(f"{place(index)}not JSON: more text at character {position + 1}", index=index)


def _expect(text: str, position: int, char: str, index: int | None) -> int:
    position = _skip(text, position)
    if text[position : position + 1] != char:
        raise InvalidJson(f"{place(index)}not JSON: {char!r} expected at character {position}", index=index)
    return position + 1


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()


def _value_end(text: str, position: int, where: str, index: int | None) -> int:
    label = f"{where}: " if where else place(index)
    try:
        return _decoder.raw_decode(text, position)[1]
    except RecursionError:
        # Only from far beyond MAX_DEPTH on.
        raise InvalidDelta(f"{label}nested too deeply", index=index, place=where or None) from None
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise InvalidJson(f"{label}not JSON: {what} at character {error.pos}", index=index) from None
    except ValueError as error:
        raise InvalidJson(f"{label}not JSON: {error}", index=index) from None
