"""The types that adapters and the importer exchange: items, options, and the error of an unfit record.

A record is one line of a log, one element of an array, one step of a run: the piece that a person would point at. Every
record becomes one delta, one error, one `SourceKnown`, or (where a format says so) nothing. An error names its place the
way a compiler does, file first; inside this package a record is refused by raising `Unfit`, which knows the reason and
not the place.

A session may be spread over several files and several imports. `Sessions` is what all of them share: what is recorded of
each session already, and what has been handed over since.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

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
        identity: An id made of the record and its place in the log, so that a log imported twice is recorded once; None
            where the delta has an id that its publisher gave it. The same id with other content (the state may sum up
            what was before) is the same record.
    """

    text: bytes
    place: str
    identity: str | None = field(default=None, compare=False)

    def identified(self) -> bytes:
        """Return the text with the identity as its id, where it has none of its own."""
        if self.identity is None or self.text.endswith(b'"%s"}' % self.identity.encode()):
            return self.text
        return b'%s,"id":"%s"}' % (self.text.rstrip()[:-1], self.identity.encode())


@dataclass(frozen=True, slots=True)
class SourceKnown:
    """A record that is recorded already.

    Args:
        place: Where it comes from.
    """

    place: str


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """The options of an import.

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


SourceItem = SourceDelta | SourceKnown | SourceError
"""What became of a record. An error is handed over, not raised: the caller decides whether to go on without it."""

History = Callable[[str], Iterable[tuple[str | None, bytes | None]]]
"""Gives what is recorded of a session: id and state after each of its deltas, oldest first; nothing where it is new."""

Rename = Callable[[str, bytes], str | None]
"""Gives, of a recorded id and state, the id that this version would make."""

_MAX_SESSIONS = 100_000
_MAX_RECENT = 64


def no_history(session_id: str) -> Iterable[tuple[str | None, bytes | None]]:
    """Return no history, for reading a log without a recorder."""
    return ()


@dataclass(slots=True)
class Session:
    """A session as it is recorded, and as it will be once everything handed over is.

    Args:
        exists: Whether anything is recorded of it.
        state: The last recorded state; None where there is none, or it was deleted.
        ids: The ids of its records.
        recent: Its last recorded states, the newest last.
        lives: Whether it has a state: a second `created` would say that it had none.
        summary: What a format keeps of it.
    """

    exists: bool = False
    state: bytes | None = None
    ids: set[str] = field(default_factory=set)
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=_MAX_RECENT))
    lives: bool = False
    summary: object = None


class Sessions:
    """All sessions that an import meets, over all of its files.

    Args:
        history: Where to look up what is recorded of a session.
    """

    def __init__(self, history: History = no_history) -> None:
        self._history = history
        # The latest ones used, so that the memory is bounded; of the others everything is recorded by then.
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def of(self, session_id: str, renamed: Rename | None = None) -> Session:
        """Return what is known of a session; looked up once.

        Args:
            session_id: Which.
            renamed: Gives the id that a recorded one, made by an earlier version, has now; None where it has no other.
        """
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = _recorded(self._history(session_id), renamed)
            if len(self._sessions) > _MAX_SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(session_id)
        return session


def _recorded(history: Iterable[tuple[str | None, bytes | None]], renamed: Rename | None) -> Session:
    session = Session()
    for delta_id, state in history:
        session.exists = True
        session.state = state
        session.lives = state is not None
        if delta_id is not None:
            session.ids.add(delta_id)
            if renamed is not None and state is not None and (now := renamed(delta_id, state)) is not None:
                session.ids.add(now)
        if state is not None:
            session.recent.append(state)
    return session


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
        """Return the error to raise, its message prefixed with the place."""
        return SourceError(f"{place}: {self.reason}", hint=self.hint, place=place)
