"""Sending many deltas to a running recorder: in batches, in order.

A batch travels as a JSON array, since an array has room for every delta byte for byte; a line of NDJSON has
none for a line break between a state's tokens. The invariant: when a delta is refused, everything in front
of it is recorded, and nothing behind it is sent before the caller has decided to go on without it. What is
counted is what the recorder answered, not what was sent.
"""

from __future__ import annotations

import re
import select
from collections.abc import Callable, Sequence

from recorder.bridges.imports import SourceDelta
from recorder.cli.console import Steps
from recorder.cli.http import Remote
from recorder.core.clock import Clock, SystemClock
from recorder.core.errors import ClientError, Conflict, RecorderError, SourceError

MAX_COUNT, MAX_BYTES = 500, 1_048_576
MAX_DELAY = 0.2
"""Seconds that a delta waits for more to be sent with, where its source keeps the reader waiting."""

_INDEX = re.compile(r"^\[\d+\](\.|: )?")


class Sender:
    """Collects deltas and sends them.

    Args:
        remote: Where to.
        steps: The progress to show.
        on_bad: Called with the error of a delta that was refused, by file and line; raises to stop, returns to
        go on without it.
        clock: What the delay is measured with.
    """

    def __init__(
        self,
        remote: Remote,
        steps: Steps,
        on_bad: Callable[[SourceError], None],
        clock: Clock | None = None,
    ) -> None:
        self.published = 0  # deltas that were recorded by this command
        self.known = 0  # those that were recorded already
        self.position: str | None = None  # epoch:seq of the last one
        self._remote = remote
        self._steps = steps
        self._on_bad = on_bad
        self._clock = clock or SystemClock()
        self._waiting: list[SourceDelta] = []  # not sent yet
        self._bytes = 0  # their size
        self._since = 0.0  # when the first of them came
        self._size = MAX_COUNT  # how many are sent at once: fewer behind a conflict

    def add(self, delta: SourceDelta) -> None:
        """Take one more; sends what was collected when that would grow too large."""
        if len(self._waiting) >= MAX_COUNT or self._bytes + len(delta.text) > MAX_BYTES:
            self.flush()
        if not self._waiting:
            self._since = self._clock.monotonic()
        self._waiting.append(delta)
        self._bytes += len(delta.text) + 1

    def add_known(self) -> None:
        """Count a record that need not be sent: it is recorded already."""
        self.known += 1
        self._steps.advance(1)

    def wait(self, descriptor: int) -> None:
        """Wait until a stream has more; what was collected is sent when it has waited for `MAX_DELAY`."""
        if self._waiting:
            left = self._since + MAX_DELAY - self._clock.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                self.flush()

    def flush(self) -> None:
        """Send what was collected.

        Raises:
            RecorderError: The server could not be reached, or could not take them now; or what `on_bad`
            raised.
        """
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        while waiting:
            batch, rest = waiting[: self._size], waiting[self._size :]
            refused = self._send(batch)
            if refused is None:
                self._size = min(self._size * 2, MAX_COUNT)
                waiting = rest
                continue
            index, error = refused
            again = self._send(batch[:index]) if index else None
            if again is not None:
                raise again[1]
            if isinstance(error.__cause__, Conflict) and batch[index].identity is not None:
                # Its id is made of the record: it is recorded, and what came before it in the state differs.
                self.add_known()
                # Where one is known the next may be, too, and each costs the whole batch.
                self._size = 1
            else:
                self._on_bad(error)
            waiting = waiting[index + 1 :]

    def _send(self, batch: Sequence[SourceDelta]) -> tuple[int, SourceError] | None:
        """Publish a batch. Return None, or which of them was refused and why; then none is recorded."""
        body = b"[" + b",".join([delta.identified() for delta in batch]) + b"]"
        try:
            ack = self._remote.post("/api/deltas", body, "application/json")
        except RecorderError as error:
            if error.index is None or not 0 <= error.index < len(batch):
                raise
            return error.index, _located(error, batch[error.index].place)
        try:
            self.position = f"{ack['epoch']}:{int(ack['seq'])}"
            known = int(ack.get("duplicates", 0))
        except (KeyError, ValueError, TypeError):
            raise ClientError("the answer is not a recorder's: it has no position") from None
        self.known += known
        self.published += len(batch) - known
        self._steps.advance(len(batch))
        return None

    def summary(self) -> str:
        """Return in words how many were recorded, and how many were known."""
        known = f", {self.known:,} known already" if self.known else ""
        return f"{self.published:,} delta{'s' * (self.published != 1)} published{known}"


def _located(error: RecorderError, place: str) -> SourceError:
    located = SourceError(f"{place}: {_INDEX.sub('', error.message)}", hint=error.hint, place=place)
    located.__cause__ = error
    return located
