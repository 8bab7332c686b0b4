"""`recorder serve --demo`: synthetic agent sessions played into a running recorder, at a steady rate."""

from __future__ import annotations

import asyncio

from loguru import logger

from recorder.app import Recorder
from recorder.core.errors import Closed
from recorder.demo.sessions import demo_deltas

SESSIONS = 6


async def play(recorder: Recorder, rate: float) -> None:
    """Publish synthetic deltas until the recorder stops.

    Args:
        recorder: A loaded one.
        rate: Deltas per second.
    """
    loop = asyncio.get_running_loop()
    # Another seed at each start, so that the sessions of two runs do not mix.
    deltas = demo_deltas(recorder.clock.now_ms(), SESSIONS)
    due = loop.time()
    try:
        for delta in deltas:
            await recorder.publish(delta)
            due = max(due + 1 / rate, loop.time() - 1)
            await asyncio.sleep(due - loop.time())
    except Closed:
        logger.debug("the demonstration ends with the recorder")
