"""The current state of every session that lives, in memory: what `before` is filled in from and compared with.

A cache of the store's own states, rebuilt from it at start. It is one step ahead of the store: it knows what has a place
in the order but is not recorded yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import orjson

from recorder.model.chain import digest


class CurrentState:
    """A living session's state.

    Args:
        seq: The delta that made it.
        text: Its JSON text.
        text_digest: SHA-256 of that, or None to compute it when it is asked for.
    """

    __slots__ = ("_digest", "seq", "text")

    def __init__(self, seq: int, text: str, text_digest: bytes | None = None) -> None:
        self.seq = seq
        self.text = text
        self._digest = text_digest

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text (32 bytes)."""
        if self._digest is None:
            self._digest = digest(self.text)
        return self._digest


class CurrentStates:
    """The living sessions by id."""

    def __init__(self) -> None:
        self._states: dict[str, CurrentState] = {}  # session id → its state; deleted sessions are not in it

    def __len__(self) -> int:
        return len(self._states)

    def load(self, rows: Iterable[tuple[str, int, str]]) -> None:
        """Take over (session id, seq, state) rows from the store."""
        for session_id, seq, text in rows:
            self._states[session_id] = CurrentState(seq, text)

    def get(self, session_id: str) -> CurrentState | None:
        """A session's state, or None where it is not known or deleted."""
        return self._states.get(session_id)

    def put(self, session_id: str, seq: int, text: str | None, text_digest: bytes | None) -> None:
        """Note a session's new state; None when it was deleted."""
        if text is None:
            self._states.pop(session_id, None)
        else:
            self._states[session_id] = CurrentState(seq, text, text_digest)

    def listing(self, sessions: frozenset[str] | None = None) -> list[tuple[int, str, str]]:
        """(seq, session id, state) of all that live, or of those named; by seq."""
        if sessions is None:
            found = [(state.seq, session_id, state.text) for session_id, state in self._states.items()]
        else:
            found = [(s.seq, name, s.text) for name in sessions if (s := self._states.get(name)) is not None]
        found.sort()
        return found


def same_json(one: str, other: str) -> bool:
    """Whether two JSON texts say the same: key order and spacing aside, numbers by value, `1` not `true`.

    Texts that are nested too deeply to compare count as the same only when they are equal as texts.
    """
    if one == other:
        return True
    try:
        # Fast, and sure when it says no: equal values never decode to different ones. The other way round they may
        # (numbers of more digits than a double holds, `1` and `true`), so a yes is looked at more closely.
        if orjson.loads(one) != orjson.loads(other):
            return False
    except ValueError:
        pass  # legal JSON that orjson refuses (lone surrogates, 1e999): only the slow way can tell
    try:
        return bool(_canonical(one) == _canonical(other))
    except RecursionError:
        return False


def _canonical(text: str) -> Any:
    return _typed(json.loads(text, parse_int=Decimal, parse_float=Decimal))


def _typed(value: Any) -> Any:
    # Python holds 1 == True; with its type beside it a value is equal only to its like.
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return (type(value).__name__, value)
