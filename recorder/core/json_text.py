"""JSON text as text: an object cut into its members, an array into its elements, without a byte of them changed.

States are evidence: a number of thirty digits, `1e2`, odd spacing, the order of names and every escape go through as
they are, so values are sliced out of the text and never decoded and encoded again. Everything RFC 8259 allows is taken,
an escape of a lone surrogate (`"\\ud83d"`) too; refused are `NaN` and `Infinity`, raw control characters, and text
behind the value.

Two ways to the same result. The fast one (`members`, `elements`, `check`, on bytes) is a pass of msgspec; what it
refuses goes the careful way (`scan_members`, `scan_elements`, on text), which either says what is wrong and where, or
takes what msgspec is too strict about. The careful way walks one level by itself and leaves values to the standard
library's scanner in C, so its cost is that of decoding once; where the stack would not do, the text is refused as
nested too deeply, long before the stack is in danger. Nothing here is about deltas, files or connections: who calls
makes errors of its own out of `BadJson`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Literal, NoReturn

import msgspec

Fault = Literal["syntax", "type", "depth", "encoding"]
"""What is wrong: it is not JSON; JSON of another type than wanted; nested too deeply to be looked at; not UTF-8."""

_SPACE = re.compile(r"[ \t\r\n]*")
_TYPES = {"{": "an object", "[": "an array", '"': "a string", "t": "a boolean", "f": "a boolean", "n": "null"}
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in _STEPS)
# A string, a bracket, or a run of what is neither; in text that is known to be JSON nothing else can stand.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{]|[\]}]|[^"\[\]{},:]++|[,:]')

_raw_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_array = msgspec.json.Decoder(list[msgspec.Raw])
_raw_value = msgspec.json.Decoder(msgspec.Raw)


class BadJson(ValueError):
    """A text is not JSON, or not of the type that is wanted.

    Args:
        message: What is wrong, for people: `not JSON: ',' expected at character 10`.
        kind: The same for programs.
        character: Where in the text, from 0 (for `encoding`: which byte); None where that is not known.
        inside: The name of the member, or the index of the element, whose value it was; None for the text itself.
    """

    def __init__(
        self, message: str, kind: Fault, character: int | None = None, inside: str | int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.character = character
        self.inside = inside


def no_constant(name: str) -> NoReturn:
    """Reject the constants that the standard library's decoder accepts beyond JSON (NaN, Infinity)."""
    raise ValueError(f"{name} is not JSON")


# Values are only skipped: building numbers would cost, and int() refuses more than 4300 digits.
_skipper = json.JSONDecoder(parse_constant=no_constant, parse_int=len, parse_float=len)


def members(data: bytes, *, trusted: bool = False) -> dict[str, bytes]:
    """Return the members of an object, by name.

    Args:
        data: JSON text of an object.
        trusted: Whether it is known to be JSON, as what the recorder itself has written: then no depth is too deep.

    Returns:
        The text of each value by its name, in order; of a name given twice the last value.

    Raises:
        BadJson: It is not UTF-8, not JSON, or not an object.
    """
    if not trusted:
        check_utf8(data)
    try:
        return {name: bytes(value) for name, value in _raw_object.decode(data).items()}
    except (msgspec.MsgspecError, RecursionError):
        return {name: value.encode() for name, value in scan_members(data.decode(), trusted=trusted)}


def elements(data: bytes) -> Iterator[bytes]:
    """Yield the texts of an array's elements, in order.

    Args:
        data: JSON text of an array. A truncated one gives the elements before the break and then raises.

    Raises:
        BadJson: It is not UTF-8, not JSON, or not an array.
    """
    check_utf8(data)
    try:
        found = _raw_array.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        yield from (element.encode() for element in scan_elements(data.decode()))
    else:
        yield from map(bytes, found)


def check(data: bytes) -> None:
    """Check that a text is one JSON value, so that it can be embedded in other JSON unchanged.

    Raises:
        BadJson: It is not.
    """
    check_utf8(data)
    try:
        _raw_value.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        text = data.decode()
        _end(text, value_end(text, skip_space(text, 0)))


def check_utf8(data: bytes) -> None:
    """Raise BadJson unless `data` is UTF-8 (msgspec does not look inside strings it leaves raw)."""
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise BadJson(f"not UTF-8: byte {error.start}", "encoding", error.start) from None


