"""Time that passes when a test says so, for clocks and for sleeping alike."""

from __future__ import annotations

import asyncio
from collections import deque

from recorder.core.clock import FakeClock


class FakeTime:
    """A clock, and a `sleep` that follows it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.slept: list[float] = []  # every sleep asked for, in seconds
        self._sleepers: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._asked = asyncio.Condition()

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has been advanced this far."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.clock.monotonic() + seconds, future))
        async with self._asked:
            self.slept.append(seconds)
            self._asked.notify_all()
        await future

    async def until_asked(self, times: int) -> None:
        """Wait until `sleep` has been called so many times in all."""
        async with self._asked:
            await self._asked.wait_for(lambda: len(self.slept) >= times)

    def advance(self, seconds: float) -> None:
        """Let time pass and wake who slept long enough."""
        self.clock.advance(seconds)
        now = self.clock.monotonic()
        for due, future in list(self._sleepers):
            if due <= now + 1e-9 and not future.done():
                future.set_result(None)
        self._sleepers = deque(pair for pair in self._sleepers if not pair[1].done())
