"""The formats there are, and the one way in: `open_source`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from recorder.bridges.imports import claude_code, debezium, ndjson, swe_agent
from recorder.bridges.imports import files as reading
from recorder.bridges.imports.records import SourceItem, SourceOptions
from recorder.core.errors import SourceError

Reader = Callable[[Iterator[bytes], str, SourceOptions], Iterator[SourceItem]]


class Format(NamedTuple):
    """A kind of log.

    Args:
        description: What it is, in a few words, for help texts.
        read: Turns the bytes of a file (in chunks, with the file's name and the options) into deltas and errors.
        takes: Which of the options that name something (`session`, `key`) it makes use of.
    """

    description: str
    read: Reader
    takes: frozenset[str]


FORMATS: dict[str, Format] = {
    "ndjson": Format("the recorder's own export, one delta a line", ndjson.deltas, frozenset()),
    "debezium": Format("change events of databases, JSON or JSON lines", debezium.deltas, frozenset({"key"})),
    "swe-agent": Format("a coding agent's trajectory (.traj)", swe_agent.deltas, frozenset({"session"})),
    "claude-code": Format(
        "a coding assistant's session log (.jsonl)", claude_code.deltas, frozenset({"session"})
    ),
}


def open_source(
    format: str,  # noqa: A002 - the word that people use, on the command line too
    path: str,
    *,
    options: SourceOptions | None = None,
) -> Iterator[SourceItem]:
    """The deltas of a log, read as they are asked for.

    A record that cannot become a delta is handed over as a SourceError in its place, so that the caller decides whether
    to stop or to go on. What makes the file unusable from some place on is raised. The file is closed when the iterator
    ends or is closed.

    Args:
        format: A name in `FORMATS`.
        path: The file, or `-` for standard input. A name in `.gz` is unpacked.
        options: What the person who imports decided.

    Returns:
        An iterator of SourceDelta and SourceError, in the file's order.

    Raises:
        SourceError: At once: no such format, or an option that it has no use for. While iterating: the file cannot be
            read, is too large, or is not of this format at all.
    """
    options = options or SourceOptions()
    kind = FORMATS.get(format)
    if kind is None:
        raise SourceError(f"no format {format!r}", hint=f"there are {', '.join(FORMATS)}")
    for name in ("session", "key"):
        if getattr(options, name) and name not in kind.takes:
            raise SourceError(f"{name}: the format {format} has no use for it", hint=f"leave out --{name}")
    return kind.read(reading.chunks(path), reading.name_of(path), options)
