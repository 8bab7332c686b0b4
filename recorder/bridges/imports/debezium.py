"""`debezium`: change events of databases, in the envelope that Debezium gives them.

A row is a session: `c` (create) and `r` (read by a snapshot) become `created`, `u` `updated`, `d` `deleted`. A `c` or
`r` of a row that lives already (a later snapshot reads it again) becomes `updated`: `created` says that there was none.
The states are `before` and `after` byte for byte; MongoDB writes a document as a JSON string, and that string is the
state, since unpacking it would make other bytes of it. A `before` that is absent is left out, and the recorder fills it
in. Cassandra tells in a delete's `after` which row it was, with no state in it: that names the session and is left out.

The time is the source's (`source.ts_ms`: when the database made the change), else the connector's `ts_ms`: a delta's
timestamp says when it happened, not when it was read. Some connectors write micro- or nanoseconds under that name; the
magnitude tells. 0 and what is no number count as absent.

An event gets an id from its content and its position in the source's log, so that an event delivered twice or a file
imported twice is recorded once. One without a position is told apart by its time, and one without either by all that
stands before it in the file.

Taken in whatever a consumer wrapped around it: `payload` (with or without `schema`), `event`, `value`, a JSON string of
any of these, each perhaps beside the event's `key`. The file is a JSON array, one event, several one after another, or
one a line. A tombstone (`null`) follows a delete that has been said already and is passed over. Everything else that is
no change of one row (truncation, messages, transaction and schema events, heartbeats) is an error, never skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from recorder.bridges.imports import envelope, rawjson
from recorder.bridges.imports import files as reading
from recorder.bridges.imports.debezium_row import session_id
from recorder.bridges.imports.records import (
    Sessions,
    SourceDelta,
    SourceItem,
    SourceKnown,
    SourceOptions,
    Unfit,
)
from recorder.core.delta import CREATED, DELETED, UPDATED
from recorder.core.timestamps import format_ms

_KINDS = {"c": CREATED, "r": CREATED, "u": UPDATED, "d": DELETED}
_REFUSED = {
    "t": "a truncation empties a whole table, and names no row",
    "m": "a message of the logical decoding stream, which changes no row",
}
_WRAPPERS = ("event", "payload", "value")
_MAX_WRAPPERS = 8
_POSITIONS = (
    "lsn",
    "pos",
    "scn",
    "commit_scn",
    "change_lsn",
    "commit_lsn",
    "vgtid",
    "sequence",
    "gtid",
    "ord",
)
_TIMES = ("ts_ns", "ts_us", "ts_ms", "ts_sec")
_OPEN = (b"{", b"[", b",", b":")
_MAX_HEAD_LINES = 64
_MAX_HEAD_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class _Event:
    """An event out of its wrappers: its members, and what the wrappers knew of it."""

    members: dict[str, bytes]
    key: bytes | None
    topic: str | None


def deltas(
    parts: Iterator[bytes], name: str, options: SourceOptions, sessions: Sessions
) -> Iterator[SourceItem]:
    """Read the deltas of a file of change events.

    Args:
        parts: The file's bytes.
        name: Its name, for messages.
        options: `key` names the fields that make up the key of a row, for events that come without one and whose rows
            have no `id` or `_id`; it goes before everything else. The bounds count.
        sessions: What is recorded of the rows.

    Raises:
        SourceError: The file is truncated or is not JSON from some record on.
    """
    place_in_file = envelope.Chain()
    for place, record in _records(parts, name, options):
        try:
            if isinstance(record, Unfit):
                raise record
            item = _item(record, place, place_in_file.add(record), options, sessions)
        except Unfit as unfit:
            yield unfit.at(place)
        else:
            if item is not None:
                yield item


def _item(
    record: bytes, place: str, before_it: bytes, options: SourceOptions, sessions: Sessions
) -> SourceItem | None:
    event = _unwrap(record)
    if event is None:
        return None
    kind = _kind(event.members)
    source = _source(event.members)
    states = (event.members.get("before"), event.members.get("after"))
    row = session_id(source, event.topic, event.key, states, event.members.get("filter"), options.key)
    session = sessions.of(row)
    identity = _id(kind, row, event.members, source, before_it)
    if identity in session.ids:
        return SourceKnown(place)
    is_marker = kind == DELETED and rawjson.string(source.get("connector")) == "cassandra"
    text = envelope.build(
        UPDATED if kind == CREATED and session.lives else kind,
        row,
        (states[0], None) if is_marker else states,
        timestamp=_timestamp(source, event.members),
        delta_id=identity,
        max_bytes=options.max_delta_bytes,
    )
    session.ids.add(identity)
    session.lives = kind != DELETED
    return SourceDelta(text, place, identity)


def _unwrap(record: bytes) -> _Event | None:
    key: bytes | None = None
    topic: str | None = None
    for _ in range(_MAX_WRAPPERS):
        if record == rawjson.NULL:
            return None
        if (inner := rawjson.string(record)) is not None:
            record = _encoded(inner)
            continue
        fields = rawjson.members(record)
        key = rawjson.present(fields.get("key")) or key
        topic = rawjson.string(fields.get("topic")) or _topic(fields) or topic
        if "op" in fields:
            return _Event(fields, key, topic)
        record = _inside(fields)
    raise Unfit(f"wrapped more than {_MAX_WRAPPERS} times")


def _encoded(text: str) -> bytes:
    try:
        return text.encode().strip(b" \t\r\n")
    except UnicodeEncodeError:
        raise Unfit("a string that is no JSON text of an event") from None


def _inside(fields: dict[str, bytes]) -> bytes:
    for name in _WRAPPERS:
        if name in fields:
            return fields[name]
    shown = ", ".join(list(fields)[:6]) or "nothing"
    raise Unfit(
        f"no 'op', so no change of a row; it has {shown[:120]}",
        hint="events must come in Debezium's envelope, not flattened",
    )


def _topic(fields: dict[str, bytes]) -> str | None:
    """Return the topic named by the schema's name, such as `server.inventory.customers.Envelope`, or None."""
    schema = rawjson.present(fields.get("schema"))
    if schema is None or "payload" not in fields or not schema.startswith(b"{"):
        return None
    name = rawjson.string(rawjson.members(schema).get("name"))
    return name.removesuffix(".Envelope") if name is not None and name.endswith(".Envelope") else None


