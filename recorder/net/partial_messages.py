"""Bound the memory of incomplete messages and requests, over all connections together.

Each connection may have one incomplete message of up to MAX_MESSAGE_BYTES; a thousand that are never completed would
exceed the machine's memory. When their sum exceeds the limit, the largest is dropped and rejected, then the next
largest, until the rest fits: a client that sends many incomplete messages is rejected first, and a publisher with
messages of the usual size is not affected. A complete message no longer counts.
"""

from __future__ import annotations

from typing import Protocol

from recorder.core.errors import TooMany
from recorder.core.metrics import Metrics


class Holder(Protocol):
    """A connection that has received part of a message."""

    def give_up(self, error: TooMany) -> None:
        """Drop the incomplete messages now, and reject them with the error. They no longer count as held by
        it.
        """
        ...


class PartialMessages:
    """Counts what is held.

    Args:
        limit: Bytes, of all together.
        metrics: Counts those who gave way.
    """

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit = limit
        self._metrics = metrics
        self._held: dict[Holder, int] = {}  # bytes by holder, without those that hold none
        self.total = 0  # bytes

    def hold(self, holder: Holder, size: int) -> None:
        """Set the bytes that a holder holds now; it may have to drop them before this returns.

        Args:
            holder: Who.
            size: Bytes; 0 where it is whole, or gone.
        """
        self.total += size - self._held.pop(holder, 0)
        if size:
            self._held[holder] = size
            while self.total > self._limit:
                self._drop(max(self._held, key=self._held.__getitem__))

    def _drop(self, holder: Holder) -> None:
        self.total -= self._held.pop(holder)
        self._metrics.reject("unfinished_bytes")
        holder.give_up(
            TooMany(
                f"more than {self._limit} bytes of incomplete messages are in memory, and this is the largest",
                hint="MAX_PARTIAL_MESSAGE_BYTES sets the limit",
            )
        )
