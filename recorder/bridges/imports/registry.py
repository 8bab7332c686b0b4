"""The formats there are, and the ways in: `Importer`, and `open_source` for one log without a recorder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple

from recorder.bridges.imports import claude_code, debezium, ndjson, swe_agent
from recorder.bridges.imports import files as reading
from recorder.bridges.imports.recognise import MAX_HEAD_BYTES, Likeness, Recognised, recognise
from recorder.bridges.imports.records import History, Sessions, SourceItem, SourceOptions, no_history
from recorder.core.errors import SourceError

Reader = Callable[[Iterator[bytes], str, SourceOptions, Sessions], Iterator[SourceItem]]


class Format(NamedTuple):
    """A kind of log.

    Args:
        description: What it is, in a few words, for help texts.
        read: Turns the bytes of a file (in chunks, with the file's name, the options and what is known of the sessions)
            into deltas and errors.
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


class Recognition(NamedTuple):
    """A log whose format was recognised.

    Args:
        format: The name of the format.
        why: What it was recognised by.
        items: What is in it.
    """

    format: str
    why: str
    items: Iterator[SourceItem]


class Importer:
    """Reads logs, one after the other, as one import: sessions that are in several files are continued.

    Args:
        options: What the person who imports decided.
        history: Where to look up what is recorded of a session.
        wait: Called before more of a stream is waited for.
    """

    def __init__(
        self,
        options: SourceOptions | None = None,
        history: History = no_history,
        wait: reading.Wait | None = None,
    ) -> None:
        self._options = options or SourceOptions()
        self._sessions = Sessions(history)
        self._wait = wait

    def open(self, format: str, path: str) -> Iterator[SourceItem]:  # noqa: A002 - the word that people use
        """Read a log of a format that is known; as `open_source`."""
        kind = FORMATS.get(format)
        if kind is None:
            raise SourceError(f"no format {format!r}", hint=f"there are {', '.join(FORMATS)}")
        self._check_options(format)
        return kind.read(
            reading.chunks(path, self._wait), reading.name_of(path), self._options, self._sessions
        )

    def recognise(self, path: str) -> Recognition | SourceError:
        """Recognise a log by its content.

        Args:
            path: The file, or `-` for standard input.

        Returns:
            What it is, and its items; or, where it is of no format that can be imported, an error that says what it
            looks like. The error is not raised: among the files of a folder it may be passed over.

        Raises:
            SourceError: It cannot be read, or an option is of no use for what it is.
        """
        parts, name = reading.chunks(path, self._wait), reading.name_of(path)
        head, found = b"", None
        looked = 0
        for part in parts:
            head += part
            # Again when there is a line more, or much more; not with each byte of a slow pipe.
            if b"\n" in part or len(head) >= 2 * looked:
                looked = len(head)
                found = recognise(head[:MAX_HEAD_BYTES])
            if isinstance(found, Recognised) or len(head) >= MAX_HEAD_BYTES:
                break
        if not isinstance(found, Recognised):
            found = recognise(head[:MAX_HEAD_BYTES])
        if not isinstance(found, Recognised):
            return _not_recognised(name, found)
        self._check_options(found.format)
        reader = FORMATS[found.format].read
        items = reader(chain([head], parts), name, self._options, self._sessions)
        return Recognition(found.format, found.why, items)

    def _check_options(self, name_of_format: str) -> None:
        for name in ("session", "key"):
            if getattr(self._options, name) and name not in FORMATS[name_of_format].takes:
                raise SourceError(
                    f"{name}: the format {name_of_format} has no use for it", hint=f"leave out --{name}"
                )


def _not_recognised(name: str, found: Likeness | None) -> SourceError:
    what = f"it looks like {found.text}" if found is not None else "it has nothing that tells a format"
    return SourceError(
        f"{name}: not a log that can be imported: {what}",
        hint=f"there are {', '.join(FORMATS)}; --format names one where the content does not tell",
        place=name,
    )


def open_source(
    format: str,  # noqa: A002 - the word that people use, on the command line too
    path: str,
    *,
    options: SourceOptions | None = None,
) -> Iterator[SourceItem]:
    """Read the deltas of a log, as they are asked for.

    A record that cannot become a delta is handed over as a SourceError in its place, so that the caller decides whether
    to stop or to go on. What makes the file unusable from some place on is raised. The file is closed when the iterator
    ends or is closed.

    Args:
        format: A name in `FORMATS`.
        path: The file, or `-` for standard input; gzip is unpacked.
        options: What the person who imports decided.

    Returns:
        An iterator of SourceDelta, SourceKnown and SourceError, in the file's order.

    Raises:
        SourceError: At once: no such format, or an option that it has no use for. While iterating: the file cannot be
            read, is too large, or is not of this format at all.
    """
    return Importer(options).open(format, path)
