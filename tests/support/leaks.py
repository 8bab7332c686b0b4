"""What a process holds: its open files and its threads, to be compared before and after."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from contextlib import suppress

from tests.support.wire import PATIENCE


def held() -> set[object]:
    """The open files and the threads of this process, but for those of the loop's executor.

    asyncio starts one of these wherever none is idle at the moment, up to a limit, and keeps it as long as the loop.
    """
    gc.collect()
    files: set[object] = set()
    for number in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        with suppress(FileNotFoundError):  # that of the listing itself
            files.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return files | {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


async def until_released(before: set[object]) -> None:
    """Until no file and no thread is left that was not there before: a thread ends when the machine lets it.

    What was there before, and is not, belonged to others.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while held() - before:  # noqa: ASYNC110 - the end of a thread is no event
                await asyncio.sleep(0.01)
    assert held() - before == set()
