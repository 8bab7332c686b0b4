"""Recognise the format of a log by its content: by what only that format has, and say by what.

Looked at is the beginning of a file, which may break off anywhere. Of each value at its top (a line, an element of an
array, a document) the outline counts: which names its members have, and of which type their values are. No file is
recognised by its name, and none by a field that other formats have as well (`type`, `id`, `timestamp`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from recorder.core.delta import DELTA_TYPES

MAX_HEAD_BYTES = 262_144
"""How much of a file is looked at."""

_MAX_VALUES = 50
_TOKEN = re.compile(
    r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|"(?:[^"\\]|\\.)*+\\?\Z|[{}\[\]:,]|[^\s"{}\[\]:,]++', re.DOTALL
)

Outline = Mapping[str, str]
"""Names of members (`payload.op` for those one level down), each with the first token of its value."""


class Recognised(NamedTuple):
    """The format of a file, and the reason for recognising it.

    Args:
        format: The name of the format.
        why: What it was recognised by.
    """

    format: str
    why: str


class Likeness(NamedTuple):
    """A description of a file that cannot be imported."""

    text: str


def recognise(head: bytes) -> Recognised | Likeness | None:
    """Recognise a file.

    Args:
        head: Its beginning; all of it where it is shorter than `MAX_HEAD_BYTES`.

    Returns:
        The format; or what else it looks like; or None, where nothing can be said.
    """
    foreign = _by_signature(head)
    if foreign is not None:
        return Likeness(foreign)
    text = head.decode("utf-8", "replace")
    found: Counter[Recognised] = Counter()
    others: Counter[str] = Counter()
    for outline in outlines(text):
        recognised = _format_of(outline)
        if recognised is not None:
            found[recognised] += 1
        elif other := looks_like_outline(outline):
            others[other] += 1
    if found:
        # Most of the records decide: a log may hold a few foreign lines, and a few bad ones.
        return found.most_common(1)[0][0]
    return Likeness(others.most_common(1)[0][0]) if others else _not_json(text)


def outlines(text: str) -> Iterator[Outline]:
    """Find the outlines of the values at the top of a text, which may break off; an array counts as its elements."""
    stripped = text.lstrip()
    if stripped.startswith("["):
        yield from _outlined(stripped, 1)
        return
    lines = text.split("\n")
    whole = [line for line in lines if line.startswith("{") and _is_object(line)]
    if whole:
        for line in whole[:_MAX_VALUES]:
            yield from _outlined(line, 0)
    else:
        yield from _outlined(stripped, 0)


def looks_like(fields: Mapping[str, bytes]) -> str | None:
    """Return what kind of record this looks like, if it is not of the expected format.

    Args:
        fields: Its members as texts.
    """
    outline = _flat(fields)
    recognised = _format_of(outline)
    if recognised is not None and recognised.format != "claude-code":
        return f"{_NAMES[recognised.format]} ({recognised.why})"
    return looks_like_outline(outline)


def is_claude_code(fields: Mapping[str, bytes]) -> bool:
    """Return whether a record may belong to a coding assistant's session log.

    Args:
        fields: Its members as texts.
    """
    if looks_like(fields) is not None:
        return False
    if fields.keys() & {"sessionId", "session_id", "parentUuid", "leafUuid", "isSidechain"}:
        return True
    kind = fields.get("type", b"").strip(b'"').decode("utf-8", "replace")
    return bool(fields.keys() & _CLAUDE_OWN.get(kind, frozenset()))


def looks_like_outline(outline: Outline) -> str | None:
    """Return the name of the unsupported format that a value has; None if it has none of them."""
    kind = _word(outline.get("type"))
    for names, what in _FOREIGN:
        if all(name in outline for name in names):
            return what
    if kind.isupper() and kind.startswith(_AG_UI):
        return f"an AG-UI event (type {kind})"
    return None


_NAMES = {
    "ndjson": "the recorder's own export",
    "debezium": "a change event of a database",
    "swe-agent": "a coding agent's trajectory",
    "claude-code": "a coding assistant's session log",
}
_CLAUDE_OWN = {
    "summary": frozenset({"summary"}),
    "file-history-snapshot": frozenset({"snapshot", "messageId"}),
    "ai-title": frozenset({"aiTitle"}),
    "custom-title": frozenset({"customTitle"}),
    "queue-operation": frozenset({"operation"}),
    "user": frozenset({"message"}),
    "assistant": frozenset({"message"}),
}
_FOREIGN = (
    (("eval", "plan"), "an evaluation log of Inspect"),
    (("eval", "samples"), "an evaluation log of Inspect"),
    (("resourceSpans",), "an OpenTelemetry export of traces"),
    (("resourceLogs",), "an OpenTelemetry export of logs"),
    (("traceId", "spanId"), "an OpenTelemetry span"),
    (("action", "repository", "sender"), "a webhook of GitHub"),
    (("repository", "sender"), "a webhook of GitHub"),
    (("specversion", "source"), "a CloudEvent"),
    (("model", "choices"), "a completion of a chat model"),
    (("messages",), "a conversation in the form of chat models"),
)
_AG_UI = (
    "RUN_", "STEP_", "TEXT_MESSAGE_", "TOOL_CALL_", "STATE_", "MESSAGES_", "REASONING_", "THINKING_", "ACTIVITY_", "RAW",
    "CUSTOM",
)  # fmt: skip


def _format_of(outline: Outline) -> Recognised | None:
    kind = _word(outline.get("type"))
    if "delta.sessionId" in outline and "delta.type" in outline:
        return Recognised("ndjson", "'delta' with 'type' and 'sessionId'")
    if (
        kind in DELTA_TYPES
        and "sessionId" in outline
        and not outline.keys() & {"uuid", "parentUuid", "message"}
    ):
        return Recognised("ndjson", f"'sessionId' and type '{kind}'")
    for prefix in ("", "payload.", "event.", "value."):
        if f"{prefix}op" in outline and any(
            f"{prefix}{name}" in outline for name in ("after", "before", "source")
        ):
            return Recognised("debezium", f"'{prefix}op' with the row's states")
    for name in ("event", "value", "payload"):
        if (
            outline.get(name, "").startswith('"')
            and r"\"op\"" in outline[name]
            and r"\"after\"" in outline[name]
        ):
            return Recognised("debezium", f"'{name}' with an event as a string")
    if outline.keys() >= {"event.schema", "event.payload"} or outline.keys() >= {"schema", "payload"}:
        return Recognised("debezium", "'payload' beside its 'schema'")
    return _agent_of(outline, kind)


def _agent_of(outline: Outline, kind: str) -> Recognised | None:
    if outline.get("trajectory") == "[":
        return Recognised("swe-agent", "'trajectory', a list of steps")
    if outline.get("attempts") == "[":
        return Recognised("swe-agent", "'attempts', a list of runs")
    if outline.get("history") == "[" and "messages" not in outline:
        return Recognised("swe-agent", "'history', a list of messages")
    if "uuid" in outline and outline.keys() & {"parentUuid", "isSidechain"}:
        return Recognised("claude-code", "'uuid' and 'parentUuid'")
    if "uuid" in outline and "sessionId" in outline and "message" in outline:
        return Recognised("claude-code", "'uuid', 'sessionId' and 'message'")
    if kind == "summary" and "leafUuid" in outline:
        return Recognised("claude-code", "a summary with 'leafUuid'")
    if kind == "file-history-snapshot" and "snapshot" in outline:
        return Recognised("claude-code", "a 'file-history-snapshot'")
    if kind in _CLAUDE_OWN and outline.keys() & _CLAUDE_OWN[kind] and "sessionId" in outline:
        return Recognised("claude-code", f"'sessionId' and type '{kind}'")
    return None


def _by_signature(head: bytes) -> str | None:
    if head.startswith(b"SQLite format 3\0"):
        return "a database of SQLite (a recorder's file is read with --db, or served)"
    if head.startswith(b"PK\x03\x04"):
        return "a zip archive (evaluation logs of Inspect come as such, too: .eval)"
    for magic, name in ((b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz")):
        if head.startswith(magic):
            return f"a file packed with {name}; unpack it first"
    if b"\0" in head[:1024]:
        return "a binary file, or text that is not UTF-8"
    return None


def _not_json(text: str) -> Likeness | None:
    """Return a description of a text in which no value with members was found."""
    first = next((line for line in text.splitlines() if line.strip()), None)
    if first is None:
        return Likeness("an empty file")
    if first.startswith(("event:", "data:", "id:", "retry:")):
        return Likeness("a stream of Server-Sent Events")
    if first.lstrip().startswith("<"):
        return Likeness("XML or HTML")
    if first.lstrip()[:1] not in ("{", "["):
        return Likeness("plain text")
    return None


def _flat(fields: Mapping[str, bytes]) -> dict[str, str]:
    """Return the outline of a record that is cut into its members."""
    outline: dict[str, str] = {}
    for name, value in fields.items():
        text = value.decode("utf-8", "replace")
        outline[name] = text if text.startswith('"') else text[:1]
        if text.startswith("{") and name in ("delta", "payload", "event", "value"):
            inner = next(_outlined(text, 0), {})
            outline |= {f"{name}.{inside}": token for inside, token in inner.items()}
    return outline


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _outlined(text: str, base: int) -> Iterator[Outline]:
    """Walk a text and give the outline of each object that is `base` levels deep, the last one as far as it goes."""
    names: list[
        str | None
    ] = []  # for each level that is open: the member that is under way; None in an array
    outline: dict[str, str] = {}
    is_name = False
    count = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        level = len(names) - base
        if token in "{[":
            _note(outline, names, base, token)
            names.append("" if token == "{" else None)
            is_name = token == "{"
        elif token in "}]":
            if not names:
                break
            names.pop()
            is_name = False
            if len(names) == base and outline:
                yield outline
                outline, count = {}, count + 1
                if count == _MAX_VALUES:
                    return
        elif token == ",":
            is_name = bool(names) and names[-1] is not None
        elif token == ":":
            is_name = False
        elif is_name and names:
            names[-1] = _word(token)
        elif level <= 2:
            _note(outline, names, base, token)
    if outline:
        yield outline


def _note(outline: dict[str, str], names: list[str | None], base: int, token: str) -> None:
    """Record the first token of a value, if it is a member one or two levels below the top value."""
    path = names[base:]
    if 1 <= len(path) <= 2 and None not in path:
        outline.setdefault(".".join(name or "" for name in path), token)


def _word(token: str | None) -> str:
    if token is None or not token.startswith('"'):
        return ""
    try:
        value = json.loads(token)
    except ValueError:
        return ""
    return value if isinstance(value, str) else ""
