"""The decoder of a publisher's bytes to valid deltas.

The fast way is one msgspec pass with the states left raw. What it refuses goes the careful way (`explain`), which
either names what is wrong and where, or accepts what msgspec is too strict about: JSON text with an escape such
as `\\ud83d` alone, which is legal JSON (RFC 8259, section 8.2) and what a browser writes for a cut-off emoji.

States come out as text exactly as they were sent, but for the space around them. Nothing of a frame is accepted if
one delta in it is refused; the first one that breaks a rule is named. A field that stands twice in a delta counts
as it stands last, as in JavaScript and in most parsers; inside a state nothing is looked at but syntax and depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sized
from io import BytesIO
from typing import Literal

import msgspec

from recorder.core import json_text as jsontext
from recorder.core.delta import CREATED, DELETED, MAX_DEPTH, MAX_ID, MAX_SESSION_ID, Delta
from recorder.core.errors import DeltaTooLarge, InvalidDelta, InvalidJson, TooManyDeltas
from recorder.core.timestamps import normalise
from recorder.wire import explain
from recorder.wire.explain import refused

_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_ABSENT = msgspec.Raw(b"null")
_DEEP_LENGTH = 2 * MAX_DEPTH  # a text no longer than this cannot nest deeper


class _Wire(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A delta's envelope as it travels."""

    type: Literal["created", "updated", "deleted"]
    session_id: str = msgspec.field(name="sessionId")
    before: msgspec.Raw = _ABSENT
    after: msgspec.Raw = _ABSENT
    timestamp: str | None = None
    id: str | None = None


_one = msgspec.json.Decoder(_Wire)
_many = msgspec.json.Decoder(list[_Wire])
_texts = msgspec.json.Decoder(list[msgspec.Raw])


def decode_text(data: bytes, max_delta_bytes: int, max_deltas: int | None = None) -> list[Delta]:
    """Decode a JSON text that is one delta or an array of deltas.

    Args:
        data: The text, UTF-8.
        max_delta_bytes: The most the JSON text of one delta may take, in bytes.
        max_deltas: How many there may be; None for any number. Behind them nothing is looked at.

    Returns:
        At least one delta.

    Raises:
        InvalidJson: It is not UTF-8 or not JSON.
        InvalidDelta: A delta breaks a rule; `index` and `place` say which.
        DeltaTooLarge: A delta is longer than `max_delta_bytes`.
        TooManyDeltas: There are more than `max_deltas`.
    """
    check_utf8(data)
    start = data[:1]
    if start in b" \t\r\n":
        start = data.lstrip(b" \t\r\n")[:1]
    if start != b"[":
        if len(data) > max_delta_bytes:
            check_size(data.strip(b" \t\r\n"), max_delta_bytes, None)
        return [_decode_one(data, None)]
    try:
        found = _many.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        texts = _bounded(explain.elements(data), max_deltas)
        return [_checked(text, max_delta_bytes, index) for index, text in enumerate(texts)] or _nothing()
    if max_deltas is not None and len(found) > max_deltas:
        raise _too_many(max_deltas)
    wires: Iterable[_Wire] = found
    if len(data) > max_delta_bytes:
        wires = _sized(wires, data, max_delta_bytes)
    return [_validate(wire, index) for index, wire in enumerate(wires)] or _nothing()


def decode_lines(data: bytes, max_delta_bytes: int, max_deltas: int | None = None) -> list[Delta]:
    """Decode an NDJSON text, one delta per line; blank lines are skipped.

    Args:
        data: The text, UTF-8.
        max_delta_bytes: The most the JSON text of one delta may take, in bytes.
        max_deltas: How many there may be; None for any number. Behind them nothing is looked at.

    Raises:
        As `decode_text`; `index` counts deltas from 0, the message names the line from 1.
    """
    check_utf8(data)
    deltas: list[Delta] = []
    # Line by line: a list of millions of blank ones would be many times the size of the text.
    for number, line in enumerate(BytesIO(data), 1):
        text = line.strip(b" \t\r\n")
        if text:
            if max_deltas is not None and len(deltas) == max_deltas:
                raise _too_many(max_deltas)
            try:
                deltas.append(_checked(text, max_delta_bytes, None))
            except InvalidDelta as error:
                where = f"line {number}"
                raise type(error)(
                    f"{where}: {error.message}", hint=error.hint, index=len(deltas), place=where
                ) from None
    return deltas or _nothing()


def session_id_fault(session_id: str) -> str | None:
    """Return why a text is not a valid session id; None if it is valid."""
    if not 0 < len(session_id) <= MAX_SESSION_ID:
        return f"must have 1 to {MAX_SESSION_ID} characters, has {len(session_id)}"
    if _UNSENDABLE.search(session_id):
        return "must have no control characters and no lone surrogates"
    return None


