"""The handler of a connection to `/ws`: it is sent `hello`, then what its subscription asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from loguru import logger

from recorder.auth.grants import EVERYTHING, Grant
from recorder.core.errors import BadSubscription, NotAllowed, RateLimited, RecorderError
from recorder.core.token_bucket import TokenBucket
from recorder.engine.fanout import Batch
from recorder.engine.hub import Hub
from recorder.engine.sink import BaseSink
from recorder.net.websocket import WebSocket
from recorder.wire.deflate import packed_frames
from recorder.wire.events import Heartbeat, delta_frame, delta_frames, event_frame, state_frame
from recorder.wire.subscribe import Subscription, narrowed, parse_op


class Subscriber(BaseSink):
    """A subscriber's connection.

    Args:
        hub: Whom it subscribes to.
        socket: Its connection.
        subscription: What it asked for in its query; a `BadSubscription` is answered and closed with 4400.
        grant: What it may see: each of its subscriptions is narrowed to that.
    """

    max_message_bytes = 1 << 20  # a subscription may name a thousand sessions
    at_once = 1

    def __init__(
        self,
        hub: Hub,
        socket: WebSocket,
        subscription: Subscription | BadSubscription,
        grant: Grant = EVERYTHING,
    ) -> None:
        super().__init__(hub)
        self._hub = hub
        self._socket = socket
        self._subscription = subscription
        self._grant = grant
        self._drained: asyncio.Future[None] | None = None  # set by the feed while it waits
        self._conflates = False  # whether it is moved on where it is too slow
        per_minute = socket.limits.subscribes_per_minute
        self._subscribes = TokenBucket(per_minute / 60, per_minute, socket.clock.monotonic())  # one for each

    # Handler

    def on_open(self) -> None:
        """Send `hello`, then start the feed."""
        try:
            if isinstance(self._subscription, BadSubscription):
                raise self._subscription
            subscription = narrowed(self._subscription, self._grant)
            self._conflates = subscription.conflate
        except (BadSubscription, NotAllowed) as error:
            self.send_event("error", code=error.code, message=str(error))
            self._socket.close(error.close_code, str(error))
            return
        self._socket.write(self._hub.hello(is_scoped=self.is_scoped))
        self._hub.add_subscriber(self)
        self._feed.start(subscription)

    def on_texts(self, messages: Sequence[bytes]) -> None:
        """Process a `subscribe` or a `ping`; anything else is answered with an error and changes nothing."""
        [message] = messages
        try:
            subscription = parse_op(message, self._socket.limits.sessions)
            if subscription is not None:
                subscription = narrowed(subscription, self._grant)
                self._count_subscribe()
        except (BadSubscription, NotAllowed, RateLimited) as error:
            self.send_event("error", code=error.code, message=str(error))
            return
        if subscription is None:
            self.send_event("pong")
        else:
            self._conflation.stop()
            self._feed.start(subscription)

    def _count_subscribe(self) -> None:
        now = self._socket.clock.monotonic()
        if self._subscribes.wait(1, now):
            self._hub.metrics.resume("refused")
            raise RateLimited(
                f"more than {self._socket.limits.subscribes_per_minute} subscriptions within a minute",
                hint="the last one goes on; MAX_SUBSCRIBES_PER_MINUTE sets the limit",
            )
        self._subscribes.take(1, now)

    def on_writable(self) -> None:
        """Resume the feed."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def on_closing(self) -> bool:
        """Return True: a subscriber that leaves is sent nothing more."""
        return True

    def on_lost(self) -> None:
        """Leave the hub."""
        self.release()
        self._hub.remove_subscriber(self)

    def on_shutdown(self, code: int = 1001, reason: str = "going away") -> None:
        """Close after what was written."""
        self._hub.fanout.flush()
        self._socket.close(code, reason)

    def on_slow(self, *, is_moving: bool) -> bool:
        """Conflate the slow reader if it asked for that; otherwise return it to history at its own pace."""
        if self.at_own_pace:
            return False
        if self._conflates:
            logger.bind(unsent=self.lag_bytes).info("slow reader conflated")
            self._conflation.start()
            return True
        if not is_moving or not self._feed.fall_back():
            return False
        logger.bind(position=self.position_text(), unsent=self.lag_bytes).info(
            "slow reader served from history"
        )
        return True

    def position_text(self) -> str:
        """Return the position to resume from."""
        return self._feed.resume_from

    @property
    def is_scoped(self) -> bool:
        """Return whether its token is restricted to some sessions."""
        return self._grant.sessions is not None

    @property
    def lag_bytes(self) -> int:
        """Bytes written and not yet taken."""
        return self._socket.unsent

    # Sink

    def send_batch(self, batch: Batch) -> bool:
        """Write the whole batch at once; return whether it was written."""
        return self._socket.write(batch.packed if self._socket.compresses else batch.wire)

    def send_items(self, items: Sequence[bytes]) -> None:
        """Send deltas from history."""
        frames = (
            packed_frames([delta_frame(item) for item in items])
            if self._socket.compresses
            else delta_frames(items)
        )
        self._hub.metrics.delivered(len(items), len(frames))
        self._socket.write(frames)

    def send_states(self, states: Sequence[tuple[int, str, str]]) -> None:
        """Send a `state` event for each session."""
        self._socket.write(self._joined([state_frame(*state) for state in states]))

    def _joined(self, frames: list[bytes]) -> bytes:
        return packed_frames(frames) if self._socket.compresses else b"".join(frames)

    def send_event(self, event: str, **fields: Any) -> None:
        """Send any other event."""
        self._socket.write(event_frame(event, **fields))

    def send_notice(self, frame: bytes) -> None:
        """Send an event, unless there is more unsent than it would be worth."""
        if self._socket.is_writable:
            self._socket.write(frame)

    def send_heartbeat(self, beat: Heartbeat) -> None:
        """Send a heartbeat, unless there is more unsent than it would be worth; live, it moves the position."""
        is_live = self.is_live
        if is_live:
            self.position = beat.head
        self.send_notice(beat.live if is_live else beat.plain)

    async def wait_writable(self) -> None:
        """Wait until few bytes are unsent."""
        while not self._socket.is_writable:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def failed(self, error: RecorderError) -> None:
        """Send the error and close: the client reconnects and resumes."""
        self.send_event("error", code=error.code, message=str(error))
        self._socket.close(1012, error.code)

    def catching_up(self, yes: bool) -> None:
        """Keep little unsent while history follows the reader's pace; the full allowance when live."""
        super().catching_up(yes)
        self._socket.set_high_water(self._hub.chunk_bytes if yes else self._socket.limits.soft_bytes)
