"""Sending many deltas to a running recorder: in batches, in order.

A batch travels as a JSON array, since an array has room for every delta byte for byte; a line of NDJSON has
none for a line break between a state's tokens. The invariant: when a delta is refused, everything in front
of it is recorded, and nothing behind it is sent before the caller has decided to go on without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from recorder.bridges.imports import SourceDelta
from recorder.cli.console import Steps
from recorder.cli.http import Remote
from recorder.core.errors import ClientError, RecorderError, SourceError

MAX_COUNT, MAX_BYTES = 500, 1_048_576
_INDEX = re.compile(r"^\[\d+\](\.|: )?")


class Sender:
    """Collects deltas and sends them.

    Args:
        remote: Where to.
        steps: The progress to show.
        on_bad: Told of a delta that was refused, by file and line; raises to stop, returns to go on without
        it.
    """

    def __init__(self, remote: Remote, steps: Steps, on_bad: Callable[[SourceError], None]) -> None:
        self.published = 0  # how many are recorded
        self.position: str | None = None  # epoch:seq of the last one
        self._remote = remote
        self._steps = steps
        self._on_bad = on_bad
        self._waiting: list[SourceDelta] = []  # not sent yet
        self._bytes = 0  # their size

    def add(self, delta: SourceDelta) -> None:
        """Take one more; sends what was collected when that would grow too large."""
        if len(self._waiting) >= MAX_COUNT or self._bytes + len(delta.text) > MAX_BYTES:
            self.flush()
        self._waiting.append(delta)
        self._bytes += len(delta.text) + 1

    def flush(self) -> None:
        """Send what was collected.

        Raises:
            RecorderError: The server could not be reached, or could not take them now; or what `on_bad`
            raised.
        """
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        while waiting:
            refused = self._send(waiting)
            if refused is None:
                return
            index, error = refused
            again = self._send(waiting[:index]) if index else None
            if again is not None:
                raise again[1]
            self._on_bad(error)
            waiting = waiting[index + 1 :]

    def _send(self, batch: Sequence[SourceDelta]) -> tuple[int, SourceError] | None:
        """Publish them; or none, and which of them was refused and why."""
        body = b"[" + b",".join([delta.text for delta in batch]) + b"]"
        try:
            ack = self._remote.post("/api/deltas", body, "application/json")
        except RecorderError as error:
            if error.index is None or not 0 <= error.index < len(batch):
                raise
            return error.index, _located(error, batch[error.index].place)
        try:
            self.position = f"{ack['epoch']}:{int(ack['seq'])}"
        except (KeyError, ValueError, TypeError):
            raise ClientError("the answer is not a recorder's: it has no position") from None
        self.published += len(batch)
        self._steps.advance(len(batch))
        return None

    def told(self) -> str:
        """What is recorded so far, in words."""
        return f"{self.published:,} delta{'s' * (self.published != 1)} published"


def _located(error: RecorderError, place: str) -> SourceError:
    return SourceError(f"{place}: {_INDEX.sub('', error.message)}", hint=error.hint, place=place)
