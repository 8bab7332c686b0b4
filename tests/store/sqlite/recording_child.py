"""A process that records, saves, prunes and compacts without end, until it is killed. Says what it has on disk.

Each state is made from its seq alone, so that whoever looks at the file afterwards knows what must be in it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from recorder.core.clock import SystemClock
from tests.support.store import opened


def state_of(seq: int) -> str:
    """What the entry at a seq says: of all sizes, up to ten pages of the file."""
    return f'{{"seq":{seq},"pad":"{"x" * (seq * 7919 % 40_000 if seq % 50 == 0 else seq % 300)}"}}'


def say(line: object) -> None:
    """Tell the parent, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(path: Path) -> None:
    async with opened(path, SystemClock()) as it:
        say(it.loaded.epoch)
        turn = 0
        while True:
            turn += 1
            for _ in range(1 + turn * 37 % 400):
                it.put(f"s{it.feeder.head % 7}", state_of(it.feeder.head + 1))
            say("saving")
            result = await it.store.snapshot()
            say(f"durable {result.head}")
            if turn % 3 == 0:
                await it.store.prune(it.store.recorded - 300, "300 deltas")
            if turn % 5 == 0:
                await it.store.compact()
                say("compacted")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
