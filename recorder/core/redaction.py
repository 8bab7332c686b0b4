"""Take secrets out of states, as text: a secret is replaced, every byte around it stays.

Two ways to name a secret. A *key*: the value of every member with that name, at any depth, whatever it is (but `null`).
Names are compared whole, ignoring case; a key that begins with `*` matches every name that ends in the rest of it. A
*pattern*: a regular expression; in a string what it matches is replaced, of a number the whole. The replacement is a
marker with a digest, salted with something only the recorder knows: equal secrets stay equal and nobody can find them by
guessing. A marker is not redacted again.

Keys are also looked for in two places where a name is not the name of a member:

* a pair such as `{"name": "Authorization", "value": …}`, the form of header lists: the name stands under `name`, `key`
  or `header`, before `value` or directly behind a string or number that `value` has;
* JSON written as a string (arguments of a tool call): a string that is an object or an array, up to four levels deep.

Not found by a key: JSON that is only a part of a string (`POST {"password":"x"}`), other text with names in it
(`password=x`), pairs without names (`["Authorization", "x"]`), and pairs of other forms. A pattern finds secrets there.
Left out altogether: the sessions' ids, and everything else around a state.

States without a hit must cost next to nothing, so a state is first searched as a whole, with its escapes decoded: for
the ends of the keys, and for the patterns. Only what may have a hit is walked token by token. The search decodes with
the same function as the walk and errs in one direction alone: what is within a value is within the state, too, between
characters that belong to no word. That does not hold for a pattern that looks around itself; where there is one, every
state is walked.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from recorder.core import json_text

DEFAULT_KEYS = (
    "*password", "*passwd", "*passphrase", "pwd", "*_pwd", "*-pwd", "secret", "*_secret", "*-secret", "clientsecret",
    "token", "*_token", "*-token", "accesstoken", "refreshtoken", "idtoken", "authtoken", "apitoken", "*api_key",
    "*apikey", "*api-key", "*private_key", "*privatekey", "*private-key", "authorization", "proxy-authorization",
    "cookie", "set-cookie", "credentials", "*connection_string", "*connectionstring",
)  # fmt: skip
"""What `default` stands for in REDACT_KEYS: how secrets are usually named."""

# A publisher chooses what is searched, so none of them may read the same text from many beginnings: what follows a
# beginning is short, or ends where the next one can begin.
DEFAULT_PATTERNS = (
    r"\bsk-[A-Za-z0-9_-]{20,}",
    r"\bgh[pousr]_[A-Za-z0-9]{36,}",
    r"\bgithub_pat_[A-Za-z0-9_]{40,}",
    r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    r"\bA(?:KIA|SIA)[0-9A-Z]{16}\b",
    r"\bAIza[0-9A-Za-z_-]{35}",
    r"\beyJ[A-Za-z0-9_-]{10,1000}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-{1,4}[^-]+)*-{5,}END [A-Z ]*PRIVATE KEY-----",
)
"""What `default` stands for in REDACT_PATTERNS: the forms of well-known keys and tokens."""

MARKER = re.compile(r"\[redacted:[0-9a-f]{32}\]")
"""What stands in the place of a secret."""
_MARKER_BEGIN = "[redacted:"

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]:,]|[^\s"{}\[\]:,]++')
# An escape: a pair of surrogates, which is one character; another code; a short one.
_ESCAPE = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL
)
_SHORT = dict(zip("bfnrt", "\b\f\n\r\t", strict=True))
# What makes a pattern depend on where a value begins and ends: anchors, looking around, matching without going back.
_NEEDS_VALUES = re.compile(r"(?<!\[)\^|\$|\\[AZzB]|\(\?(?:P?[<=!>(]|[a-zA-Z]*x)|[*+?}]\+")
_PAIR_NAMES = frozenset({"name", "key", "header"})
_PAIR_VALUE = "value"
_MAX_LEVELS = 4
"""How many levels of JSON in a string in JSON are looked into."""


Way = tuple["Way", str | int] | tuple[()]
"""The way to a value: that to what holds it, and its name or index there. Written out only where somebody asks."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A secret that was found.

    Args:
        start, end: Where it stands in the text.
        way: To the value that it is, or is part of.
        why: The key or the pattern.
        digest_of: The text that the marker's digest is of.
        quotes: What the marker needs on either side: quotation marks in the place of a value, nothing within a string.
    """

    start: int
    end: int
    way: Way
    why: str
    digest_of: str
    quotes: str

    @property
    def path(self) -> str:
        """Write out which value it is, or is part of: `.env.password`, `.lines[3]`."""
        steps: list[str] = []
        way = self.way
        while way:
            way, step = way
            steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
        return "".join(reversed(steps))


class Redactor:
    """Find secrets in states and replace them.

    Args:
        keys: Names of members; one that begins with `*` stands for all names that end in the rest of it.
        patterns: Regular expressions.
        salt: For the digests; only the recorder should know it.
    """

    def __init__(self, keys: Iterable[str], patterns: Iterable[str], salt: bytes) -> None:
        lowered = {key.lower() for key in keys}
        self._endings = tuple(sorted(key[1:] for key in lowered if key.startswith("*") and len(key) > 1))
        self._keys = frozenset(key for key in lowered if not key.startswith("*") or len(key) == 1)
        self._patterns = tuple(re.compile(pattern) for pattern in patterns)
        self._salt = salt
        self._needles = _ends(self._keys | frozenset(self._endings))
        # Without a word's edge in front, which only narrows, the search can leap to a literal.
        self._searches = tuple(re.compile(p.pattern.removeprefix(r"\b"), p.flags) for p in self._patterns)
        self._walks_all = any(_NEEDS_VALUES.search(pattern.pattern) for pattern in self._patterns)

    def redact(self, text: str) -> tuple[str, int]:
        """Replace the secrets of a state.

        Args:
            text: JSON text.

        Returns:
            The text (the same one, where there is none), and how many were replaced.
        """
        if not self._may_hit(text):
            return text, 0
        pieces: list[str] = []
        at = count = 0
        for hit in self.find(text):
            pieces += (text[at : hit.start], hit.quotes, self.marker(hit.digest_of), hit.quotes)
            at, count = hit.end, count + 1
        return ("".join([*pieces, text[at:]]), count) if count else (text, 0)

    def marker(self, value: str) -> str:
        """Return what stands in the place of a value."""
        # A lone surrogate can be in JSON, and in no UTF-8.
        data = value.encode("utf-8", "surrogatepass")
        return f"[redacted:{hmac.new(self._salt, data, hashlib.sha256).hexdigest()[:32]}]"

    def find(self, text: str) -> Iterator[Hit]:
        """Find the secrets of a state, in order, whether or not the search before the walk would."""
        return self._walk(text, (), 0)

    def _walk(self, text: str, way: Way, level: int) -> Iterator[Hit]:
        for start, end, place, key in _values(text, self._key, way):
            value = text[start:end]
            if key is not None:
                if value != "null":
                    whole = json.loads(value) if value[0] == '"' else value
                    if not (value[0] == '"' and MARKER.fullmatch(whole)):
                        yield Hit(start, end, place, f"key {key}", whole, '"')
            elif value[0] == '"':
                yield from self._in_string(text, start, end, place, level)
            else:
                why = next((p.pattern for p in self._patterns if p.search(value)), None)
                if why is not None:
                    yield Hit(start, end, place, f"pattern {why}", value, '"')

    def _key(self, name: str) -> str | None:
        """Return the name in lower case where it is that of a secret."""
        lowered = name.lower()
        return lowered if lowered in self._keys or lowered.endswith(self._endings) else None

    def _may_hit(self, text: str) -> bool:
        """Return whether the text needs a walk. Never False if there is a match."""
        if self._walks_all:
            return True
        plain = text
        # Once for the state's own strings, and once more for each level of JSON in a string.
        for _ in range(_MAX_LEVELS + 1):
            if "\\" in plain:
                plain = _ESCAPE.sub(_character, plain)
            lowered = plain.lower()
            for needle in self._needles:
                if needle in lowered:
                    return True
            if any(pattern.search(plain) is not None for pattern in self._searches):
                return True
            if "\\" not in plain:
                break
        return False

    def _in_string(self, text: str, start: int, end: int, way: Way, level: int) -> Iterator[Hit]:
        value, places = _decoded(text[start + 1 : end - 1])
        inner = list(self._walk(value, way, level + 1)) if level < _MAX_LEVELS and _is_json(value) else []
        for hit in self._merged(value, inner, way):
            low, high = (hit.start, hit.end) if places is None else (places[hit.start], places[hit.end])
            # The quotation marks that JSON in a string needs are escaped, once a level.
            quotes = json.dumps(hit.quotes)[1:-1]
            yield Hit(start + 1 + low, start + 1 + high, hit.way, hit.why, hit.digest_of, quotes)

    def _merged(self, value: str, inner: list[Hit], way: Way) -> list[Hit]:
        """Return the hits of a string's characters: what the patterns match, and what was found in the JSON it is."""
        # Which characters are spoken for, one byte each: a string may hold thousands of hits.
        fixed, taken = bytearray(len(value)), bytearray(len(value))
        for match in MARKER.finditer(value):
            _mark(fixed, *match.span())
        inside = bytearray(len(value))
        for hit in inner:
            _mark(inside, hit.start, hit.end)
        found: list[Hit] = []
        for pattern in self._patterns:
            for match in pattern.finditer(value):
                low, high = match.span()
                if low < high and fixed.find(1, low, high) < 0 and taken.find(1, low, high) < 0:
                    if inside.find(0, low, high) < 0:
                        continue  # all of it goes with the value that it is within
                    low, high = _widened(inside, low, high)
                    _mark(taken, low, high)
                    found.append(Hit(low, high, way, f"pattern {pattern.pattern}", value[low:high], ""))
        found += (hit for hit in inner if taken.find(1, hit.start, hit.end) < 0)
        return sorted(found, key=lambda hit: hit.start)


