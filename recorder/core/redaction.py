"""Taking secrets out of states, as text: a value goes, every byte around it stays.

Two ways to name what goes. A *key*: the value of every member with that name, at any depth, whatever it is (but `null`);
names are compared whole, upper and lower case alike. A *pattern*: a regular expression; in a string what it finds goes,
of a number the whole. In the place of what went stands a marker with a digest that is salted with something only the
recorder knows: equal secrets stay equal and nobody can guess them by trying. A marker is not redacted again.

States without a hit must cost next to nothing, so a state is first searched as a whole, with its escapes undone: for
the ends of the keys, and for the patterns. Only what may have a hit is walked token by token. The search errs in one
direction alone: what is within a value is within the state, too, between characters that belong to no word. That does
not hold for a pattern that looks around itself; where there is one, every state is walked.

Left out: the sessions' ids, and everything else around a state.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MARKER = re.compile(r"\[redacted:[0-9a-f]{32}\]")
"""What stands in the place of what went."""

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]:,]|[^\s"{}\[\]:,]++')
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\(.)|([^\\])", re.DOTALL)
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
# What makes a pattern depend on where a value begins and ends: anchors, looking around, matching without going back.
_NEEDS_VALUES = re.compile(r"(?<!\[)\^|\$|\\[AZzB]|\(\?(?:P?[<=!>(]|[a-zA-Z]*x)|[*+?}]\+")
_SHORT = dict(zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True))


Way = tuple["Way", str | int] | tuple[()]
"""The way to a value: that to what holds it, and its name or index there. Written out only where somebody asks."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that goes.

    Args:
        start, end: Where it stands in the text.
        way: To the value that it is, or is part of.
        why: The key or the pattern.
        digest_of: The text that the marker's digest is of.
        is_part: Whether it stands within a string.
    """

    start: int
    end: int
    way: Way
    why: str
    digest_of: str
    is_part: bool

    @property
    def path(self) -> str:
        """Which value it is, or is part of: `.env.password`, `.lines[3]`."""
        steps: list[str] = []
        way = self.way
        while way:
            way, step = way
            steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
        return "".join(reversed(steps))


class Redactor:
    """See the module.

    Args:
        keys: Names of members.
        patterns: Regular expressions.
        salt: For the digests; only the recorder should know it.
    """

    def __init__(self, keys: Iterable[str], patterns: Iterable[str], salt: bytes) -> None:
        self._keys = frozenset(key.lower() for key in keys)
        self._patterns = tuple(re.compile(pattern) for pattern in patterns)
        self._salt = salt
        self._needles = _ends(self._keys)
        # Without a word's edge in front, which only narrows, the search can leap to a literal.
        self._searches = tuple(re.compile(p.pattern.removeprefix(r"\b"), p.flags) for p in self._patterns)
        self._walks_all = any(_NEEDS_VALUES.search(pattern.pattern) for pattern in self._patterns)

    def redact(self, text: str) -> tuple[str, int]:
        """A state without what is to go.

        Args:
            text: JSON text.

        Returns:
            The text (the same one, where nothing goes), and how much went.
        """
        if not self._may_hit(text):
            return text, 0
        pieces: list[str] = []
        at = count = 0
        for hit in self.find(text):
            marker = self.marker(hit.digest_of)
            pieces += (text[at : hit.start], marker if hit.is_part else f'"{marker}"')
            at, count = hit.end, count + 1
        return ("".join([*pieces, text[at:]]), count) if count else (text, 0)

    def marker(self, value: str) -> str:
        """What stands in the place of a value."""
        # A lone surrogate can be in JSON, and in no UTF-8.
        data = value.encode("utf-8", "surrogatepass")
        return f"[redacted:{hmac.new(self._salt, data, hashlib.sha256).hexdigest()[:32]}]"

    def find(self, text: str) -> Iterator[Hit]:
        """What would go of a state, in order."""
        for start, end, way, key in _values(text, self._keys):
            value = text[start:end]
            if key is not None:
                if value != "null":
                    whole = json.loads(value) if value[0] == '"' else value
                    if not (value[0] == '"' and MARKER.fullmatch(whole)):
                        yield Hit(start, end, way, f"key {key}", whole, is_part=False)
            elif value[0] == '"':
                yield from self._in_string(text, start, end, way)
            else:
                why = next((p.pattern for p in self._patterns if p.search(value)), None)
                if why is not None:
                    yield Hit(start, end, way, f"pattern {why}", value, is_part=False)

    def _may_hit(self, text: str) -> bool:
        """Whether it is worth a walk. Never False where there is a hit."""
        if self._walks_all:
            return True
        plain = _ESCAPED.sub(_unescaped, text) if "\\" in text else text
        lowered = plain.lower()
        for needle in self._needles:
            if needle in lowered:
                return True
        return any(pattern.search(plain) is not None for pattern in self._searches)

    def _in_string(self, text: str, start: int, end: int, way: Way) -> Iterator[Hit]:
        raw = text[start + 1 : end - 1]
        value, places = _decoded(raw)
        # Which characters are spoken for, one byte each: a string may hold thousands of hits.
        taken = bytearray(len(value))
        for match in MARKER.finditer(value):
            taken[match.start() : match.end()] = b"\1" * (match.end() - match.start())
        found: list[tuple[int, int, str]] = []
        for pattern in self._patterns:
            for match in pattern.finditer(value):
                low, high = match.span()
                if low < high and taken.find(1, low, high) < 0:
                    taken[low:high] = b"\1" * (high - low)
                    found.append((low, high, pattern.pattern))
        for low, high, why in sorted(found):
            first, last = (low, high) if places is None else (places[low], places[high])
            offset = start + 1
            yield Hit(offset + first, offset + last, way, f"pattern {why}", value[low:high], is_part=True)


def _ends(keys: frozenset[str]) -> tuple[str, ...]:
    """What a text with one of the keys must hold: of keys that end alike the shortest one, with the quote behind it."""
    shortest = [key for key in keys if not any(key != other and key.endswith(other) for other in keys)]
    return tuple(f'{key}"' for key in sorted(shortest))


def _unescaped(match: re.Match[str]) -> str:
    code, short = match.groups()
    return chr(int(code, 16)) if code else _SHORT[short]


def _decoded(raw: str) -> tuple[str, list[int] | None]:
    """A string's characters, and where each of them (and the end) stands in its text; None where they are the same."""
    if "\\" not in raw:
        return raw, None
    chars: list[str] = []
    places: list[int] = []
    for match in _ESCAPE.finditer(raw):
        code, short, plain = match.groups()
        char = chr(int(code, 16)) if code else _SHORT[short] if short else plain
        if chars and "\ud800" <= chars[-1] <= "\udbff" and "\udc00" <= char <= "\udfff":
            chars[-1] = (chars[-1] + char).encode("utf-16", "surrogatepass").decode("utf-16")
        else:
            chars.append(char)
            places.append(match.start())
    return "".join(chars), [*places, len(raw)]


