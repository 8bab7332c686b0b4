"""JSON text as the client needs it: turned into Python when asked, checked before it is sent, cut when it came odd.

Decoding is msgspec's. What it refuses goes the slow way through the standard library, since JSON allows an escape such
as `"\\ud83d"` alone (RFC 8259, section 8.2) and msgspec does not.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from recorder.core import json_text as jsontext
from recorder.core.errors import ClientError

_any = msgspec.json.Decoder()
_reader = json.JSONDecoder(parse_constant=jsontext.no_constant)


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
        ValueError: It is not, or nested too deeply to be looked through; the message says where.
    """
    jsontext.check(text)


def members(text: str) -> dict[str, str]:
    """The names and values of an object, values as their text; of a name it has twice the last value.

    Args:
        text: JSON text of an object.

    Raises:
        ValueError: It is not JSON, not an object, or nested too deeply; the message says where.
    """
    return dict(jsontext.scan_members(text))
