"""Threads that run before they are needed.

Python waits for a new thread to say that it runs. One that finds no memory for that never does, and whoever started it
waits for ever: with it the event loop, also after there is memory again. So whatever the loop hands to a thread goes to
one that was started with the recorder, when a failure to start is an error of the start.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor


def started_pool(count: int, name: str) -> ThreadPoolExecutor:
    """Return a pool all of whose threads run: it starts no other.

    Args:
        count: How many.
        name: What their names begin with.

    Raises:
        RuntimeError: A thread cannot be started.
    """
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    # A pool starts a thread only while none is idle: each of them waits for all others.
    together = threading.Barrier(count + 1)
    try:
        for _ in range(count):
            pool.submit(together.wait)
        together.wait()
    except BaseException:
        together.abort()
        pool.shutdown(wait=False)
        raise
    return pool
