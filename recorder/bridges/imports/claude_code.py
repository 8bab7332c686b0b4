"""`claude-code`: the session logs of a coding assistant, one JSON record a line.

Every record becomes a delta of its session: the first `created`, the others `updated`. The state is small and does not
grow with the session: a running summary (counts, tokens, the last message in short, the plan), and in `record` the log's
record itself, byte for byte. `before` is left out: the recorder fills it in.

A record belongs to the session it names. One that names none (a summary, a snapshot of files) goes to the session of
the record it points at, else to the session before it in the file; at the head of a file it waits for the first that is
named, and in a file without any it goes to the session that the file is named after. A line that is no record of such a
log is an error.

The time is the record's, taken as UTC where it has no offset; one that cannot be read is left out, and the record still
has it. The id is made of the delta's content, so that importing a log again, or one that has grown since, records only
what is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath

from recorder.bridges.imports import envelope, rawjson
from recorder.bridges.imports import files as reading
from recorder.bridges.imports.claude_code_state import Running
from recorder.bridges.imports.records import SourceDelta, SourceItem, SourceOptions, Unfit
from recorder.core.delta import CREATED, UPDATED
from recorder.core.errors import SourceError
from recorder.core.timestamps import format_ms, normalise

_MAX_WAITING_BYTES = 1 << 24
_MAX_OWNERS = 100_000
_SESSION = ("sessionId", "session_id")
_POINTERS = ("leafUuid", "messageId", "parentUuid")


@dataclass(frozen=True, slots=True)
class _Record:
    """A line of the log."""

    raw: bytes
    fields: dict[str, bytes]
    place: str


@dataclass(slots=True)
class _Log:
    """What is known of a file while it is read."""

    options: SourceOptions
    # Each session's summary so far.
    running: dict[str, Running] = field(default_factory=dict)
    # Sessions whose `created` has been handed over.
    created: set[str] = field(default_factory=set)
    # Which session a record's uuid belongs to, for records that only point at another.
    owners: dict[str, str] = field(default_factory=dict)
    # The session of the record before: where one goes that names and points at none.
    latest: str | None = None


def deltas(parts: Iterator[bytes], name: str, options: SourceOptions) -> Iterator[SourceItem]:
    """The deltas of a session log.

    Args:
        parts: The file's bytes.
        name: Its name, for messages.
        options: `session` takes the place of the file's name. The bounds count.
    """
    log = _Log(options)
    waiting: list[_Record] = []
    size = 0
    for item in _records(parts, name, options):
        if isinstance(item, SourceError):
            yield item
        elif _session_of(log, item) is None and size < _MAX_WAITING_BYTES:
            waiting.append(item)
            size += len(item.raw)
        else:
            fallback = _session_of(log, item) or _named_after(name, options)
            yield from (_item(log, record, fallback) for record in [*waiting, item])
            waiting.clear()
    yield from (_item(log, record, _named_after(name, options)) for record in waiting)


def _records(parts: Iterator[bytes], name: str, options: SourceOptions) -> Iterator[_Record | SourceError]:
    for number, line in reading.lines(parts, options.max_line_bytes):
        place = f"{name}: line {number}"
        try:
            yield _record(line, place)
        except Unfit as unfit:
            yield unfit.at(place)


def _record(line: bytes | Unfit, place: str) -> _Record:
    if isinstance(line, Unfit):
        raise line
    fields = rawjson.members(line)
    if not {"type", *_SESSION} & fields.keys():
        raise Unfit("neither 'type' nor 'sessionId': no record of a session log")
    for name in _SESSION:
        text = rawjson.present(fields.get(name))
        if text is not None and not envelope.is_session_id(rawjson.string(text) or ""):
            raise Unfit(f"{name}: names no session: {text[:60].decode(errors='replace')}")
    return _Record(line, fields, place)


def _session_of(log: _Log, record: _Record) -> str | None:
    for name in _SESSION:
        if named := rawjson.string(record.fields.get(name)):
            return named
    for name in _POINTERS:
        if (pointed := rawjson.string(record.fields.get(name))) in log.owners:
            return log.owners[pointed]
    return log.latest


def _named_after(name: str, options: SourceOptions) -> str | None:
    if options.session is not None:
        return options.session
    stem = PurePath(name).name.removesuffix(".gz").removesuffix(".jsonl")
    return stem if envelope.is_session_id(stem) and not stem.startswith("<") else None


def _item(log: _Log, record: _Record, fallback: str | None) -> SourceItem:
    try:
        return SourceDelta(_delta(log, record, fallback), record.place)
    except Unfit as unfit:
        return unfit.at(record.place)


def _delta(log: _Log, record: _Record, fallback: str | None) -> bytes:
    session = _session_of(log, record) or fallback
    if session is None:
        raise Unfit("names no session, nor does any record before it", hint="name one with --session")
    _remember(log, record, session)
    running = log.running.setdefault(session, Running())
    running.add(record.fields, points_here=_points_at(log, record, session))
    state = running.state(record.raw)
    timestamp = _timestamp(record.fields.get("timestamp"))
    kind = UPDATED if session in log.created else CREATED
    text = envelope.build(
        kind,
        session,
        (None, state),
        timestamp=timestamp,
        delta_id=envelope.content_id("claude-code", kind.encode(), rawjson.dump(session), state),
        max_bytes=log.options.max_delta_bytes,
    )
    # Only now: a session whose first record is refused is created by its second.
    log.created.add(session)
    return text


def _remember(log: _Log, record: _Record, session: str) -> None:
    log.latest = session
    uuid = rawjson.string(record.fields.get("uuid"))
    if uuid is not None:
        log.owners[uuid] = session
        if len(log.owners) > _MAX_OWNERS:
            del log.owners[next(iter(log.owners))]


def _points_at(log: _Log, record: _Record, session: str) -> bool:
    """Whether a summary is of this very session: logs also carry those of earlier ones."""
    return log.owners.get(rawjson.string(record.fields.get("leafUuid")) or "") == session


def _timestamp(raw: bytes | None) -> str | None:
    text = rawjson.string(raw)
    for candidate in (text, f"{text}Z") if text is not None else ():
        try:
            return normalise(candidate)
        except ValueError:
            continue
    if text is None and raw is not None and raw.isdigit() and len(raw) < 16:
        return format_ms(int(raw)) if int(raw) < 253_402_300_800_000 else None
    return None