def scan_members(text: str, *, trusted: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the names and values of an object, the values as their texts, each as soon as it is found.

    Args:
        text: JSON text of an object.
        trusted: As for `members`.

    Raises:
        BadJson: It is not JSON from there on, or not an object.
    """
    position = _open(text, "{")
    closed = text.startswith("}", position)
    while not closed:
        name, end = _scan(text, position)
        if not isinstance(name, str):
            raise BadJson(f"not JSON: a name expected at character {position}", "syntax", position)
        start = skip_space(text, _expect(text, end, ":"))
        end = value_end(text, start, inside=name, trusted=trusted)
        yield name, text[start:end]
        position = skip_space(text, end)
        closed = text.startswith("}", position)
        if not closed:
            position = skip_space(text, _expect(text, position, ","))
    _end(text, position + 1)


def scan_elements(text: str) -> Iterator[str]:
    """Yield the texts of an array's elements, in order, each as soon as it is found.

    Lazily, because what is wrong is mostly wrong at once: a hostile array of millions of elements costs no more than
    its first one.

    Raises:
        BadJson: It is not JSON from there on, or not an array.
    """
    position = _open(text, "[")
    closed = text.startswith("]", position)
    index = 0
    while not closed:
        end = value_end(text, position, inside=index)
        yield text[position:end]
        position = skip_space(text, end)
        closed = text.startswith("]", position)
        if not closed:
            position = skip_space(text, _expect(text, position, ",", inside=index))
            index += 1
    _end(text, position + 1, " after the array,")


def scan_values(text: str) -> Iterator[str]:
    """Yield the values of a text that contains several; white space, or a bracket on either side, separates
    them.

    Raises:
        BadJson: It is not JSON from there on.
    """
    position = end = skip_space(text, 0)
    while position < len(text):
        if position == end > 0 and text[end - 1] not in "]} \t\r\n" and text[position] not in "[{":
            raise BadJson(f"not JSON: white space expected at character {position}", "syntax", position)
        end = value_end(text, position)
        yield text[position:end]
        position = skip_space(text, end)


def value_end(text: str, start: int, *, inside: str | int | None = None, trusted: bool = False) -> int:
    """Return the position after a value.

    Args:
        text: A text in which it stands.
        start: Its first character; no white space.
        inside: What an error shall say it is the value of.
        trusted: As for `members`.

    Returns:
        The position behind its last character.

    Raises:
        BadJson: What begins there is no JSON value.
    """
    try:
        return _scan(text, start, inside)[1]
    except BadJson as bad:
        if trusted and bad.kind == "depth":
            return _counted_end(text, start)
        raise


def skip_space(text: str, position: int) -> int:
    """Return the first position from here on that is not white space."""
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()


def type_of(text: str) -> str:
    """Return the type of the value that a JSON text begins with, for messages: `an object`, `a number`, …"""
    return _TYPES.get(text[:1], "a number")


def depth(text: str) -> int:
    """Return how deeply arrays and objects are nested in a JSON text."""
    # Without escapes every other piece between quotes is inside a string.
    outside = text.replace(r"\\", "").replace(r"\"", "").split('"')[::2]
    brackets = "".join(outside).encode().translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def is_deeper(text: str, limit: int) -> bool:
    """Return whether a JSON text is nested more deeply than the limit."""
    # Counting is a hundred times faster than measuring, and mostly enough; a short text needs neither.
    return len(text) > 2 * limit and text.count("[") + text.count("{") > limit and depth(text) > limit


def _scan(text: str, start: int, inside: str | int | None = None) -> tuple[Any, int]:
    """Return a value, with its numbers not decoded, and the position after it."""
    try:
        return _skipper.raw_decode(text, start)
    except RecursionError:
        raise BadJson("nested too deeply", "depth", start, inside) from None
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise BadJson(f"not JSON: {what} at character {error.pos}", "syntax", error.pos, inside) from None
    except ValueError as error:
        raise BadJson(f"not JSON: {error}", "syntax", None, inside) from None


def _counted_end(text: str, start: int) -> int:
    """Return the position after a value of text known to be JSON, by counting brackets: any depth is
    allowed.
    """
    level, position = 0, start
    while token := _TOKEN.match(text, position):
        first = token[0][0]
        position = token.end()
        level += (first in "[{") - (first in "]}")
        if level == 0:
            return position
    raise BadJson("not JSON: unexpected end", "syntax", len(text))


def _open(text: str, bracket: str) -> int:
    start = skip_space(text, 0)
    if not text.startswith(bracket, start):
        # First whether it is JSON at all: what is not shall be called so.
        _end(text, value_end(text, start))
        raise BadJson(
            f"{_TYPES[bracket]} is wanted, this is {type_of(text[start : start + 1])}", "type", start
        )
    return skip_space(text, start + 1)


def _expect(text: str, position: int, char: str, inside: int | None = None) -> int:
    position = skip_space(text, position)
    if not text.startswith(char, position):
        raise BadJson(f"not JSON: {char!r} expected at character {position}", "syntax", position, inside)
    return position + 1


def _end(text: str, position: int, behind: str = "") -> None:
    rest = skip_space(text, position)
    if rest != len(text):
        # Named is where the value ended, as the text behind it may begin with white space.
        raise BadJson(f"not JSON: more text{behind} at character {position}", "syntax", position)
