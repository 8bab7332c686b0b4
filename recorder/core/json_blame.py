"""Blame: the deltas of a session that touched one place in its state, found by walking back.

A delta touched a place where the value there after it is not the value there after the delta before: what was recorded
is compared, not the `before` that was sent, so a change that came from elsewhere is found where it was first seen.
Pure: who walks, and how far at once, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import orjson

from recorder.core.delta import DELETED
from recorder.core.json_patch import Steps, find, same


class Row(Protocol):
    """The part of a recorded delta that blame needs."""

    @property
    def seq(self) -> int:
        """Its number."""
        ...

    @property
    def recorded_at(self) -> str:
        """The time of recording."""
        ...

    @property
    def timestamp(self) -> str:
        """The time at which the delta happened."""
        ...

    @property
    def type(self) -> str:
        """`created`, `updated` or `deleted`."""
        ...

    @property
    def lineage(self) -> str | None:
        """`broken`, or None."""
        ...

    @property
    def after(self) -> str | None:
        """JSON text of the state after."""
        ...


R = TypeVar("R", bound=Row)


class Touch(NamedTuple, Generic[R]):
    """A delta that touched the place.

    Args:
        row: The delta.
        before: Text of the value at the place until then, None where there was none.
        after: Text of the value at the place from then on, None where there is none.
    """

    row: R
    before: bytes | None
    after: bytes | None

    @property
    def text(self) -> bytes:
        """The touch as JSON; `before` and `after` are left out where there is no value."""
        row = self.row
        fields: dict[str, Any] = {
            "seq": row.seq,
            "recordedAt": row.recorded_at,
            "timestamp": row.timestamp,
            "type": row.type,
        }
        if row.lineage is not None:
            fields["lineage"] = row.lineage
        values = [
            b',"%b":%b' % (name, value)
            for name, value in ((b"before", self.before), (b"after", self.after))
            if value is not None
        ]
        return b"%b%b}" % (orjson.dumps(fields)[:-1], b"".join(values))


class Blame(Generic[R]):
    """A walk back through one session's deltas.

    Args:
        steps: The place (`parse_pointer`).
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._newer: tuple[R, bytes | None] | None = None  # not judged yet, with its value
        self.erased = False  # whether the walk ended at a state whose content was erased

    @property
    def pending(self) -> int | None:
        """The seq of the delta that can only be judged by what lies before it; None at the beginning."""
        return None if self._newer is None else self._newer[0].seq

    def back(self, rows: Iterable[R]) -> Iterator[Touch[R]]:
        """Yield the touches among further deltas, each older than the one before.

        Args:
            rows: The session's next deltas, newest first. None is looked at once `erased` is set.
        """
        for row in rows:
            if row.type != DELETED and row.after is None:
                self.erased = True
                return
            value = self._value(row.after)
            if (touch := self._judge(value)) is not None:
                yield touch
            self._newer = (row, value)

    def begun(self, state: str | None) -> Touch[R] | None:
        """Return the touch of the session's first kept delta, or None if it did not change the value at the
        path.

        Args:
            state: The session's state before it (retention keeps the last one); None where there was none.
        """
        return self._judge(self._value(state))

    def _judge(self, value: bytes | None) -> Touch[R] | None:
        if self._newer is None or same(self._newer[1], value):
            return None
        return Touch(self._newer[0], value, self._newer[1])

    def _value(self, state: str | None) -> bytes | None:
        return None if state is None else find(state.encode(), self._steps)
