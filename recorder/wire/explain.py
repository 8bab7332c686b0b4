"""The careful way through a publisher's JSON: slower than msgspec, and able to say what is wrong and where.

It takes all that RFC 8259 allows (`model/jsontext` does the cutting). Used for what msgspec refused, and to cut an
array into its elements. It keeps the text of states as it is. What it repeats of the input in a message is short and
can be written as UTF-8, however hostile it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from recorder.core import json_text as jsontext
from recorder.core.delta import DELTA_TYPES, Delta
from recorder.core.errors import InvalidDelta, InvalidJson

FIELDS = ("type", "sessionId", "before", "after", "timestamp", "id")


def elements(data: bytes) -> Iterator[bytes]:
    """Yield the texts of an array's elements, in order, each as soon as it is found.

    Lazily, because what is wrong is mostly wrong at once: a hostile array of millions of elements costs no more
    than its first one.

    Args:
        data: JSON text of an array, UTF-8, already checked to be UTF-8.

    Raises:
        InvalidJson: It is not JSON from there on; the message says where.
    """
    try:
        for element in jsontext.scan_elements(data.decode()):
            yield element.encode()
    except jsontext.BadJson as bad:
        where = None if bad.inside is None else f"[{bad.inside}]"
        raise _refusal(bad, where, bad.inside if isinstance(bad.inside, int) else None) from None


def delta_fields(data: bytes, index: int | None) -> Delta:
    """Return the fields of one delta's JSON text: types are checked, rules are not.

    Args:
        data: The text, UTF-8, already checked to be UTF-8.
        index: Its place in an array, for messages, or None.

    Raises:
        InvalidJson: It is not JSON.
        InvalidDelta: It is not an object, a field is unknown, missing or of the wrong type.
    """
    # All of it first, so that what is not JSON is called so; of two fields with one name the last counts.
    raw = _members(data.decode(), index)
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
    """Return the prefix of a message about a delta: empty for a single one, `[2]: ` in an array."""
    return "" if index is None else f"[{index}]: "


def refused(index: int | None, name: str, why: str) -> InvalidDelta:
    """Return an InvalidDelta that names a field: `[2].after: required for type 'updated'`."""
    where = name if index is None else f"[{index}].{name}"
    return InvalidDelta(f"{where}: {why}", index=index, place=where)


def _state(text: str | None) -> str | None:
    return None if text == "null" else text


def _string(text: str, name: str, index: int | None) -> str:
    if not text.startswith('"'):
        raise refused(index, name, f"must be a string, is {text[:40]}")
    value = json.loads(text)
    assert isinstance(value, str)
    return value


def _members(text: str, index: int | None) -> dict[str, str]:
    try:
        return dict(jsontext.scan_members(text))
    except jsontext.BadJson as bad:
        if bad.kind == "type":
            raise InvalidDelta(
                f"{place(index)}a delta is a JSON object, this is not one", index=index
            ) from None
        raise _refusal(bad, _where(bad.inside, index), index) from None


def _where(name: str | int | None, index: int | None) -> str | None:
    """Return the place of a field's value: `after`, `[2].after`, `'state'` if unknown; `[2]` without a
    field.
    """
    parts = [] if index is None else [f"[{index}]"]
    if isinstance(name, str):
        parts.append(name if name in FIELDS else repr(name[:40]))
    return ".".join(parts) or None


def _refusal(bad: jsontext.BadJson, where: str | None, index: int | None) -> InvalidDelta:
    message = bad.message if where is None else f"{where}: {bad.message}"
    if bad.kind == "depth":
        return InvalidDelta(message, index=index, place=where)
    return InvalidJson(message, index=index)
