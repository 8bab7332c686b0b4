"""How much memory this process may use: what the machine has, or what its container is given, whichever is less.

Read where Linux keeps it (cgroup v2, then v1) and from the system. Left out: what others use of it now, which changes.
And the allocator, which is told to give large buffers back when they are freed, and from time to time whatever else is
free.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterable
from pathlib import Path

CGROUP_FILES = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def available_memory(files: Iterable[Path] = CGROUP_FILES) -> int | None:
    """Bytes this process may use; None where the system does not say.

    Args:
        files: Where a container's limit stands.
    """
    found = [size for path in files if (size := _limit(path)) is not None]
    if (machine := _machine()) is not None:
        found.append(machine)
    return min(found, default=None)


def _limit(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    # v2 says "max", v1 a number near 2**63, where there is no limit.
    return int(text) if text.isdigit() and int(text) > 0 else None


def _machine() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None  # not every system has these names


MMAP_THRESHOLD, TRIM_THRESHOLD = 4 << 20, 16 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def settle_allocator() -> bool:
    """Have glibc map large buffers each by itself, so that they go back to the system when they are freed.

    Left to itself it moves that threshold up to 32 MiB with the first large buffer that is freed. From then on the
    messages of many publishers grow side by side in one heap, and leave it full of holes: a hundred of 15 MiB, of which
    256 MiB are held, took 670 MB, and kept 465 MB of it; so it takes 380 MB, and keeps 130 MB (75 MB when it started).
    Not lower: each page of what is mapped has to be made first, which for a buffer in use all the time costs more than
    to fill it.

    Returns:
        Whether it was told; False where the allocator is another one.
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
    """What glibc says of its heaps: `struct mallinfo2` of malloc.h."""

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
        """Look, and give back; whether there was something. For a thread: it lets go of the interpreter's lock."""
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
    """Bytes of this process in memory; None where neither glibc nor Linux says."""
    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
