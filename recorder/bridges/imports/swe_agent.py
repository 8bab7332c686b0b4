"""`swe-agent`: a run of a coding agent, from its trajectory file (`.traj`).

A run is one session. It is `created` with the task and the environment, then `updated` by each step of `trajectory`,
the state growing by that step, and last by `info`: the outcome. A file with `history` alone (no trajectory) gives a
step for each of its messages. Where a file holds several attempts instead of a trajectory, each is a session.

What a step did and saw goes in as it stands, byte for byte (`action`, `observation`, `thought`, `execution_time`, …);
`state` is unpacked where it is JSON written as a string. Left out are `messages` and `query` (the whole conversation
again at every step), `history` beside a trajectory (it repeats the steps), `response` where thought and action
repeat it, and `replay_config` but for the task and the model.

Many runs of one instance have files of one name. So a run's session is `NAME~DIGEST`: the file's name, and a digest of
the file. A name given with `--session` is taken as it is, for one file; where it is another run's already, that is an
error. The ids are made of the digest and the place of the step, so that a file imported twice is recorded once.

Trajectories have no times: deltas go without a timestamp, and the time of receipt counts. `before` is left out: the
recorder fills it in.

A step that would make the delta longer than allowed is an error; where it is skipped, the later states do without it
and say so in `skippedSteps`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath

from recorder.bridges.imports import envelope, rawjson
from recorder.bridges.imports import files as reading
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

_MAX_TASK = 4000
_REPEATED = frozenset({"messages", "query", "cache_control"})
_TASK_FIELDS = (("text", "text"), ("problem_statement", "text"), ("github_url", "url"), ("path", "path"))


@dataclass(slots=True)
class _Run:
    """A run while it is told: what its state is made of."""

    session: str
    place: str
    digest: str
    known: Session
    max_bytes: int
    # Members of the state that stay as they are.
    fixed: list[tuple[str, bytes | None]]
    # The steps so far, each as JSON text.
    steps: list[bytes] = field(default_factory=list)
    # Numbers of the steps that were refused.
    skipped: list[int] = field(default_factory=list)
    # Whether `created` has been handed over.
    is_created: bool = False


def deltas(
    parts: Iterator[bytes], name: str, options: SourceOptions, sessions: Sessions
) -> Iterator[SourceItem]:
    """Read the deltas of a trajectory file.

    Args:
        parts: The file's bytes.
        name: Its name, for messages; without its suffix it begins the session's id.
        options: `session` is the session's id instead. The bounds count.
        sessions: What is recorded of the sessions.

    Raises:
        SourceError: The file is not JSON, or no trajectory; or `session` is another run's already.
    """
    data = reading.whole(parts, name, options.max_file_bytes)
    digest = hashlib.sha256(data.strip()).hexdigest()
    try:
        fields = rawjson.members(data)
        runs = _runs(fields)
        session = _session(name, options, digest)
    except Unfit as unfit:
        raise unfit.at(name) from None
    for number, run in enumerate(runs, 1):
        attempt = f"attempt {number}" if len(runs) > 1 else ""
        place = f"{name}: {attempt}, " if attempt else f"{name}: "
        own = session + (f"/{attempt}" if attempt else "")
        yield from _told(
            run,
            own,
            place,
            (f"{digest}/{number}", sessions, options.max_delta_bytes, options.session is not None),
        )


def _session(name: str, options: SourceOptions, digest: str) -> str:
    if options.session is not None:
        session = options.session
    else:
        stem = PurePath(name).name.removesuffix(".gz").removesuffix(".json").removesuffix(".traj")
        session = f"{stem}~{digest[:12]}" if stem and not name.startswith("<") else f"swe-agent~{digest[:12]}"
    if not envelope.is_session_id(session):
        raise Unfit("its name does not make a session's id", hint="name the session with --session")
    return session


def _runs(fields: dict[str, bytes]) -> list[dict[str, bytes]]:
    if any(rawjson.present(fields.get(name)) for name in ("trajectory", "history")):
        return [fields]
    attempts = rawjson.present(fields.get("attempts"))
    if attempts is None:
        raise Unfit("no trajectory: it has neither 'trajectory' nor 'history'")
    shared = {name: fields[name] for name in ("environment", "replay_config") if name in fields}
    return [shared | rawjson.members(attempt) for attempt in rawjson.elements(attempts)]


def _told(
    fields: dict[str, bytes], session: str, place: str, context: tuple[str, Sessions, int, bool]
) -> Iterator[SourceItem]:
    """Yield a run's deltas, from its beginning to its outcome."""
    digest, sessions, max_bytes, is_named = context
    from_history = rawjson.present(fields.get("trajectory")) is None
    which = "history" if from_history else "trajectory"
    try:
        run = _Run(session, place, digest, sessions.of(session), max_bytes, list(_beginning(fields)))
        records = list(rawjson.elements(fields.get(which, b"")))
    except Unfit as unfit:
        raise SourceError(f"{place}{which}: {unfit.reason}", hint=unfit.hint, place=place + which) from None
    label = "message" if from_history else "step"
    if is_named and not _is_same(run, label, len(records)):
        raise SourceError(
            f"{place}the session {session!r} is recorded already, and it is not this run",
            hint="name another with --session, or leave it out",
            place=place.rstrip(", :"),
        )
    yield _item(run, "start", ("status", b'"running"'))
    for number, record in enumerate(records, 1):
        yield _step_item(run, label, number, record)
    info = rawjson.present(fields.get("info"))
    if info is not None:
        yield _outcome_item(run, info)


