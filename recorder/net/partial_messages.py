"""What is held of messages and requests that are not whole yet, bounded over all connections together.

Each connection may have one under way, as long as MAX_MESSAGE_BYTES; a thousand that are begun and never ended would be
more than the machine has. Where they come to more than the limit, the largest gives way, and the next largest, until
the rest has room: whoever fills the recorder with beginnings goes first, and a publisher with messages of the usual
size does not notice. A message that is whole counts no more.
"""

from __future__ import annotations

from typing import Protocol

from recorder.core.errors import TooMany
from recorder.core.metrics import Metrics


class Holder(Protocol):
    """Who holds the beginning of something."""

    def give_up(self, error: TooMany) -> None:
        """Drop the incomplete messages now, and reject them with the error. They no longer count as held by
        it.
        """
        ...


class Unfinished:
    """Counts what is held.

    Args:
        limit: Bytes, of all together.
        metrics: Counts those who gave way.
    """

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit = limit
        self._metrics = metrics
        self._held: dict[Holder, int] = {}  # who holds how much; nobody with nothing
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
        self._metrics.turn_away("unfinished_bytes")
        holder.give_up(
            TooMany(
                f"more than {self._limit} bytes of unfinished messages are held, of which this is the largest",
                hint="MAX_PARTIAL_MESSAGE_BYTES sets the limit",
            )
        )
