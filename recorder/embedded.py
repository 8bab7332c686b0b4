"""A subscription inside this process: the same feed as a WebSocket's, into a queue that the caller reads.

It keeps the same promises (order, no gap, no duplicate, `reset` in so many words), and the same bound: a reader who
leaves more than `MAX_WAITING` events unread is told `TooSlow` with its position, and resumes from there.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self

from recorder.errors import RecorderError, TooSlow
from recorder.hub.fanout import Batch
from recorder.hub.feed import Feed
from recorder.hub.hub import Hub
from recorder.protocol.events import delta_event
from recorder.protocol.subscribe import Subscription as Wanted

MAX_WAITING = 100_000
LOW_WATER = 1_000


class Subscription:
    """Events of a recorder in this process: `async with recorder.subscribe() as events: async for event in events:`.

    Args:
        source: The hub.
        wanted: What to see, since when.
    """

    def __init__(self, source: Hub, wanted: Wanted) -> None:
        self._source = source
        self._wanted = wanted
        self._feed = Feed(source, self)
        self._events: deque[bytes | dict[str, Any]] = deque()  # not read yet; deltas as JSON text
        self._arrived = asyncio.Event()  # set when there is an event, or the end
        self._taken = asyncio.Event()  # set when few events are left
        self._error: RecorderError | None = None  # why it is over
        self.position = source.head  # everything that matches, up to here, has been queued

    async def __aenter__(self) -> Self:
        self._source.add_local(self)
        self._feed.start(self._wanted)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._feed.stop()
        self._source.remove_local(self)

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            while not self._events:
                if self._error is not None:
                    raise self._error
                self._arrived.clear()
                await self._arrived.wait()
            event = self._events.popleft()
            if len(self._events) <= LOW_WATER:
                self._taken.set()
            # The standard library's decoder: it takes every JSON text, and keeps integers whole.
            yield json.loads(event) if isinstance(event, bytes) else event

    # Sink

    def deliver(self, batch: Batch) -> None:
        """Live entries."""
        if len(self._events) > MAX_WAITING:
            self.failed(TooSlow(f"{len(self._events)} events are unread; resume from {self.position}"))
            return
        self.position = batch.last_seq
        self._put([_payload(entry.frame) for entry in batch.entries])

    def send_items(self, items: Sequence[bytes]) -> None:
        """Deltas out of history."""
        self._put([delta_event(item) for item in items])

    def send_states(self, states: Sequence[tuple[int, str, str]]) -> None:
        """A `state` event each."""
        self._put(
            [
                {"event": "state", "seq": seq, "sessionId": session_id, "state": json.loads(state)}
                for seq, session_id, state in states
            ]
        )

    def send_event(self, event: str, **fields: Any) -> None:
        """Any other event."""
        self._put([{"event": event, **fields}])

    async def wait_writable(self) -> None:
        """Until few events are left unread."""
        while len(self._events) > LOW_WATER:
            self._taken.clear()
            await self._taken.wait()

    def failed(self, error: RecorderError) -> None:
        """The subscription is over; what is queued can still be read."""
        self._error = error
        self._feed.stop()
        self._arrived.set()

    def catching_up(self, yes: bool) -> None:
        """Nothing to prepare."""

    def _put(self, events: Sequence[bytes | dict[str, Any]]) -> None:
        self._events.extend(events)
        self._arrived.set()


def _payload(frame: bytes) -> bytes:
    """The payload of one of our own frames: what follows its header (RFC 6455, section 5.2)."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]
