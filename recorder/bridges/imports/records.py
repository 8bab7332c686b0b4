"""What a source hands over, and how it says that a record is unfit.

A record is one line of a log, one element of an array, one step of a run: the piece that a person would point at. Every
record becomes one delta, one error, or (where a format says so) nothing. An error names its place the way a compiler
does, file first; inside this package a record is refused by raising `Unfit`, which knows the reason and not the place.
"""

from __future__ import annotations

from dataclasses import dataclass

from recorder.core.errors import SourceError

MAX_DELTA_BYTES = 262_144
MAX_LINE_BYTES = 16_777_216
MAX_FILE_BYTES = 268_435_456


@dataclass(frozen=True, slots=True)
class SourceDelta:
    """One delta, ready to be published.

    Args:
        text: Its JSON text as the protocol wants it, UTF-8. A state may contain line breaks between its tokens, so a
            text is not always fit to be a line of NDJSON: publish it as a frame, a body or an element of an array.
        place: Where it comes from: `export.ndjson: line 12`, `events.json: record 5`, `run.traj: step 3`.
    """

    text: bytes
    place: str


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What the person who imports may decide.

    Args:
        session: The session's id, for formats that would take it from the file's name.
        key: Fields that together tell the rows of a table apart, for formats whose records may not say.
        max_delta_bytes: The most the JSON text of one delta may take (MAX_DELTA_BYTES of the recorder).
        max_line_bytes: The longest line that is taken into memory.
        max_file_bytes: The largest file that is taken into memory, where a format cannot be read line by line;
            unpacked, where it is packed.
    """

    session: str | None = None
    key: tuple[str, ...] = ()
    max_delta_bytes: int = MAX_DELTA_BYTES
    max_line_bytes: int = MAX_LINE_BYTES
    max_file_bytes: int = MAX_FILE_BYTES


SourceItem = SourceDelta | SourceError
"""A record's fate. An error is handed over, not raised, so that the caller decides whether to go on without it."""


class Unfit(ValueError):
    """A record cannot become a delta.

    Args:
        reason: What is wrong with it, without the place. What it repeats of the record may hold anything: characters
            that a terminal would obey or that UTF-8 cannot carry are escaped here.
        hint: What to do about it.
    """

    def __init__(self, reason: str, *, hint: str | None = None) -> None:
        reason = "".join([char if char.isprintable() else ascii(char)[1:-1] for char in reason])
        super().__init__(reason)
        self.reason = reason
        self.hint = hint

    def at(self, place: str) -> SourceError:
        """The error to hand over, with the place in front."""
        return SourceError(f"{place}: {self.reason}", hint=self.hint, place=place)