def _kind(fields: dict[str, bytes]) -> str:
    op = rawjson.string(fields["op"])
    if op in _KINDS:
        return _KINDS[op]
    if op in _REFUSED:
        raise Unfit(f"op '{op}': {_REFUSED[op]}")
    raise Unfit(f"op: must be c, r, u or d, is {fields['op'][:40].decode(errors='replace')}")


def _source(fields: dict[str, bytes]) -> dict[str, bytes]:
    source = rawjson.present(fields.get("source"))
    return rawjson.members(source) if source is not None else {}


def _timestamp(source: dict[str, bytes], fields: dict[str, bytes]) -> str | None:
    candidates = [source.get(name) for name in ("ts_ms", "ts_us", "ts_ns")]
    candidates.append(source["ts_sec"] + b"000" if source.get("ts_sec", b"").isdigit() else None)
    candidates += [fields.get(name) for name in ("ts_ms", "ts_us", "ts_ns")]
    for text in candidates:
        digits = text.strip(b'"') if text is not None else b""
        if digits.isdigit() and len(digits) < 30 and int(digits) > 0:
            return _time(int(digits))
    return None


def _time(value: int) -> str:
    # From 1973 on, milliseconds have fewer than 15 digits, microseconds 15 to 17, nanoseconds 18 or more.
    ms = value if value < 10**14 else value // 1000 if value < 10**17 else value // 10**6
    try:
        return format_ms(ms)
    except OverflowError:
        raise Unfit(f"{value} is no time that can be written") from None


def _id(
    kind: str, session: str, members: dict[str, bytes], source: dict[str, bytes], before_it: bytes
) -> str:
    before, after = members.get("before") or b"", members.get("after") or b""
    parts = [kind.encode(), rawjson.dump(session), before, after, members.get("source") or b""]
    if not any(rawjson.present(source.get(name)) for name in _POSITIONS):
        times = [members[name] for name in _TIMES if rawjson.present(members.get(name))]
        parts += times or [before_it]
    return envelope.content_id("debezium", *parts)


def _records(
    parts: Iterator[bytes], name: str, options: SourceOptions
) -> Iterator[tuple[str, bytes | Unfit]]:
    """Yield the file's records with their positions, for each of the file formats that Debezium writes."""
    head = next((part for part in parts if part.strip()), b"")
    parts = chain([head], parts)
    if head.lstrip().startswith(b"["):
        return _numbered(rawjson.elements(_whole(parts, name, options)), name)
    first: list[tuple[int, bytes | Unfit]] = []
    numbered = reading.lines(parts, options.max_line_bytes)
    by_line = _is_by_line(numbered, first)
    numbered = chain(first, numbered)
    if by_line:
        return ((f"{name}: line {number}", line) for number, line in numbered)
    # One event written over many lines, or several of them.
    return _numbered(rawjson.values(_whole(_joined(numbered, name), name, options)), name)


def _is_by_line(
    numbered: Iterator[tuple[int, bytes | Unfit]], first: list[tuple[int, bytes | Unfit]]
) -> bool:
    """Return whether a file has one record per line: one of its first lines is a complete event, even if the
    first is not.

    Args:
        numbered: The lines.
        first: Gets those that were looked at.
    """
    size = 0
    for number, line in numbered:
        first.append((number, line))
        if isinstance(line, Unfit) or _is_event(line) or (len(first) == 1 and _is_whole(line)):
            return True
        if len(first) == 1 and line.endswith(_OPEN):
            return False  # the first of the many lines of one event, not a bad line
        size += len(line)
        if len(first) == _MAX_HEAD_LINES or size > _MAX_HEAD_BYTES:
            break
    return False


def _whole(parts: Iterable[bytes], name: str, options: SourceOptions) -> bytes:
    data = reading.whole(parts, name, options.max_file_bytes)
    try:
        rawjson.check_utf8(data)
    except rawjson.BadJson as bad:
        raise bad.at(name) from None
    return data


def _joined(numbered: Iterator[tuple[int, bytes | Unfit]], name: str) -> Iterator[bytes]:
    for number, line in numbered:
        if isinstance(line, Unfit):
            raise line.at(f"{name}: line {number}")
        yield line + b"\n"


def _is_whole(line: bytes) -> bool:
    try:
        rawjson.check(line)
    except rawjson.BadJson:
        return False
    return line == rawjson.NULL or line.startswith(b"{")


def _is_event(line: bytes) -> bool:
    """Return whether a line is a complete event."""
    if not _is_whole(line):
        return False
    try:
        return _unwrap(line) is not None
    except Unfit:
        return False


def _numbered(records: Iterator[bytes], name: str) -> Iterator[tuple[str, bytes | Unfit]]:
    number = 0
    try:
        for number, record in enumerate(records, 1):
            yield f"{name}: record {number}", record
    except Unfit as unfit:
        # Nothing after this place can be told apart, so that skipping one record is not possible.
        raise unfit.at(f"{name}: record {number + 1}") from None
