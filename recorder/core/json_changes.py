"""A delta in one line: what changed, in the words of its own fields (`tool.status: running → failed`).

The rule is the page's feed's (`web/dashboard/summary.js` and `diff.js`), and a test holds the two together: members are
matched by name, items of arrays by a longest common subsequence and what is left between by pairs; what merely counts
up is told last; numbers and strings are compared as they were written, and no number is ever decoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from recorder.core import json_text
from recorder.core.delta import DELETED

MOST_CHANGES = 3
MOST_VALUE = 48
MOST_LOOKED_AT = 200
MOST_CELLS = 1 << 16
"""Past this many pairs of items two arrays are compared by their places (the page, which compares one, goes further)."""
MOST_BYTES = 4 << 20
"""States larger than this are not compared: a line is not worth the time."""
NO_NAME = '""'

_NAMING = re.compile(r"(?:id|key|name|step|uuid)", re.IGNORECASE)
_INDEX = re.compile(r"\d+", re.ASCII)


@dataclass(slots=True)
class Node:
    """A JSON value, numbers and strings as they were written.

    Args:
        kind: object, array, string, number, true, false or null.
        raw: Its text.
        items: Of an array its values, of an object those of its members.
        names: Of an object the members' names.
    """

    kind: str
    raw: str
    items: list[Node] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    _canonical: str | None = None

    @property
    def members(self) -> dict[str, Node]:
        """The members by name; of a name given twice the last one counts."""
        return dict(zip(self.names, self.items, strict=True))

    @property
    def plain(self) -> str:
        """The value of a string; the text of anything else."""
        return str(json.loads(self.raw)) if self.kind == "string" else self.raw

    @property
    def canonical(self) -> str:
        """The canonical text, equal for equal values."""
        if self._canonical is None:
            self._canonical = self._made_canonical()
        return self._canonical

    def _made_canonical(self) -> str:
        if self.kind == "array":
            return f"[{','.join(item.canonical for item in self.items)}]"
        if self.kind == "string":
            return json.dumps(self.plain)
        if self.kind != "object":
            return self.raw
        members = sorted(self.members.items())
        return "{" + ",".join(f"{json.dumps(name)}:{value.canonical}" for name, value in members) + "}"


@dataclass(slots=True)
class Change:
    """A place whose value differs.

    Args:
        path: Member names and indexes.
        before, after: The values; None where there was or is none.
    """

    path: tuple[str, ...]
    before: Node | None
    after: Node | None


def summarise(kind: str, before: str | None, after: str | None, *, erased: bool = False) -> str:
    """Return what a delta says, in one line.

    Args:
        kind: created, updated or deleted.
        before: JSON text of the state before, or None.
        after: JSON text of the state after, or None.
        erased: Whether its content was erased.
    """
    if erased:
        return "erased"
    if kind == DELETED:
        return "deleted"
    if len(before or "") + len(after or "") > MOST_BYTES:
        return f"a state of {len(after or ''):,} characters, too large to compare"
    try:
        old, new = _present(before), _present(after)
        if old is None:
            return "" if new is None else outline(new)
        return _in_words(_first(_changes((), old, new), MOST_LOOKED_AT))
    except (RecursionError, json_text.BadJson):
        return "a state that nests too deeply to compare"


def _present(text: str | None) -> Node | None:
    node = None if text is None else parse(text)
    return None if node is None or node.kind == "null" else node


def parse(text: str) -> Node:
    """Read a JSON text that was recorded: it is known to be JSON."""
    data = text.strip().encode("utf-8", "surrogatepass")
    kind = _kind(data)
    if kind == "object":
        members = json_text.members(data, trusted=True)
        return Node(kind, text, [parse(value.decode()) for value in members.values()], list(members))
    if kind == "array":
        return Node(kind, text, [parse(value.decode()) for value in json_text.elements(data)])
    return Node(kind, text.strip())


def _kind(data: bytes) -> str:
    kinds = {b"{": "object", b"[": "array", b'"': "string", b"t": "true", b"f": "false", b"n": "null"}
    return kinds.get(data[:1], "number")


def _first(changes: Iterator[Change], most: int) -> list[Change]:
    return [change for change, _ in zip(changes, range(most), strict=False)]


def _in_words(found: list[Change]) -> str:
    if not found:
        return "nothing changed"
    # What counts up with every step says least.
    ordered = [c for c in found if not _is_counter(c)] + [c for c in found if _is_counter(c)]
    told = [_change_in_words(change) for change in ordered[:MOST_CHANGES]]
    rest = len(found) - len(told)
    return " · ".join([*told, f"{rest:,} more"] if rest > 0 else told)


def _is_counter(change: Change) -> bool:
    return (
        change.before is not None
        and change.after is not None
        and (change.before.kind == change.after.kind == "number")
    )


def _change_in_words(change: Change) -> str:
    path = path_in_words(change.path)
    name = f"{path}: " if path else ""
    if change.before is None and change.after is not None:
        return f"+ {name}{short(change.after)}"
    if change.after is None:
        return f"− {path or 'everything'}"
    return f"{name}{short(change.before) if change.before else ''} → {short(change.after)}"


def path_in_words(path: tuple[str, ...]) -> str:
    """Return a path as people write it: plan[3].status."""
    told = ""
    for key in path:
        name = key or NO_NAME
        told = f"{told}[{name}]" if _INDEX.fullmatch(name) else f"{told}.{name}" if told else name
    return told


def outline(node: Node) -> str:
    """Return a value in a few words."""
    if node.kind == "array":
        return "[1 item]" if len(node.items) == 1 else f"[{len(node.items):,} items]"
    if node.kind != "object":
        return short(node)
    if not node.items:
        return "{}"
    told = []
    for name, value in list(zip(node.names, node.items, strict=True))[:4]:
        said = short(value) if not value.items else "[…]" if value.kind == "array" else "{…}"
        told.append(f"{name or NO_NAME}: {said}")
    return " · ".join(told) + (f" · {len(node.names) - 4:,} more" if len(node.names) > 4 else "")


def short(node: Node) -> str:
    """Return a value that is no longer than a few words."""
    if node.items:
        return outline(node)
    text = " ".join(re.split(r"\s+", node.plain))
    return f"{text[: MOST_VALUE - 1]}…" if len(text) > MOST_VALUE else text or '""'


def _changes(path: tuple[str, ...], before: Node | None, after: Node | None) -> Iterator[Change]:
    if before is None or after is None:
        if before is not after:
            yield Change(path, before, after)
    elif before.raw != after.raw and before.canonical != after.canonical:
        if before.kind == after.kind == "object":
            yield from _changed_members(path, before, after)
        elif before.kind == after.kind == "array":
            yield from _changed_items(path, before.items, after.items)
        else:
            yield Change(path, before, after)


def _changed_members(path: tuple[str, ...], before: Node, after: Node) -> Iterator[Change]:
    old, new = before.members, after.members
    # What was removed stands where it stood: behind the member that came before it.
    removed: dict[str | None, list[str]] = {}
    last: str | None = None
    for name in old:
        if name in new:
            last = name
        else:
            removed.setdefault(last, []).append(name)
    for name in removed.get(None, ()):
        yield Change((*path, name), old[name], None)
    for name, value in new.items():
        yield from _changes((*path, name), old.get(name), value)
        for gone in removed.get(name, ()):
            yield Change((*path, gone), old[gone], None)


def _changed_items(path: tuple[str, ...], old: list[Node], new: list[Node]) -> Iterator[Change]:
    i = j = 0
    for next_i, next_j in [*_matches(old, new), (len(old), len(new))]:
        while i < next_i and j < next_j:
            left, right = next_i - i, next_j - j
            was = is_now = True
            if left != right and not _alike(old[i], new[j]):
                was, is_now = left > right, left < right
            yield from _changes(
                (*path, str(j if is_now else i)), old[i] if was else None, new[j] if is_now else None
            )
            i, j = i + was, j + is_now
        yield from (Change((*path, str(place)), old[place], None) for place in range(i, next_i))
        yield from (Change((*path, str(place)), None, new[place]) for place in range(j, next_j))
        i, j = next_i + 1, next_j + 1


def _alike(one: Node, other: Node) -> bool:
    """Return whether two items are probably one thing: containers of a kind that agree on what names them."""
    if one.kind != other.kind or one.kind != "object":
        return one.kind == other.kind == "array"
    others = other.members
    for name, value in one.members.items():
        if _NAMING.fullmatch(name):
            return name in others and others[name].canonical == value.canonical
    return True


def _matches(old: list[Node], new: list[Node]) -> list[tuple[int, int]]:
    """Return pairs of places of a longest common subsequence."""
    a, b = [item.canonical for item in old], [item.canonical for item in new]
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    pairs = [(place, place) for place in range(start)]
    rows, columns = len(a) - start - end, len(b) - start - end
    if rows * columns <= MOST_CELLS:
        pairs += [
            (start + i, start + j) for i, j in _middle(a[start : len(a) - end], b[start : len(b) - end])
        ]
    return pairs + [(len(a) - place, len(b) - place) for place in range(end, 0, -1)]


def _middle(a: list[str], b: list[str]) -> Iterator[tuple[int, int]]:
    if not a or not b:
        return
    # The length of the best of what begins at row, column.
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) - 1, -1, -1):
        below, row = table[i + 1], table[i]
        for j in range(len(b) - 1, -1, -1):
            row[j] = below[j + 1] + 1 if a[i] == b[j] else max(below[j], row[j + 1])
    i = j = 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            yield i, j
            i, j = i + 1, j + 1
        elif table[i + 1][j] >= table[i][j + 1]:
            i += 1
        else:
            j += 1
