"""A subscription inside this process: the same feed as a WebSocket's, into a queue that the caller reads.

It keeps the same promises (order, no gap, no duplicate, explicit `reset`), and is as bounded: while it catches
up, history follows the reader's pace; a reader of live deltas who leaves more unread than `MAX_WAITING` events or
`MAX_WAITING_BYTES` is told `TooSlow` with the position to resume from.

Left out: heartbeats and `hello`, which tell those at the other end of a network what `Recorder.hub` knows.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from recorder.core.errors import Closed, RecorderError, TooSlow
from recorder.engine.fanout import Batch
from recorder.engine.hub import Hub
from recorder.engine.sink import BaseSink
from recorder.wire.events import delta_event, event_frame, state_frame
from recorder.wire.frames import payload
from recorder.wire.subscribe import Subscription as Wanted

MAX_WAITING = 100_000
MAX_WAITING_BYTES = 64 << 20
LOW_WATER = 1_000
LOW_WATER_BYTES = 1 << 20

_NOT_OPEN = Closed(
    "this subscription is not open", hint="read it within `async with recorder.subscribe(…) as events:`"
)


class Subscription(BaseSink):
    """Events of a recorder in this process: `async with recorder.subscribe() as events: async for event in events:`.

    Args:
        source: The hub.
        wanted: What to see, since when.
    """

    def __init__(self, source: Hub, wanted: Wanted) -> None:
        super().__init__(source)
        self._source = source
        self._wanted = wanted
        self._events: deque[bytes] = deque()  # not read yet, as JSON text
        self._bytes = 0  # their size
        self._arrived = asyncio.Event()  # set when there is an event, or the end
        self._taken = asyncio.Event()  # set when few events are left
        self._error: RecorderError | None = _NOT_OPEN  # why nothing more will come
        self._was_opened = False  # for good: it is opened once

    async def __aenter__(self) -> Self:
        self._source.guard.check()
        if self._was_opened:
            raise Closed("this subscription was opened before", hint="call subscribe() again for another one")
        self._source.add_local(self)
        self._was_opened, self._error = True, None
        self._feed.start(self._wanted)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.guard.check()
        self._source.remove_local(self)
        self.failed(self._error or Closed("this subscription is closed", hint="call subscribe() again"))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        self._source.guard.check()
        while not self._events:
            if self._error is not None:
                # Its traceback would grow with each call, and holds the caller's frames.
                raise self._error.with_traceback(None)
            self._arrived.clear()
            await self._arrived.wait()
        event = self._events.popleft()
        self._bytes -= len(event)
        if self._is_nearly_read:
            self._taken.set()
        return _decode(event)

    # Sink

    def send_batch(self, batch: Batch) -> bool:
        """Queue live entries; return whether they were queued."""
        if len(self._events) > MAX_WAITING or self._bytes > MAX_WAITING_BYTES:
            self.failed(
                TooSlow(f"{len(self._events)} events are unread", hint=f"since={self._feed.resume_from}")
            )
            return False
        self._put([payload(entry.frame) for entry in batch.entries])
        return True

    def send_items(self, items: Sequence[bytes]) -> None:
        """Queue deltas from history."""
        self._put([delta_event(item) for item in items])

    def send_states(self, states: Sequence[tuple[int, str, str]]) -> None:
        """Send a `state` event for each session."""
        self._put([payload(state_frame(*state)) for state in states])

    def send_event(self, event: str, **fields: Any) -> None:
        """Queue any other event."""
        self._put([payload(event_frame(event, **fields))])

    def note_heartbeat(self, head: int) -> None:
        """Move the position to the head, if it is live; nothing is queued."""
        if self.is_live:
            self.position = head

    async def wait_writable(self) -> None:
        """Wait until few events are left unread."""
        while not self._is_nearly_read:
            self._taken.clear()
            await self._taken.wait()

    def failed(self, error: RecorderError) -> None:
        """End the subscription with an error; queued events can still be read."""
        self._error = error
        self._feed.stop()
        self._arrived.set()

    @property
    def _is_nearly_read(self) -> bool:
        return len(self._events) <= LOW_WATER and self._bytes <= LOW_WATER_BYTES

    def _put(self, events: Sequence[bytes]) -> None:
        self._events.extend(events)
        self._bytes += sum(map(len, events))
        self._arrived.set()


def _decode(event: bytes) -> dict[str, Any]:
    # The standard library's decoder: it takes every JSON text, and keeps integers whole.
    try:
        decoded: dict[str, Any] = json.loads(event)
    except ValueError:
        # An integer of more digits than Python turns into an `int` (4300 by default).
        decoded = json.loads(event, parse_int=Decimal)
    return decoded