def place_of(data: bytes, index: int, name: str, *, lines: bool) -> tuple[int | None, str]:
    """Return how an error names a field of a decoded delta, in the same form as decoding does.

    Args:
        data: The text it was decoded from.
        index: Which of the text's deltas, from 0.
        name: The field.
        lines: Whether the text is NDJSON.

    Returns:
        The error's index (None for a delta that stands alone), and the place.
    """
    if lines:
        numbers = [number for number, line in enumerate(BytesIO(data), 1) if line.strip(b" \t\r\n")]
        return index, f"line {numbers[index]}: {name}"
    if data.lstrip(b" \t\r\n").startswith(b"["):
        return index, f"[{index}].{name}"
    return None, name


def check_utf8(data: bytes) -> None:
    """Raise InvalidJson unless `data` is UTF-8 (msgspec does not look inside strings it leaves raw)."""
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise InvalidJson(f"not UTF-8: byte {error.start}", hint="send JSON as UTF-8") from None


def check_size(text: Sized, max_delta_bytes: int, index: int | None) -> None:
    """Raise DeltaTooLarge where the JSON text of one delta is longer than allowed."""
    if len(text) > max_delta_bytes:
        at = "" if index is None else f"[{index}]: "
        raise DeltaTooLarge(
            f"{at}the delta is {len(text)} bytes long, at most {max_delta_bytes} are allowed",
            hint="MAX_DELTA_BYTES sets the limit",
            index=index,
        )


def _sized(wires: Iterable[_Wire], data: bytes, max_delta_bytes: int) -> Iterator[_Wire]:
    # Only in a longer text can an element be too long, and their lengths cost a pass of their own.
    for index, (wire, text) in enumerate(zip(wires, _texts.decode(data), strict=True)):
        check_size(text, max_delta_bytes, index)
        yield wire


def _bounded(texts: Iterable[bytes], most: int | None) -> Iterator[bytes]:
    """Yield the texts as they are found; raise at the first one beyond the limit."""
    for count, text in enumerate(texts):
        if count == most:
            raise _too_many(most)
        yield text


def _too_many(most: int) -> TooManyDeltas:
    return TooManyDeltas(
        f"more than {most} deltas in one publish",
        hint="send them in pieces; MAX_DELTAS_PER_MESSAGE sets the limit",
    )


def _nothing() -> list[Delta]:
    raise InvalidDelta("there is no delta in it", hint="send a delta, or an array of at least one")


def _checked(text: bytes, max_delta_bytes: int, index: int | None) -> Delta:
    check_size(text, max_delta_bytes, index)
    return _decode_one(text, index)


def _decode_one(text: bytes, index: int | None) -> Delta:
    try:
        wire = _one.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        fields = explain.delta_fields(text, index)
        return _finish(fields, index)
    return _validate(wire, index)


def _validate(wire: _Wire, index: int | None) -> Delta:
    before = after = None
    if wire.before is not _ABSENT and (before := str(wire.before, "utf-8")) == "null":
        before = None
    if wire.after is not _ABSENT and (after := str(wire.after, "utf-8")) == "null":
        after = None
    return _finish(Delta(wire.type, wire.session_id, before, after, wire.timestamp, wire.id), index)


def _finish(delta: Delta, index: int | None) -> Delta:
    """Check the rules that types alone do not express, and bring the timestamp into its form."""
    kind, before, after = delta.type, delta.before, delta.after
    session_id = delta.session_id
    # Printable ASCII is the common case; only the rest needs the slower look.
    if not (0 < len(session_id) <= MAX_SESSION_ID and session_id.isascii() and session_id.isprintable()):
        fault = session_id_fault(session_id)
        if fault is not None:
            raise refused(index, "sessionId", fault)
    if kind == DELETED:
        if after is not None:
            raise refused(index, "after", "must be absent for type 'deleted'")
    elif after is None:
        raise refused(index, "after", f"required for type '{kind}'")
    elif kind == CREATED and before is not None:
        raise refused(index, "before", "must be absent for type 'created'")
    # Most states are too short to be deep: a look at their length is all it costs.
    if before is not None and len(before) > _DEEP_LENGTH and jsontext.is_deeper(before, MAX_DEPTH):
        raise refused(index, "before", f"must not nest deeper than {MAX_DEPTH}")
    if after is not None and len(after) > _DEEP_LENGTH and jsontext.is_deeper(after, MAX_DEPTH):
        raise refused(index, "after", f"must not nest deeper than {MAX_DEPTH}")
    if delta.timestamp is not None:
        try:
            delta.timestamp = normalise(delta.timestamp)
        except ValueError as error:
            raise refused(index, "timestamp", str(error)) from None
    if delta.id is not None:
        _check_id(delta.id, index)
    return delta


def _check_id(delta_id: str, index: int | None) -> None:
    if not 0 < len(delta_id) <= MAX_ID:
        raise refused(index, "id", f"must have 1 to {MAX_ID} characters, has {len(delta_id)}")
    if any("\ud800" <= char <= "\udfff" for char in delta_id):
        raise refused(index, "id", "must have no lone surrogates")
