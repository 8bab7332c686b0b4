"""A process that publishes deltas of 500 bytes at a rate: `python publishing_child.py URL SECONDS PER_SECOND`.

It prints the last seq and how long it took. A process of its own, so that who watches the page is not held up by it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from websockets.asyncio.client import connect

FRAME = 100  # deltas
SESSIONS = 300


def frames() -> list[str]:
    """A round of frames."""
    pad = "x" * 380
    deltas = [
        {
            "type": "updated",
            "sessionId": f"session-{n % SESSIONS}",
            "after": {"planStatus": "in_progress", "n": n, "usage": {"tokens": n * 7}, "pad": pad},
        }
        for n in range(3000)
    ]
    return [json.dumps(deltas[start : start + FRAME]) for start in range(0, 3000, FRAME)]


async def publish(url: str, seconds: float, per_second: float) -> tuple[int, float]:
    """Publish at the rate, as far as the recorder lets us; the last seq, and how long it took."""
    texts, count = frames(), int(seconds * per_second / FRAME)
    began = time.monotonic()
    async with connect(f"ws{url.removeprefix('http')}/publish", proxy=None) as socket:
        await socket.recv()

        async def send() -> None:
            for number in range(count):
                # The rate is what is asked of it.
                await asyncio.sleep(max(0.0, began + number * FRAME / per_second - time.monotonic()))
                await socket.send(texts[number % len(texts)])

        sending = asyncio.create_task(send(), name="publish-send")
        for _ in range(count):
            last = json.loads(await socket.recv())["seq"]
        await sending
    return last, time.monotonic() - began


if __name__ == "__main__":
    through, took = asyncio.run(publish(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
    sys.stdout.write(f"{through} {took}\n")
