"""The current state of every session that lives: what `before` is filled in from and compared with.

A cache of the store's own states, rebuilt from it at start. It is one step ahead of the store: it knows what has a
place in the order but is not recorded yet. Left out: sessions that were deleted, and those that retention forgot.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from recorder.core.chain import digest
from recorder.core.session_filter import Sessions
from recorder.engine.state_listing import Listing


class CurrentState(msgspec.Struct, gc=False):
    """A living session's state.

    Args:
        seq: The delta that made it.
        text: Its JSON text.
        text_digest: SHA-256 of that, or None to compute it when it is asked for.
    """

    seq: int
    text: str
    text_digest: bytes | None = None

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text (32 bytes)."""
        if self.text_digest is None:
            self.text_digest = digest(self.text)
        return self.text_digest


SESSION_BYTES = 500
"""What a session takes beside its state's text, roughly."""


class CurrentStates:
    """The living sessions by id."""

    def __init__(self) -> None:
        self._states: dict[str, CurrentState] = {}  # session id → its state; deleted sessions are not in it
        self._characters = 0  # of their texts

    def __len__(self) -> int:
        return len(self._states)

    @property
    def recorded_bytes(self) -> int:
        """Bytes they take, roughly."""
        return self._characters + len(self._states) * SESSION_BYTES

    async def used_bytes(self) -> int:
        """Return their size in bytes, for the memory guard: with recording off, only the states grow."""
        return self.recorded_bytes

    def load(self, rows: Iterable[tuple[str, int, str]]) -> None:
        """Take over (session id, seq, state) rows from the store."""
        for session_id, seq, text in rows:
            self._set(session_id, CurrentState(seq, text))

    def get(self, session_id: str) -> CurrentState | None:
        """Return a session's state; None if it is unknown or deleted."""
        return self._states.get(session_id)

    def put(self, session_id: str, seq: int, text: str | None, text_digest: bytes | None) -> None:
        """Set a session's new state; None if it was deleted."""
        self._set(session_id, None if text is None else CurrentState(seq, text, text_digest))

    def copy(self) -> CurrentStates:
        """Return a copy of the states that is updated independently."""
        other = CurrentStates()
        other._states, other._characters = dict(self._states), self._characters
        return other

    def forget(self, session_id: str, through: int) -> None:
        """Forget a session's state, unless a delta after a seq has set it."""
        state = self._states.get(session_id)
        if state is not None and state.seq <= through:
            self._set(session_id, None)

    def pick(self, session_ids: Iterable[str]) -> dict[str, CurrentState | None]:
        """Return what `get` returns of some sessions."""
        get = self._states.get
        return {session_id: get(session_id) for session_id in session_ids}

    def restore_all(self, states: Mapping[str, CurrentState | None]) -> None:
        """Restore states that `pick` returned, or set them to others; the first that fails ends it."""
        for session_id, state in states.items():
            self._set(session_id, state)

    def take_from(self, other: CurrentStates, session_id: str) -> None:
        """Set a session's state to the one in `other`."""
        self._set(session_id, other._states.get(session_id))

    def snapshot(self, head: int, sessions: frozenset[str] | None = None) -> Listing:
        """List all that live, or those that are asked for, as of now; by reference, and not in order yet.

        Args:
            head: The seq that they are as of.
            sessions: Which ones; None for all.
        """
        states = self._states
        if sessions is None:
            return Listing(head, list(states), list(states.values()))
        names = [name for name in sessions if name in states]
        return Listing(head, names, [states[name] for name in names])

    def listing(self, sessions: Sessions = None) -> list[tuple[int, str, str]]:
        """Return (seq, session id, state) of those that live among a few, by seq; of all, where none are named."""
        if isinstance(sessions, frozenset):
            found = [(s.seq, name, s.text) for name in sessions if (s := self._states.get(name)) is not None]
        else:
            found = [
                (state.seq, session_id, state.text)
                for session_id, state in self._states.items()
                if sessions is None or session_id in sessions
            ]
        found.sort()
        return found

    def _set(self, session_id: str, state: CurrentState | None) -> None:
        old = self._states.get(session_id)
        # The dictionary first: where it can't grow for want of memory, nothing has changed.
        if state is not None:
            self._states[session_id] = state
            self._characters += len(state.text)
        elif old is not None:
            del self._states[session_id]
        if old is not None:
            self._characters -= len(old.text)


class StateChanges:
    """Changes to the current states of some sessions that are kept apart until `apply`.

    Args:
        states: What they are changes to; nothing else may change these sessions before `apply`.
        session_ids: The only sessions that may be asked for and changed.
    """

    def __init__(self, states: CurrentStates, session_ids: Iterable[str]) -> None:
        self._states = states
        self._before = states.pick(session_ids)
        self._after = self._before.copy()  # session id → its state with the changes; None where there is none
        self.get = self._after.get  # as that of `CurrentStates`, once for each delta

    def put(self, session_id: str, seq: int, text: str | None, text_digest: bytes | None) -> None:
        """Change a session's state; None if it was deleted."""
        self._after[session_id] = None if text is None else CurrentState(seq, text, text_digest)

    def apply(self) -> None:
        """Make the changes. Where one of them fails, `undo` takes back those before it."""
        self._states.restore_all(self._after)

    def undo(self) -> None:
        """Restore the states as they were before `apply`, as far as it came."""
        self._states.restore_all(self._before)


def same_json(one: str, other: str) -> bool:
    """Return whether two JSON texts have the same value: key order and spacing are ignored, numbers compare
    by value, and `1` is not `true`.

    Any JSON can be compared, and nothing is raised. Numbers whose exponent is beyond 18 digits, and texts that nest
    more deeply than any state may, are the same only when they are equal as texts.
    """
    if one == other:
        return True
    try:
        # Fast. "Different" is certain, as numbers are exact; "equal" may confuse `1` and `true`.
        if _exact.decode(one) != _exact.decode(other):
            return False
    except (msgspec.MsgspecError, ArithmeticError, ValueError, RecursionError):
        pass  # JSON that msgspec or Python's numbers refuse, lone surrogates for one: the slow way takes all
    try:
        return bool(_slow.decode(one) == _slow.decode(other))
    except RecursionError:
        return False


def _number(text: str) -> tuple[Decimal | str]:
    # In a tuple, which nothing else decodes to: Python treats 1 and true as equal.
    try:
        return (Decimal(text),)
    except ArithmeticError:
        return (text,)


_exact = msgspec.json.Decoder(float_hook=Decimal)
_slow = json.JSONDecoder(parse_int=_number, parse_float=_number)