def _values(text: str, keys: frozenset[str]) -> Iterator[tuple[int, int, Way, str | None]]:
    """The values of a JSON text: those under a key whole, else the strings and numbers.

    Yields:
        Start, end, the way to it, and the key's name where the value is under one.
    """
    # For each array and object that is open: the way to it, and how many elements there were (None: an object).
    stack: list[tuple[Way, int | None]] = []
    way: Way = ()
    key, is_name = None, False
    hidden, hidden_start = 0, 0  # how deep within a value under a key, and where that began
    for match in _TOKEN.finditer(text):
        token = match[0]
        first = token[0]
        if hidden:
            hidden += (first in "{[") - (first in "}]")
            if not hidden:
                yield hidden_start, match.end(), way, key
                key = None
        elif first in "{[":
            if key is not None:
                hidden, hidden_start = 1, match.start()
            else:
                stack.append((way, None if first == "{" else 0))
                is_name = first == "{"
                way = way if is_name else (way, 0)
        elif first in "}]":
            way = stack.pop()[0]
        elif first == ",":
            base, index = stack[-1]
            is_name = index is None
            if index is not None:
                stack[-1] = (base, index + 1)
                way = (base, index + 1)
        elif first == ":":
            is_name = False
        elif is_name:
            name = json.loads(token)
            way = (stack[-1][0], name)
            key = name.lower() if name.lower() in keys else None
        else:
            yield match.start(), match.end(), way, key
            key = None
