"""`claude-code`: the session logs of a coding assistant, one JSON record a line.

Every record becomes a delta of its session: the first `created`, the others `updated`. The state is small and does not
grow with the session: a running summary (counts, tokens, the last message in short, the plan), and in `record` the log's
record itself, byte for byte. `before` is left out: the recorder fills it in. A session has one running summary, over all
files of an import, and it goes on from what is recorded.

A record belongs to the session it names. One that names none (a summary, a snapshot of files) goes to the session of
the record it points at, else to the session before it in the file; at the head of a file it waits for the first that is
named, and in a file without any it goes to the session that the file is named after. What a subagent did is a session of
its own, `SESSION/AGENT`; in older logs, which do not name the agent, the side chain is named by its first record. A line
that is no record of such a log is an error.

The time is the record's, or that of the snapshot it holds, taken as UTC where it has no offset; else that of the record
before it in the file, or at the head of the first behind it. The id is made of the record, and where the record has no
name or time that tells it apart, of all that stands before it: importing a log again, or one that has grown since,
records only what is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath

from recorder.bridges.imports import envelope, rawjson
from recorder.bridges.imports import files as reading
from recorder.bridges.imports.claude_code_state import Running
from recorder.bridges.imports.recognise import is_claude_code as is_record
from recorder.bridges.imports.recognise import looks_like
from recorder.bridges.imports.records import (
    Session,
    Sessions,
    SourceDelta,
    SourceItem,
    SourceKnown,
    SourceOptions,
    Unfit,
)
from recorder.core.delta import CREATED, UPDATED
from recorder.core.errors import SourceError
from recorder.core.timestamps import format_ms, normalise

_MAX_WAITING_BYTES = 1 << 24
_MAX_WAITING = 100
_MAX_OWNERS = 100_000
_SESSION = ("sessionId", "session_id")
_LABEL, _LABEL_BEFORE = "claude-code.2", "claude-code:"
_NAMES = ("uuid", "leafUuid", "messageId")
_POINTERS = ("leafUuid", "messageId", "parentUuid")


@dataclass(frozen=True, slots=True)
class _Record:
    """A line of the log."""

    raw: bytes
    fields: dict[str, bytes]
    place: str
    before: bytes  # a digest of everything up to it
    time: str | None


@dataclass(slots=True)
class _Log:
    """The facts about a file that reading it has collected so far."""

    options: SourceOptions
    sessions: Sessions
    # Which session a record's uuid belongs to, for records that only point at another.
    owners: dict[str, str] = field(default_factory=dict)
    # The session of the record before: where one goes that names and points at none.
    latest: str | None = None
    # The time of the record before, for one that has none.
    time: str | None = None


def deltas(
    parts: Iterator[bytes], name: str, options: SourceOptions, sessions: Sessions
) -> Iterator[SourceItem]:
    """Read the deltas of a session log.

    Args:
        parts: The file's bytes.
        name: Its name, for messages.
        options: `session` takes the place of the file's name. The bounds count.
        sessions: What is recorded of the sessions.
    """
    log = _Log(options, sessions)
    waiting: list[_Record] = []
    size = 0
    for item in _records(parts, name, options):
        if isinstance(item, SourceError):
            yield item
            continue
        waiting.append(item)
        size += len(item.raw)
        if size < _MAX_WAITING_BYTES and len(waiting) < _MAX_WAITING and not _is_placed(log, waiting):
            continue
        yield from _items(log, waiting, name)
        waiting.clear()
        size = 0
    yield from _items(log, waiting, name)


def _is_placed(log: _Log, waiting: list[_Record]) -> bool:
    """Return whether session and time of all waiting records are known, taken from later ones if the first
    lack them.
    """
    return _session_of(log, waiting[-1]) is not None and (
        log.time is not None or any(record.time for record in waiting)
    )


def _items(log: _Log, waiting: list[_Record], name: str) -> Iterator[SourceItem]:
    named = (_session_of(log, record) for record in waiting)
    fallback = next((session for session in named if session), None) or _named_after(name, log.options)
    log.time = log.time or next((record.time for record in waiting if record.time), None)
    yield from (_item(log, record, fallback) for record in waiting)


def _records(parts: Iterator[bytes], name: str, options: SourceOptions) -> Iterator[_Record | SourceError]:
    chain = envelope.Chain()
    for number, line in reading.lines(parts, options.max_line_bytes):
        place = f"{name}: line {number}"
        try:
            if isinstance(line, Unfit):
                raise line
            yield _record(line, place, chain.add(line))
        except Unfit as unfit:
            yield unfit.at(place)


def _record(line: bytes, place: str, before: bytes) -> _Record:
    fields = rawjson.members(line)
    if not is_record(fields):
        other = looks_like(fields)
        said = (
            f"this looks like {other}" if other else "neither a session nor anything else that such a log has"
        )
        raise Unfit(f"no record of a session log: {said}")
    for name in _SESSION:
        text = rawjson.present(fields.get(name))
        if text is not None and not envelope.is_session_id(rawjson.string(text) or ""):
            raise Unfit(f"{name}: names no session: {text[:60].decode(errors='replace')}")
    return _Record(line, fields, place, before, _time(fields))


def _session_of(log: _Log, record: _Record) -> str | None:
    for name in _SESSION:
        if named := rawjson.string(record.fields.get(name)):
            return _of_subagent(log, record, named)
    for name in _POINTERS:
        if (pointed := rawjson.string(record.fields.get(name))) in log.owners:
            return log.owners[pointed]
    return log.latest


def _of_subagent(log: _Log, record: _Record, session: str) -> str:
    """Return the session of the subagent whose record it is; the session itself where it is nobody's."""
    if record.fields.get("isSidechain") != b"true":
        return session
    agent = rawjson.string(record.fields.get("agentId"))
    if agent is None:
        owner = log.owners.get(rawjson.string(record.fields.get("parentUuid")) or "", "")
        if owner.startswith(f"{session}/"):
            return owner
        agent = rawjson.string(record.fields.get("uuid"))
    own = f"{session}/{agent}"
    return own if agent and envelope.is_session_id(own) else session


