"""The difference of two JSON texts, as a JSON Patch (RFC 6902) or a merge patch (RFC 7396); and places in them, as
JSON Pointers (RFC 6901).

It works on texts and never decodes a number, so every value in a patch has the digits that were published. Equal parts
are passed over by their bytes, so the cost follows what differs and how deep it lies. Numbers are the same where they
are spelled the same; strings, spacing and the order of members as JSON means them.

In an array, elements that occur once on either side hold their places; what lies between them is compared in pairs, and
what is left over is removed or added. That is linear and never wrong, and for lists that grow at their end, lose an
element or change one it is also the shortest.

Each operation names its whole way, so that thousands of changes below a name of thousands of characters would make a
patch that no memory holds out of two states that it does. Ways are written out one at a time, and a patch that grows
many times as long as the states (`GROWTH`) gives way to one that replaces the whole.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from recorder.core import json_text as jsontext

Steps = tuple[str, ...]

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_BAD_ESCAPE = re.compile(r"~(?![01])")


class Inexpressible(ValueError):
    """A merge patch has no way to say it: a member whose value is `null` would be removed instead."""


class Operation(NamedTuple):
    """One operation of a JSON Patch.

    Args:
        op: `add`, `remove` or `replace`.
        path: Where.
        value: JSON text; None for `remove`.
    """

    op: str
    path: str
    value: bytes | None = None

    @property
    def text(self) -> bytes:
        """The operation as JSON."""
        # The standard library's encoder: a name may hold half of a surrogate pair.
        head = f'{{"op":"{self.op}","path":{json.dumps(self.path)}'.encode()
        return head + b"}" if self.value is None else b'%b,"value":%b}' % (head, self.value)


GROWTH = 16
"""How many times as long as both states a JSON Patch may get; where all digits in a list change it is eleven."""
_SPARE = 1024

_Way = tuple["_Way", str] | tuple[()]
"""The way to a value: that to what holds it, and the last step, as it stands in a path."""


class _Change(NamedTuple):
    """An operation, its way not written out."""

    op: str
    way: _Way
    value: bytes | None = None


class _Pair(NamedTuple):
    """Two texts that are still to be compared."""

    way: _Way
    before: bytes
    after: bytes


_Step = _Change | _Pair


def diff(before: bytes, after: bytes) -> Iterator[Operation]:
    """Yield the operations that turn one JSON text into the other, in the order in which they apply.

    Args:
        before: JSON text that was recorded.
        after: The same.
    """
    # A stack and no recursion: states nest deeper than calls may.
    left: list[_Step] = [_Pair((), before.strip(), after.strip())]
    while left:
        step = left.pop()
        if isinstance(step, _Change):
            yield Operation(step.op, _path(step.way), step.value)
        elif step.before != step.after:
            left += reversed(_compare(step))


def json_patch(before: bytes, after: bytes) -> bytes:
    """Return the JSON Patch that turns one JSON text into the other."""
    texts: list[bytes] = []
    room = GROWTH * (len(before) + len(after)) + _SPARE
    for operation in diff(before, after):
        texts.append(operation.text)
        room -= len(texts[-1])
        if room < 0:
            texts = [Operation("replace", "", after.strip()).text]
            break
    return b"[%b]" % b",".join(texts)


def same(one: bytes | None, other: bytes | None) -> bool:
    """Return whether two JSON texts have the same value; None means no text."""
    if one is None or other is None:
        return one is other
    return one == other or next(diff(one, other), None) is None


def merge_patch(before: bytes, after: bytes) -> bytes:
    """Return the merge patch that turns one JSON text into the other.

    Raises:
        Inexpressible: What is to be set is or holds a member that is `null`.
    """
    old, new = before.strip(), after.strip()
    if old[:1] == new[:1] == b"{":
        return _merge_members(old, new)
    if new[:1] == b"{":
        _refuse_nulls(new)
    return new


def _path(way: _Way) -> str:
    steps: list[str] = []
    while way:
        way, step = way
        steps.append(f"/{step}")
    return "".join(reversed(steps))


def _compare(pair: _Pair) -> list[_Step]:
    kinds = pair.before[:1], pair.after[:1]
    if kinds == (b"{", b"{"):
        return _compare_objects(pair)
    if kinds == (b"[", b"["):
        return _compare_arrays(pair)
    if kinds == (b'"', b'"') and json.loads(pair.before) == json.loads(pair.after):
        return []
    return [_Change("replace", pair.way, pair.after)]


def _compare_objects(pair: _Pair) -> list[_Step]:
    old = jsontext.members(pair.before, trusted=True)
    new = jsontext.members(pair.after, trusted=True)
    steps: list[_Step] = [_Change("remove", (pair.way, escape(name))) for name in old if name not in new]
    for name, value in new.items():
        way = (pair.way, escape(name))
        steps.append(_Pair(way, old[name], value) if name in old else _Change("add", way, value))
    return steps


def _compare_arrays(pair: _Pair) -> list[_Step]:
    old, new = list(jsontext.elements(pair.before)), list(jsontext.elements(pair.after))
    steps: list[_Step] = []
    i = j = 0
    # Everything in front of place j is as it will be: so j is right for each operation, whatever follows.
    for anchor_i, anchor_j in [*_anchors(old, new), (len(old), len(new))]:
        while i < anchor_i and j < anchor_j:
            steps.append(_Pair((pair.way, str(j)), old[i], new[j]))
            i, j = i + 1, j + 1
        steps += [_Change("remove", (pair.way, str(j)))] * (anchor_i - i)
        steps += [_Change("add", (pair.way, str(place)), new[place]) for place in range(j, anchor_j)]
        i, j = anchor_i + 1, anchor_j + 1
    return steps


def _anchors(old: list[bytes], new: list[bytes]) -> list[tuple[int, int]]:
    """Return pairs of positions with the same element, increasing on both sides."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    stop = 0
    while stop < min(len(old), len(new)) - start and old[-1 - stop] == new[-1 - stop]:
        stop += 1
    head = [(place, place) for place in range(start)]
    tail = [(len(old) - stop + place, len(new) - stop + place) for place in range(stop)]
    middle = _unique_anchors(old[start : len(old) - stop], new[start : len(new) - stop])
    return [*head, *[(start + i, start + j) for i, j in middle], *tail]


