"""Cutting the JSON of logs: `model/jsontext` with errors that can be handed over, and the values that are looked at.

What is cut is kept byte for byte. `decode` is for the few values that are looked at, `dump` for those that are made
here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from recorder.bridges.imports.records import Unfit
from recorder.core import json_text as jsontext

NULL = b"null"


class BadJson(Unfit):
    """A text is not JSON, or not of the type that is wanted."""


@contextmanager
def _unfit() -> Iterator[None]:
    try:
        yield
    except jsontext.BadJson as bad:
        hint = "convert the file to UTF-8" if bad.kind == "encoding" else None
        raise BadJson(bad.message, hint=hint) from None


def _integer(text: str) -> int | float:
    # int() refuses more than 4300 digits; nothing that is looked at needs them.
    return int(text) if len(text) < 4000 else float(text)


_reader = json.JSONDecoder(parse_constant=jsontext.no_constant, parse_int=_integer)


def members(text: bytes) -> dict[str, bytes]:
    """Return the members of an object, by name.

    Args:
        text: JSON text of an object.

    Returns:
        The text of each value by its name, in order; of a name given twice the last value.

    Raises:
        BadJson: It is not UTF-8, not JSON, or not an object.
    """
    with _unfit():
        return jsontext.members(text)


def elements(text: bytes) -> Iterator[bytes]:
    """Yield the elements of an array, in order.

    A truncated text gives the elements before the break and then raises.

    Raises:
        BadJson: It is not UTF-8, not JSON, or not an array.
    """
    with _unfit():
        yield from jsontext.elements(text)


def values(text: bytes) -> Iterator[bytes]:
    """Yield the values of a text that contains several; white space, or a bracket on either side, separates
    them.

    Raises:
        BadJson: It is not UTF-8, or not JSON from some place on.
    """
    with _unfit():
        jsontext.check_utf8(text)
        for value in jsontext.scan_values(text.decode()):
            yield value.encode()


def check(text: bytes) -> None:
    """Raise BadJson unless the text is one JSON value."""
    with _unfit():
        jsontext.check(text)


def check_utf8(text: bytes) -> None:
    """Raise BadJson unless the text is UTF-8."""
    with _unfit():
        jsontext.check_utf8(text)


def decode(text: bytes) -> Any:
    """Return the decoded value of a JSON text.

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
    """Return the value if it is a string; None if it is absent or not a string.

    Raises:
        BadJson: It begins like a string, and is not JSON.
    """
    if text is None or not text.startswith(b'"'):
        return None
    value = decode(text)
    assert isinstance(value, str)
    return value


def present(text: bytes | None) -> bytes | None:
    """Return the value; None if it is absent or `null`."""
    return None if text is None or text == NULL else text


def kind(text: bytes) -> str:
    """Return the type of a value, for messages: `an object`, `a number`, …"""
    return jsontext.type_of(text[:1].decode("latin-1"))


def dump(value: object) -> bytes:
    """Return the JSON text of a Python value; characters that UTF-8 cannot encode are escaped.

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
    """Return the JSON text of an object whose values are JSON texts; values that are None are left out."""
    return b"{" + b",".join([dump(name) + b":" + text for name, text in pairs if text is not None]) + b"}"
