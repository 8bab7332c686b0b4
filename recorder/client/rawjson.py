"""JSON text as text: cutting an object into its members, and turning a value into Python when asked.

msgspec does the work. What it refuses goes the slow way through the standard library, since JSON allows an
escape such as `"\\ud83d"` alone (RFC 8259, section 8.2) and msgspec does not. Of a name an object has twice,
the last counts.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import msgspec

from recorder.errors import ClientError

NULL = b"null"
_SPACE = re.compile(r"[ \t\r\n]*")
_any = msgspec.json.Decoder()
_raw = msgspec.json.Decoder(msgspec.Raw)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_reader = json.JSONDecoder(parse_constant=_no_constant)
# Values are only skipped: building numbers would cost, and int() refuses more than 4300 digits.
_skipper = json.JSONDecoder(parse_constant=_no_constant, parse_int=len, parse_float=len)


def decode_value(text: bytes) -> Any:
    """A JSON value as Python objects; whole numbers exact, lone surrogate escapes as lone surrogates.

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


def check_value(text: bytes) -> None:
    """Make sure that a text is one JSON value and UTF-8, so that it can be put into other JSON as it is.

    Raises:
        ValueError: It is not; the message says where.
        RecursionError: It is nested too deeply to be looked through.
    """
    as_text = text.decode()
    try:
        _raw.decode(text)
    except msgspec.MsgspecError:
        end = _skipper.raw_decode(as_text, _skip(as_text, 0))[1]
        if _skip(as_text, end) != len(as_text):
            raise ValueError(f"more text after the value, at character {end}") from None


def members(text: str) -> dict[str, str]:
    """The names and values of an object, values as their text.

    Args:
        text: JSON text of an object.

    Raises:
        ValueError: It is not JSON, or not an object.
        RecursionError: It is nested too deeply.
    """
    found: dict[str, str] = {}
    at = _after(text, 0, "{")
    empty = text[_skip(text, at) :].startswith("}")
    while not empty:
        at = _skip(text, at)
        name, at = _skipper.raw_decode(text, at)
        if not isinstance(name, str):
            raise ValueError(f"a name expected before character {at}")
        start = _skip(text, _after(text, at, ":"))
        at = _skipper.raw_decode(text, start)[1]
        found[name] = text[start:at]
        at = _skip(text, at)
        if text[at : at + 1] != ",":
            break
        at += 1
    if _skip(text, _after(text, at, "}")) != len(text):
        raise ValueError(f"more text after the object, at character {at + 1}")
    return found


def _after(text: str, at: int, char: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != char:
        raise ValueError(f"{char!r} expected at character {at}")
    return at + 1


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()