def _unique_anchors(old: list[bytes], new: list[bytes]) -> list[tuple[int, int]]:
    """Return the longest increasing run of elements that occur once on each side."""
    counts, others = Counter(old), Counter(new)
    places = {element: j for j, element in enumerate(new)}
    pairs = [(i, places[e]) for i, e in enumerate(old) if counts[e] == 1 and others[e] == 1]
    # Patience sorting: `ends[n]` is the pair that ends the best run of n + 1, each pair knows its forerunner.
    ends: list[int] = []
    tops: list[int] = []
    forerunners: list[int] = []
    for number, (_, j) in enumerate(pairs):
        pile = bisect_left(tops, j)
        forerunners.append(ends[pile - 1] if pile else -1)
        tops[pile : pile + 1] = [j]
        ends[pile : pile + 1] = [number]
    run: list[tuple[int, int]] = []
    number = ends[-1] if ends else -1
    while number >= 0:
        run.append(pairs[number])
        number = forerunners[number]
    return run[::-1]


def _merge_members(before: bytes, after: bytes) -> bytes:
    """Return the merge patch of two objects, by recursion: one call per level, within the limit of nesting."""
    old, new = jsontext.members(before, trusted=True), jsontext.members(after, trusted=True)
    parts = [b"%b:null" % json.dumps(name).encode() for name in old if name not in new]
    for name, value in new.items():
        known = old.get(name)
        if known is not None and known[:1] == value[:1] == b"{":
            value = _merge_members(known, value)
            if value == b"{}":
                continue
        elif same(known, value):
            continue
        else:
            _refuse_nulls(value)
        parts.append(b"%b:%b" % (json.dumps(name).encode(), value))
    return b"{%b}" % b",".join(parts)


def _refuse_nulls(value: bytes) -> None:
    """Raise Inexpressible where a value is null, or an object that holds one outside of arrays."""
    left = [value]
    while left:
        text = left.pop()
        if text == b"null":
            raise Inexpressible("a merge patch cannot set a member to null")
        if text[:1] == b"{" and b"null" in text:
            left += jsontext.members(text, trusted=True).values()


def parse_pointer(text: str) -> Steps:
    """Return the names and indexes on the way to a value (RFC 6901).

    Args:
        text: `` for the whole, `/plan/3/status`; in a name `~1` stands for a slash and `~0` for a tilde.

    Raises:
        ValueError: It is no pointer; the message says why.
    """
    if text == "":
        return ()
    if not text.startswith("/"):
        raise ValueError("a path begins with /, such as /plan/3/status")
    if _BAD_ESCAPE.search(text):
        raise ValueError("in a path ~ is written ~0, and / inside a name ~1")
    return tuple([step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/")])


def escape(name: str) -> str:
    """Write a name as a step of a pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def find(text: bytes, steps: Steps) -> bytes | None:
    """Return the text of the value at a path; None if there is none.

    Args:
        text: A JSON text that was recorded.
        steps: What `parse_pointer` returns.
    """
    found: bytes | None = text
    for step in steps:
        if found is None:
            return None
        found = _inside(found, step)
    return found


def _inside(text: bytes, step: str) -> bytes | None:
    first = text.lstrip()[:1]
    if first == b"{":
        return jsontext.members(text, trusted=True).get(step)
    if first == b"[" and _INDEX.fullmatch(step):
        return next(islice(jsontext.elements(text), int(step), None), None)
    return None