def without_digests(text: str) -> str:
    """Return a state with the digests of its markers left out: what of it stays the same whatever the salt is.

    The salt changes with the key, and without a key at each start. Comparing by the markers would take the same state
    for another one after that.

    Args:
        text: JSON text, redacted.

    Returns:
        The text; the same object where no marker is in it.
    """
    return MARKER.sub("[redacted]", text) if _MARKER_BEGIN in text else text


def _mark(taken: bytearray, low: int, high: int) -> None:
    taken[low:high] = b"\1" * (high - low)


def _widened(inside: bytearray, low: int, high: int) -> tuple[int, int]:
    """Return the stretch with all of the hits that it cuts at its ends, so that nothing of them is left."""
    if inside[low]:
        low = inside.rfind(0, 0, low) + 1
    if inside[high - 1]:
        end = inside.find(0, high)
        high = len(inside) if end < 0 else end
    return low, high


def _ends(keys: frozenset[str]) -> tuple[str, ...]:
    """Return what a text with one of the keys must hold: the shortest of those that end alike, and the quote behind."""
    shortest = [key for key in keys if not any(key != other and key.endswith(other) for other in keys)]
    return tuple(f'{key}"' for key in sorted(shortest))


def _character(match: re.Match[str]) -> str:
    """Decode an escape. Search and walk both use this, so that neither reads a text otherwise than the other."""
    high, low, code, short = match.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    return chr(int(code, 16)) if code else _SHORT.get(short, short)