def _named_after(name: str, options: SourceOptions) -> str | None:
    if options.session is not None:
        return options.session
    stem = PurePath(name).name.removesuffix(".gz").removesuffix(".jsonl")
    return stem if envelope.is_session_id(stem) and not stem.startswith("<") else None


def _item(log: _Log, record: _Record, fallback: str | None) -> SourceItem:
    try:
        return _delta(log, record, fallback)
    except Unfit as unfit:
        return unfit.at(record.place)


def _delta(log: _Log, record: _Record, fallback: str | None) -> SourceItem:
    session_id = _session_of(log, record) or fallback
    if session_id is None:
        raise Unfit("names no session, nor does any record before it", hint="name one with --session")
    _remember(log, record, session_id)
    session = log.sessions.of(session_id, lambda delta_id, state: _renamed(session_id, delta_id, state))
    running = _running(session, session_id, record)
    identity = _identity(session_id, record)
    if identity in session.ids:
        return SourceKnown(record.place)
    running.add(record.fields, points_here=_points_at(log, record, session_id))
    text = envelope.build(
        UPDATED if session.lives else CREATED,
        session_id,
        (None, running.state(record.raw)),
        timestamp=log.time,
        delta_id=identity,
        max_bytes=log.options.max_delta_bytes,
    )
    # Only now: a session whose first record is refused is created by its second.
    session.lives = True
    session.ids.add(identity)
    return SourceDelta(text, record.place, identity)


def _running(session: Session, session_id: str, record: _Record) -> Running:
    """Return the session's running summary, continued from what is recorded where there is anything."""
    if not isinstance(session.summary, Running):
        is_side = session_id != next(
            (named for name in _SESSION if (named := rawjson.string(record.fields.get(name)))), session_id
        )
        session.summary = Running.resumed(tuple(session.recent) if session.lives else (), is_side=is_side)
    return session.summary


def _identity(session_id: str, record: _Record) -> str:
    """Return the record's id: its content's, where it has what tells it from others that are alike."""
    tells = record.time is not None or any(rawjson.string(record.fields.get(name)) for name in _NAMES)
    place = b"" if tells else record.before
    return envelope.content_id(_LABEL, rawjson.dump(session_id), record.raw, place)


def _renamed(session_id: str, delta_id: str, state: bytes) -> str | None:
    """Return the id of a record whose recorded id was made of the whole state, as earlier versions did it."""
    if not delta_id.startswith(_LABEL_BEFORE):
        return None
    raw = rawjson.members(state).get("record", b"")
    fields = rawjson.members(raw) if raw.startswith(b"{") else {}
    return _identity(session_id, _Record(raw, fields, "", b"", _time(fields)))


def _remember(log: _Log, record: _Record, session: str) -> None:
    log.latest = session
    log.time = record.time or log.time
    uuid = rawjson.string(record.fields.get("uuid"))
    if uuid is not None:
        log.owners[uuid] = session
        if len(log.owners) > _MAX_OWNERS:
            del log.owners[next(iter(log.owners))]


def _points_at(log: _Log, record: _Record, session: str) -> bool:
    """Return whether a summary belongs to this session: logs also contain the summaries of earlier sessions."""
    return log.owners.get(rawjson.string(record.fields.get("leafUuid")) or "") == session


def _time(fields: dict[str, bytes]) -> str | None:
    """Return when it happened: the record's own time, else that of the snapshot of files that it holds."""
    snapshot = fields.get("snapshot", b"")
    inner = rawjson.members(snapshot) if snapshot.startswith(b"{") else {}
    return _timestamp(fields.get("timestamp")) or _timestamp(inner.get("timestamp"))


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
