"""The callbacks of publishers that wait: for capacity in the recording queue, or for accepted deltas to be recorded.

Invariant: each waiter is notified once, by a call that must not block: of progress, of a failure or, if notifying it
failed, by `abort`. Nobody waits for ever.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from recorder.core.errors import (
    RecorderError,
    Unavailable,
)


class Waiter(Protocol):
    """A caller that waits for a notification."""

    def abort(self) -> None:
        """Abort after a notification failed, so that the peer does not wait for ever."""
        ...


class CapacityWaiter(Waiter, Protocol):
    """A caller that is notified when there is capacity."""

    def on_capacity(self) -> None:
        """Register that the queue has capacity again."""
        ...


class RecordedWaiter(Waiter, Protocol):
    """A caller that is notified when more is recorded."""

    def on_recorded(self) -> None:
        """Register that more is recorded than before."""
        ...

    def on_rolled_back(self, error: RecorderError) -> None:
        """Register that what is not recorded now never will be."""
        ...


class FutureWaiter:
    """A waiter that an `await` hangs on."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_capacity(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    on_recorded = on_capacity

    def abort(self) -> None:
        self.on_rolled_back(Unavailable("its outcome is unknown", hint="publish again with the same id"))

    def on_rolled_back(self, error: RecorderError) -> None:
        if not self.future.done():
            self.future.set_exception(error)
