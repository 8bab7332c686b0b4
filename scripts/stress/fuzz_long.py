"""Inputs that are long and made of one piece, over and over: what costs more than its length shows there.

A fuzzer that looks for new ways through the code tries short inputs, in which work that grows with the square of the
length is nothing. Here a piece is put into a sound input a hundred thousand times, and each target gets some seconds of
the processor for it.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from stress.fuzz_seeds import WORDS, seeds
from stress.fuzz_targets import TARGETS

SIZE = 200_000
"""Bytes of an input; within what one delta may have."""
CPU_SECONDS = 8.0
"""What a target may take for one. The slowest takes half a second."""
LEFT_OUT = {"database", "packed", "swe-agent"}
"""Changes of a file, and of a packed one, are no longer for it; of a run each delta holds all steps so far."""
PIECES = (
    *[word.encode() for word in WORDS], *[bytes([char]) for char in b"[]{}\",:\\ \n\t0a-._/~%&=\xff\xc3"],
    b'{"a":', b'"a":1,',
       b'"a",', b"[[", b"[],", b"{},", b"\\u0041", b'\\"', b"\\\\", b"%41", b"&a=1", b"&session=a", b"/a", b"a.", b"a, ",
)  # fmt: skip


class TooSlow(Exception):
    """A target has used up its time."""


def for_seconds(seconds: float, seed: int) -> bool:
    """Try inputs; whether something was found.

    Args:
        seconds: For how long.
        seed: Of the dice.
    """
    until, count, found = time.monotonic() + seconds, 0, False
    for name, data, what in inputs(seed):
        if time.monotonic() >= until:
            break
        count += 1
        fault = fault_of(name, data)
        if fault is not None:
            found = True
            print(f"fuzz: {name}: {fault}, by {what}", flush=True)
    print(f"fuzz: {count:,} long inputs", flush=True)
    return found


def inputs(seed: int) -> Iterator[tuple[str, bytes, str]]:
    """A target's name, an input for it, and how that was made; without end."""
    dice = random.Random(seed)
    names = [name for name in TARGETS if name not in LEFT_OUT]
    begun = {name: list(seeds(name)) for name in names}
    while True:
        # What is published has the longest way to go: it is searched for secrets, too.
        name = dice.choice(["publish", dice.choice(names), dice.choice(names)])
        start, piece = dice.choice(begun[name]), b"".join(dice.choices(PIECES, k=dice.choice([1, 1, 2, 3])))
        at = dice.randrange(len(start) + 1)
        made = start[:at] + piece * (SIZE // len(piece)) + start[at:]
        yield name, made, f"{piece!r} over and over at {at} in {start[:80]!r}"


def fault_of(name: str, data: bytes, *, cpu_seconds: float = CPU_SECONDS) -> str | None:
    """Return what is wrong with how a target takes an input, None where nothing is.

    Args:
        name: The target's.
        data: The input.
        cpu_seconds: What it may take, of the processor's time.
    """
    try:
        with _at_most(cpu_seconds):
            TARGETS[name](data)
    except TooSlow:
        return f"takes more than {cpu_seconds:g} seconds for {len(data):,} bytes"
    except Exception as error:
        return f"raises {error!r:.300}"
    return None


@contextmanager
def _at_most(cpu_seconds: float) -> Iterator[None]:
    def end(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
