"""The allocator, configured to return memory to the system: large buffers at once, the rest from time to time.

Left out: how much memory there is to use, which the guard over the recording asks (recorder/jobs/memory_guard.py).
"""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

MMAP_THRESHOLD, TRIM_THRESHOLD = 4 << 20, 16 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def settle_allocator() -> bool:
    """Configure glibc to map large buffers separately, so that freeing them returns memory to the system.

    Left to itself it moves that threshold up to 32 MiB with the first large buffer that is freed. From then on the
    messages of many publishers grow side by side in one heap, and leave it full of holes: a hundred of 15 MiB, of which
    256 MiB are held, took 670 MB, and kept 465 MB of it; so it takes 380 MB, and keeps 130 MB (75 MB when it started).
    Not lower: each page of what is mapped has to be made first, which for a buffer in use all the time costs more than
    to fill it.

    Returns:
        Whether it was configured; False if the allocator is another one.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    told = [
        libc.mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD),
        libc.mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD),
    ]
    return all(told)


GIVE_BACK_SECONDS = 60.0
"""How often it is seen whether there is much to be given back."""
LEAST_FREE = 64 << 20
"""Bytes; less is not worth a walk through the heap."""


class _Heap(ctypes.Structure):
    """The heap statistics of glibc: `struct mallinfo2` of malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


class FreeMemory:
    """Gives pages that are free in the midst of the heap back to the system, where they are many.

    A crowd of connections leaves holes between what is recorded meanwhile and stays. What is recorded next fills them;
    until then they would count as this process's memory. To give them back takes milliseconds for each hundred
    megabytes, in which others that allocate may have to wait, so it is not done for little. Left out: allocators other
    than glibc's (2.33 or later).
    """

    def __init__(self) -> None:
        self._resident = (
            0  # bytes in memory after the last time: what is free and was given back is still free
        )

    def give_back(self) -> bool:
        """Release free memory to the system if there is enough; return whether there was. For a thread:
        releases the GIL.
        """
        resident = _resident()
        if resident is None or resident < self._resident + LEAST_FREE:
            return False
        libc = ctypes.CDLL(None)
        look = getattr(libc, "mallinfo2", None)
        if look is None:
            return False
        look.restype = _Heap
        heap = look()
        if heap.fordblks < max(LEAST_FREE, heap.uordblks // 8):
            return False
        given = bool(libc.malloc_trim(0))
        self._resident = _resident() or 0
        return given


def _resident() -> int | None:
    """Return bytes of this process in memory; None where neither glibc nor Linux says."""
    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