def _decoded(raw: str) -> tuple[str, list[int] | None]:
    """Decode a string.

    Returns:
        Its characters, and where each of them (and the end) stands in its text; None where they are the same.
    """
    if "\\" not in raw:
        return raw, None
    chars: list[str] = []
    places: list[int] = []
    at = 0
    for match in _ESCAPE.finditer(raw):
        start = match.start()
        chars += (raw[at:start], _character(match))
        places += range(at, start + 1)
        at = match.end()
    return "".join([*chars, raw[at:]]), [*places, *range(at, len(raw) + 1)]


def _is_json(value: str) -> bool:
    """Return whether a string contains the JSON text of an object or an array."""
    text = value.strip(" \t\r\n")
    if not ((text.startswith("{") and text.endswith("}")) or (text.startswith("[") and text.endswith("]"))):
        return False
    try:
        # Lone surrogates are characters to JSON, and none to UTF-8: any other one in their place tells as much.
        json_text.check(text.encode("utf-8", "replace"))
    except json_text.BadJson:
        return False
    return True


@dataclass(slots=True)
class _Open:
    """An array or object that is open.

    Args:
        way: To it.
        index: How many elements there were; None in an object.
        named: The key that the object's `name` is, in a pair of name and value.
    """

    way: Way
    index: int | None
    named: str | None = None


def _values(
    text: str, key_of: Callable[[str], str | None], base: Way = ()
) -> Iterator[tuple[int, int, Way, str | None]]:
    """Find the values of a JSON text: those under a key whole, else the strings and numbers.

    Args:
        text: JSON text.
        key_of: Returns the key that a name is, or None.
        base: The way to the text's own value.

    Yields:
        Start, end, the way to it, and the key where the value is under one.
    """
    stack: list[_Open] = []
    way: Way = base
    key, is_name, member = None, False, ""
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
                stack.append(_Open(way, None if first == "{" else 0))
                is_name, member = first == "{", ""
                way = way if is_name else (way, 0)
        elif first in "}]":
            way, member = stack.pop().way, ""
        elif first == ",":
            top = stack[-1]
            is_name, member = top.index is None, ""
            if top.index is not None:
                top.index += 1
                way = (top.way, top.index)
        elif first == ":":
            is_name = False
        elif is_name:
            member = json.loads(token)
            way = (stack[-1].way, member)
            key = key_of(member)
            member = member.lower()
            if member == _PAIR_VALUE and key is None:
                key = stack[-1].named
        else:
            if key is None and member in _PAIR_NAMES and first == '"':
                stack[-1].named = key_of(json.loads(token))
            elif key is None and member == _PAIR_VALUE:
                key = _name_behind(text, match.end(), key_of)
            yield match.start(), match.end(), way, key
            key = None


def _name_behind(text: str, position: int, key_of: Callable[[str], str | None]) -> str | None:
    """Return the key that the name of a pair is, where it stands directly behind the value."""
    tokens = [match[0] for match, _ in zip(_TOKEN.finditer(text, position), range(4), strict=False)]
    if len(tokens) < 4 or tokens[0] != "," or tokens[2] != ":" or tokens[3][0] != '"':
        return None
    return key_of(json.loads(tokens[3])) if json.loads(tokens[1]).lower() in _PAIR_NAMES else None
