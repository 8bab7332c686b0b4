"""A subscription that goes out as Server-Sent Events: the same feed as a WebSocket's, into a bounded queue of messages.

It keeps the promises of `/ws`: history joined to live without gap or duplicate, explicit `reset`, and a reader
that does not read costs the others nothing. History follows the reader's pace. One that is live and leaves too much
unread (the limits of `/ws`) gets what has been sent, a last `error`, and the end; since each delta came with its
position as `id`, it resumes by itself. With `slow=conflate` it is moved on to the latest states instead. How long a
connection that takes nothing at all may stay is for whoever writes.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

from loguru import logger

from recorder.auth.grants import EVERYTHING, Grant
from recorder.core.clock import Clock
from recorder.core.errors import Closed, NotAuthenticated, RecorderError, TooSlow
from recorder.engine.catchup import CHUNK_BYTES
from recorder.engine.fanout import Batch
from recorder.engine.hub import Hub
from recorder.engine.sink import BaseSink
from recorder.net.limits import HARD_GRACE_SECONDS, SocketLimits
from recorder.wire import sse
from recorder.wire.events import Heartbeat, event_frame, state_frame
from recorder.wire.frames import payload
from recorder.wire.subscribe import Subscription

RETRY_MS = (1000, 4000)
"""How long readers wait before they come back: not all the same, or a restart would bring all of them at once."""


class EventStream(BaseSink):
    """One reader's events as messages. `start` begins, `stop` ends; iterate `chunks` in between.

    Args:
        hub: Whom it subscribes to.
        subscription: What it asked for.
        limits: How much may be unread, and for how long.
        clock: As everywhere.
        grant: What the reader may see.
    """

    def __init__(
        self,
        hub: Hub,
        subscription: Subscription,
        limits: SocketLimits,
        clock: Clock,
        *,
        grant: Grant = EVERYTHING,
    ) -> None:
        super().__init__(hub)
        self._hub = hub
        self._subscription = subscription
        self._limits = limits
        self._clock = clock
        self.grant = grant
        self._chunks: deque[bytes] = deque()  # not taken yet
        self._bytes = 0  # their size
        self._over_since: float | None = None  # since when they are above the soft limit
        self._moved_at: float | None = None  # when any of them were last taken
        self._arrived = asyncio.Event()  # set when there is a chunk, or the end
        self._taken = asyncio.Event()  # set when the last chunk was taken
        self._over = False  # no more events are accepted

    def start(self) -> None:
        """Send `hello`, then start the feed."""
        hello = payload(self._hub.hello(is_scoped=self.is_scoped))
        self._put(sse.message(hello, retry_ms=random.randint(*RETRY_MS)))
        self._hub.add_subscriber(self)
        self._feed.start(self._subscription)

    def stop(self) -> None:
        """Leave the hub. Does nothing if it has left already."""
        self._end()
        self.release()
        self._hub.remove_subscriber(self)

    def shutdown(self) -> None:
        """End the stream after what is queued: the server stops."""
        self._hub.fanout.flush()
        self._end()

    def sweep(self) -> None:
        """End it when its token does, and say so."""
        if not self._over and self.grant.is_over(self._clock.now_ms()):
            self.failed(NotAuthenticated("the token has expired", hint="reconnect with a new one"))

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the queued messages, some at a time, until the stream ends."""
        while True:
            while not self._chunks:
                if self._over:
                    return
                self._arrived.clear()
                await self._arrived.wait()
            yield self._take()

    # What the hub asks

    @property
    def is_scoped(self) -> bool:
        """Return whether its reader's token is restricted to some sessions."""
        return self.grant.sessions is not None

    @property
    def lag_bytes(self) -> int:
        """Bytes queued and not yet taken."""
        return self._bytes

    def send_notice(self, frame: bytes) -> None:
        """Send an event, unless there is something unread."""
        if not self._chunks:
            self._put(sse.message(payload(frame)))

    def send_heartbeat(self, beat: Heartbeat) -> None:
        """Send a heartbeat, unless there is something unread; live, it is a place to resume from."""
        is_live = self.is_live
        if is_live:
            self.position = beat.head
        if not self._chunks:
            place = f"{self._hub.epoch}:{beat.head}" if is_live else None
            self._put(sse.message(payload(beat.live if is_live else beat.plain), place))

    # Sink

    def send_batch(self, batch: Batch) -> bool:
        """Queue live entries, encoded once for the whole audience; return whether they were queued."""
        if self._is_too_slow(self._clock.monotonic()):
            self._move_on()
            return False
        self._put(batch.messages(self._hub.epoch))
        return True

    def send_items(self, items: Sequence[bytes]) -> None:
        """Queue deltas from history."""
        text = sse.items(items, self._hub.epoch)
        self._hub.metrics.delivered(len(items), len(text))
        self._put(text)

    def send_states(self, states: Sequence[tuple[int, str, str]]) -> None:
        """Send a `state` event for each session."""
        self._put(sse.states([state_frame(*state) for state in states]))

    def send_event(self, event: str, **fields: Any) -> None:
        """Queue any other event; the id of `live` is a position to resume from."""
        place = f"{self._hub.epoch}:{fields['seq']}" if event == "live" else None
        self._put(sse.message(payload(event_frame(event, **fields)), place))

    async def wait_writable(self) -> None:
        """Wait until everything queued has been taken."""
        while self._chunks:
            self._taken.clear()
            await self._taken.wait()

    def failed(self, error: RecorderError) -> None:
        """Send the error and end: the reader reconnects and resumes."""
        if not isinstance(error, Closed):
            self.send_event("error", code=error.code, message=str(error))
        self._end()

    # Inside

    def _put(self, text: bytes) -> None:
        if self._over:
            return
        self._chunks.append(text)
        self._bytes += len(text)
        self._arrived.set()

    def _take(self) -> bytes:
        """Take what is written at once: at least one chunk."""
        taken: list[bytes] = []
        size = 0
        while self._chunks and (not taken or size + len(self._chunks[0]) <= CHUNK_BYTES):
            taken.append(self._chunks.popleft())
            size += len(taken[-1])
        self._bytes -= size
        self._moved_at = self._clock.monotonic()
        if not self._chunks:
            self._taken.set()
        return b"".join(taken)

    def _is_too_slow(self, now: float) -> bool:
        """Return whether more than the soft limit has been unread for too long."""
        limits = self._limits
        if self._bytes <= limits.soft_bytes:
            self._over_since = None
            return False
        if self._over_since is None:
            self._over_since = now
        # Everything within the grace period is one burst, which cannot have been read yet.
        allowed = HARD_GRACE_SECONDS if self._bytes > limits.hard_bytes else limits.soft_seconds
        return now - self._over_since > allowed

    def _move_on(self) -> None:
        """Conflate a reader that has left too much unread, serve it from history, or close it."""
        if self._subscription.conflate:
            logger.bind(unread=self._bytes, head=self._hub.head).info("slow stream conflated")
            self._over_since = None
            self._conflation.start()
        elif self._is_moving and self._feed.fall_back():
            logger.bind(unread=self._bytes, head=self._hub.head).info("slow stream served from history")
            self._over_since = None
        else:
            self._close_slow()

    @property
    def _is_moving(self) -> bool:
        """Return whether its reader has taken anything since the soft limit was exceeded."""
        return (
            self._moved_at is not None and self._over_since is not None and self._moved_at > self._over_since
        )

    def _close_slow(self) -> None:
        self._hub.metrics.slow_closed += 1
        error = TooSlow(f"{self._bytes} bytes are unread", hint="resume from the last id")
        logger.bind(unread=self._bytes, head=self._hub.head).info("slow stream closed")
        # What is unread comes again when it resumes by the last id that it has read.
        self._chunks.clear()
        self._bytes = 0
        self.failed(error)

    def _end(self) -> None:
        self._over = True
        self._feed.stop()
        self._conflation.stop()
        self._arrived.set()
        self._taken.set()
