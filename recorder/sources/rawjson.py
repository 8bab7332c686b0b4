"""Cutting JSON into its parts without changing a byte of them.

States are evidence: a number of thirty digits, `1e2`, odd spacing, the order of names and every escape go through as
they are, so values are sliced out of the text and never decoded and encoded again. msgspec does the cutting; what it
refuses goes through the standard library's scanner, because JSON allows a lone surrogate escape such as `"\\ud83d"`
and msgspec does not. `decode` is for the few values that are looked at, `dump` for those that are made here.

Of a name that an object has twice, the last counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import msgspec
import orjson

from recorder.sources.records import Unfit

NULL = b"null"
_SPACE = re.compile(r"[ \t\r\n]*")
_KINDS = {
    b"{": "an object",
    b"[": "an array",
    b'"': "a string",
    b"t": "a boolean",
    b"f": "a boolean",
    b"n": "null",
}
_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_any_decoder = msgspec.json.Decoder(msgspec.Raw)


class BadJson(Unfit):
    """A text is not JSON, or not of the kind that is wanted."""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _integer(text: str) -> int | float:
    # int() refuses more than 4300 digits; nothing that is looked at needs them.
    return int(text) if len(text) < 4000 else float(text)


_skipper = json.JSONDecoder(parse_constant=_no_constant, parse_int=len, parse_float=len)
_reader = json.JSONDecoder(parse_constant=_no_constant, parse_int=_integer)


def members(text: bytes) -> dict[str, bytes]:
    """The names and values of an object.

    Args:
        text: JSON text of an object.

    Returns:
        The text of each value by its name, in order.

    Raises:
        BadJson: It is not UTF-8, not JSON, or not an object.
    """
    check_utf8(text)
    try:
        return {name: bytes(value) for name, value in _object_decoder.decode(text).items()}
    except (msgspec.MsgspecError, RecursionError):
        return dict(_members(text.decode()))


def elements(text: bytes) -> Iterator[bytes]:
    """The elements of an array, in order.

    A text that breaks off gives the elements before the break and then raises.

    Raises:
        BadJson: It is not UTF-8, not JSON, or not an array.
    """
    check_utf8(text)
    try:
        values = _array_decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        yield from _elements(text.decode())
    else:
        for value in values:
            yield bytes(value)


def values(text: bytes) -> Iterator[bytes]:
    """The values of a text in which several follow each other, with nothing but white space between them.

    Raises:
        BadJson: It is not UTF-8, or not JSON from some place on.
    """
    check_utf8(text)
    line = text.decode()
    position = _skip(line, 0)
    while position < len(line):
        end = _value_end(line, position)
        yield line[position:end].encode()
        position = _skip(line, end)


def check(text: bytes) -> None:
    """Raise BadJson unless the text is one JSON value."""
    check_utf8(text)
    try:
        _any_decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        line = text.decode()
        _end(line, _value_end(line, _skip(line, 0)))


def check_utf8(text: bytes) -> None:
    """Raise BadJson unless the text is UTF-8 (msgspec does not look inside strings it leaves raw)."""
    if text.isascii():
        return
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise BadJson(f"not UTF-8: byte {error.start}", hint="convert the file to UTF-8") from None


def decode(text: bytes) -> Any:
    """The value of a text.

    Raises:
        BadJson: It is not JSON (what was cut out by this module is), or nested too deeply.
    """
    try:
        return _reader.decode(text.decode())
    except RecursionError:
        raise BadJson("nested too deeply") from None
    except ValueError as error:
        raise BadJson(f"not JSON: {error}") from None


def string(text: bytes | None) -> str | None:
    """The string that a value is, or None where it is absent or not a string.

    Raises:
        BadJson: It begins like a string, and is not JSON.
    """
    if text is None or not text.startswith(b'"'):
        return None
    value = decode(text)
    assert isinstance(value, str)
    return value


def present(text: bytes | None) -> bytes | None:
    """The value, or None where it is absent or `null`."""
    return None if text is None or text == NULL else text


def kind(text: bytes) -> str:
    """What a value is, for messages: `an object`, `a number`, …"""
    return _KINDS.get(text[:1], "a number")


def dump(value: object) -> bytes:
    """JSON text of a Python value; characters that UTF-8 cannot carry are escaped.

    Raises:
        BadJson: It is nested too deeply.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        pass  # lone surrogates, integers beyond 64 bits, deep nesting
    try:
        return json.dumps(value, separators=(",", ":")).encode()
    except RecursionError:
        raise BadJson("nested too deeply") from None


def assemble(pairs: Iterable[tuple[str, bytes | None]]) -> bytes:
    """An object of texts; what is None is left out."""
    return b"{" + b",".join([dump(name) + b":" + text for name, text in pairs if text is not None]) + b"}"


def _members(text: str) -> Iterator[tuple[str, bytes]]:
    position = _open(text, "{", "an object")
    closed = text[position : position + 1] == "}"
    while not closed:
        if text[position : position + 1] != '"':
            raise BadJson(f"not JSON: a name expected at character {position}")
        end = _value_end(text, position)
        name = _reader.decode(text[position:end])
        start = _skip(text, _expect(text, end, ":"))
        end = _value_end(text, start)
        yield name, text[start:end].encode()
        position = _skip(text, end)
        closed = text[position : position + 1] == "}"
        if not closed:
            position = _skip(text, _expect(text, position, ","))
    _end(text, position + 1)


def _elements(text: str) -> Iterator[bytes]:
    position = _open(text, "[", "an array")
    closed = text[position : position + 1] == "]"
    while not closed:
        end = _value_end(text, position)
        yield text[position:end].encode()
        position = _skip(text, end)
        closed = text[position : position + 1] == "]"
        if not closed:
            position = _skip(text, _expect(text, position, ","))
    _end(text, position + 1)


def _open(text: str, bracket: str, wanted: str) -> int:
    start = _skip(text, 0)
    if text[start : start + 1] != bracket:
        _end(text, _value_end(text, start))
        raise BadJson(f"{wanted} is wanted, this is {kind(text[start : start + 1].encode())}")
    return _skip(text, start + 1)


def _end(text: str, position: int) -> None:
    position = _skip(text, position)
    if position != len(text):
        raise BadJson(f"not JSON: more text at character {position}")


def _expect(text: str, position: int, char: str) -> int:
    position = _skip(text, position)
    if text[position : position + 1] != char:
        raise BadJson(f"not JSON: {char!r} expected at character {position}")
    return position + 1


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()


def _value_end(text: str, position: int) -> int:
    try:
        return _skipper.raw_decode(text, position)[1]
    except RecursionError:
        raise BadJson("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise BadJson(f"not JSON: {error.msg} at character {error.pos}") from None
    except ValueError as error:
        raise BadJson(f"not JSON: {error}") from None