def _is_same(run: _Run, label: str, count: int) -> bool:
    """Return whether the session's recorded deltas are of this run only; retention may have removed some."""
    places = ("start", "info", *(f"{label} {number}" for number in range(1, count + 1)))
    return not run.known.exists or any(_identity(run, where) in run.known.ids for where in places)


def _step_item(run: _Run, label: str, number: int, record: bytes) -> SourceItem:
    try:
        run.steps.append(_step(record))
    except Unfit as unfit:
        run.skipped.append(number)
        return unfit.at(f"{run.place}{label} {number}")
    item = _item(run, f"{label} {number}", ("status", b'"running"'), ("step", b"%d" % number))
    if isinstance(item, SourceError):
        run.steps.pop()
        run.skipped.append(number)
    return item


def _outcome_item(run: _Run, info: bytes) -> SourceItem:
    try:
        exit_status = rawjson.members(info).get("exit_status")
    except Unfit as unfit:
        return unfit.at(f"{run.place}info")
    status = rawjson.dump(_status(rawjson.string(exit_status)))
    count = b"%d" % (len(run.steps) + len(run.skipped))
    return _item(run, "info", ("status", status), ("step", count), ("outcome", info))


def _status(exit_status: str | None) -> str:
    if exit_status is None:
        return "ended"
    # "submitted (exit_cost)" and the like: there is a result all the same.
    return "completed" if exit_status.startswith("submitted") else "failed"


def _item(run: _Run, where: str, *changing: tuple[str, bytes]) -> SourceItem:
    place = run.place + where
    skipped = b"[" + b",".join(b"%d" % number for number in run.skipped) + b"]" if run.skipped else None
    steps = b"[" + b",".join(run.steps) + b"]"
    state = rawjson.assemble((*run.fixed, *changing, ("steps", steps), ("skippedSteps", skipped)))
    identity = _identity(run, where)
    if identity in run.known.ids:
        run.is_created = True
        return SourceKnown(place)
    try:
        kind = UPDATED if run.is_created else CREATED
        text = envelope.build(kind, run.session, (None, state), delta_id=identity, max_bytes=run.max_bytes)
    except Unfit as unfit:
        return unfit.at(place)
    run.is_created = run.known.exists = True
    run.known.ids.add(identity)
    return SourceDelta(text, place, identity)


def _identity(run: _Run, where: str) -> str:
    return envelope.content_id("swe-agent", rawjson.dump(run.session), run.digest.encode(), where.encode())


def _beginning(fields: dict[str, bytes]) -> Iterator[tuple[str, bytes | None]]:
    """Yield the fields that are known of a run before its first step."""
    config = _unpacked(rawjson.present(fields.get("replay_config")))
    yield "agent", b'"swe-agent"'
    yield "environment", rawjson.present(fields.get("environment"))
    yield "model", _path(config, "agent", "model", "name")
    yield "task", _task(config, fields)


def _task(config: dict[str, bytes], fields: dict[str, bytes]) -> bytes | None:
    statement = _path(config, "problem_statement")
    given = rawjson.members(statement) if statement is not None and statement.startswith(b"{") else {}
    task = {"id": given["id"]} if rawjson.string(given.get("id")) else {}
    for source, name in _TASK_FIELDS:
        if text := rawjson.string(given.get(source)):
            task[name] = rawjson.dump(text[:_MAX_TASK])
    if "text" not in task and (asked := _first_request(fields.get("history"))):
        task["text"] = rawjson.dump(asked[:_MAX_TASK])
    return rawjson.assemble(task.items()) if task else None


def _first_request(history: bytes | None) -> str | None:
    """Return the user's first request, demonstrations excluded: older files have no other description of the
    task.
    """
    if history is None or not history.startswith(b"["):
        return None
    for message in rawjson.elements(history):
        given = rawjson.members(message) if message.startswith(b"{") else {}
        if rawjson.string(given.get("role")) == "user" and given.get("is_demo") != b"true":
            return rawjson.string(given.get("content"))
    return None


def _path(fields: dict[str, bytes], *names: str) -> bytes | None:
    """Return the value at a path of names; None if a name on the path is missing."""
    for name in names[:-1]:
        inner = fields.get(name, b"")
        fields = rawjson.members(inner) if inner.startswith(b"{") else {}
    return rawjson.present(fields.get(names[-1]))


def _unpacked(text: bytes | None) -> dict[str, bytes]:
    """Return the members of an object, written as an object or as a JSON string; an empty dict if it is
    neither.
    """
    if text is None:
        return {}
    inner = _json_in_string(text)
    return rawjson.members(inner) if inner.startswith(b"{") else {}


def _json_in_string(text: bytes) -> bytes:
    """Return the JSON text that a string contains; any other value unchanged."""
    inner = rawjson.string(text)
    if inner is None or not inner.lstrip().startswith(("{", "[")):
        return text
    try:
        unpacked = inner.strip().encode()
        rawjson.check(unpacked)
    except (rawjson.BadJson, UnicodeEncodeError):
        return text
    return unpacked


def _step(record: bytes) -> bytes:
    fields = {name: value for name, value in rawjson.members(record).items() if name not in _REPEATED}
    if "response" in fields and _is_repeated(fields):
        del fields["response"]
    if "state" in fields:
        fields["state"] = _json_in_string(fields["state"])
    return rawjson.assemble(fields.items())


def _is_repeated(fields: dict[str, bytes]) -> bool:
    response, thought, action = (
        (rawjson.string(fields.get(name)) or "").strip() for name in ("response", "thought", "action")
    )
    return response == thought or (response.startswith(thought) and thought != "" and action in response)
