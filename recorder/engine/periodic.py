"""Call something again and again beside the event loop's other work, whatever it raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from loguru import logger

SWEEP_SECONDS = 0.25
"""The longest time between two looks at what is due."""


def sweep_pause(shortest: float) -> float:
    """Return how many seconds to wait between two looks at what is due after `shortest` seconds at the earliest."""
    return min(SWEEP_SECONDS, max(shortest / 4, 0.005))


@asynccontextmanager
async def periodically(
    name: str, call: Callable[[], None], seconds: float
) -> AsyncIterator[asyncio.Task[None]]:
    """Call `call` every `seconds` until the block is left.

    An exception of one call is logged and does not end the next ones: deadlines and heartbeats hang on them.

    Args:
        name: Of the task.
        call: Does little: the event loop waits for it.
        seconds: Between the end of one call and the next.

    Yields:
        The task, so that a watchdog can see that it runs.
    """

    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                call()
            except Exception:
                logger.bind(task=name).exception("a periodic call failed")

    task = asyncio.create_task(repeat(), name=name)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
