"""Signed heads to subscribers: whoever keeps one can prove later what had been recorded by then.

Sent at an interval, like a heartbeat, and only when it says something new. Signing asks the store, so it is a task of
its own: the keeper's turn never waits for it, and a store that fails costs no heartbeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from loguru import logger

from recorder.core.errors import RecorderError
from recorder.core.statements import Head, Signed
from recorder.wire.events import event_frame
from recorder.wire.statements import signed_members


class Audience(Protocol):
    """The part of the hub that the announcer needs."""

    @property
    def head(self) -> int:
        """The highest seq given to subscribers."""
        ...

    def send_all(self, frame: bytes) -> None:
        """Send every subscriber an event, after the deltas of this tick."""
        ...


class HeadAnnouncer:
    """Sends the event `head`.

    Args:
        hub: To whose subscribers.
        signed_head: Tells where the recording ends, signed, or None where nothing is signed.
        seconds: Between two.
        now: The time, of a clock that only moves on.
    """

    def __init__(
        self,
        hub: Audience,
        signed_head: Callable[[], Awaitable[Signed[Head] | None]],
        seconds: float,
        now: float,
    ) -> None:
        self._hub = hub
        self._signed_head = signed_head
        self._at = now  # when the last one was due
        self._said: tuple[int, int, int] | None = None  # what the last one said
        self._task: asyncio.Task[None] | None = None  # signing one
        self.seconds = seconds  # between two

    def sweep(self, now: float) -> None:
        """Begin to send one when it is due."""
        if now - self._at < self.seconds or (self._task is not None and not self._task.done()):
            return
        self._at = now
        self._task = asyncio.create_task(self._announce(), name="hub-head")

    async def close(self) -> None:
        """Send no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _announce(self) -> None:
        try:
            signed = await self._signed_head()
        except RecorderError as error:
            logger.bind(error=str(error)).warning("no head could be signed")
            return
        if signed is None or self._is_old(signed.payload):
            return
        head = signed.payload
        self._said = (head.seq, head.count, head.durable)
        self._hub.send_all(event_frame("head", **signed_members(signed)))

    def _is_old(self, head: Head) -> bool:
        # Do not announce a head beyond what subscribers have received: the next one is soon.
        return self._said == (head.seq, head.count, head.durable) or head.seq > self._hub.head
