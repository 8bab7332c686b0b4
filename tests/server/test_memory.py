"""Memory that is given back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_buffers_that_grow_side_by_side_leave_nothing_behind() -> None:
    """In a process of its own, since it holds for a whole one."""
    script = """
import sys
from recorder.server.memory import settle_allocator
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
assert settle_allocator()
del bytearray(24 << 20)[:]
buffers = [bytearray() for _ in range(12)]
kept = []
before = resident()
for _ in range(80):
    for buffer in buffers:
        buffer += bytes(100_000)
        kept.append(bytearray(600))
grown = resident() - before
buffers.clear()
print(grown, resident() - before)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    grown, left = map(int, ran.stdout.split())
    assert grown > 90_000_000
    assert left < 90_000_000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_what_is_free_between_what_stays_is_given_back_where_it_is_much() -> None:
    script = """
from recorder.server.memory import FreeMemory
memory = FreeMemory()
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
assert not memory.give_back()
before = resident()
crowd, kept = [], []
for _ in range(1500):
    crowd.append(bytearray(100_000))
    kept.append(bytearray(600))
full = resident() - before
crowd.clear()
free = memory.give_back()
print(full, free, resident() - before, memory.give_back())
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    full, free, left, again = ran.stdout.split()
    assert int(full) > 140_000_000
    assert (free, again) == ("True", "False")
    assert int(left) < 40_000_000
