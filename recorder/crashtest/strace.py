"""strace, attached to a running recorder: to see which system calls it makes on its files, and to have one of them fail.

Only calls on the paths named are seen, counted and failed; the counting begins when it attaches, in each thread anew.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

FAILING = ("openat", "pwrite64", "write", "fsync", "fdatasync", "rename", "unlink", "ftruncate")
"""System calls that a full, worn or read-only disk fails."""
READING = ("pread64", "read", "newfstatat", "fstat")
"""Those that only a worn one fails."""
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)$", re.MULTILINE)


class NoStrace(Exception):
    """strace is not installed, or not permitted."""


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that was seen.

    Args:
        thread: Who made it.
        name: Which.
        text: Its arguments and what came of it.
    """

    thread: int
    name: str
    text: str

    @property
    def is_injected(self) -> bool:
        """Return whether the call was made to fail."""
        return "(INJECTED)" in self.text


class Trace:
    """The output of strace.

    Args:
        path: Where.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def calls(self) -> list[Call]:
        """Return the calls so far."""
        text = self._path.read_text(errors="replace") if self._path.exists() else ""
        return [Call(int(match[1]), match[2], match[3]) for match in _CALL.finditer(text)]

    def most(self) -> Counter[str]:
        """Return the highest number of times that one thread has made each call."""
        by_thread = Counter((call.thread, call.name) for call in self.calls())
        most: Counter[str] = Counter()
        for (_, name), count in by_thread.items():
            most[name] = max(most[name], count)
        return most


@asynccontextmanager
async def attached(
    pid: int, folder: Path, paths: Sequence[Path], calls: Sequence[str], inject: str | None = None
) -> AsyncIterator[Trace]:
    """Trace a process within the block.

    Args:
        pid: The process; all its threads.
        folder: Where the trace is written.
        paths: Only calls on these are seen; they need not exist.
        calls: Only these.
        inject: strace's injection: `fsync:error=EIO:when=2`.

    Raises:
        NoStrace: It cannot be traced.
    """
    program = shutil.which("strace")
    if program is None:
        raise NoStrace("strace is not installed")
    trace = folder / "trace"
    trace.unlink(missing_ok=True)
    options = [
        "-f",
        "-y",
        "-o",
        str(trace),
        "-p",
        str(pid),
        "-e",
        f"trace={','.join('?' + c for c in calls)}",
    ]
    for path in paths:
        options += ["-P", str(path)]
    if inject is not None:
        options += ["-e", f"inject={inject}"]
    process = await asyncio.create_subprocess_exec(program, *options, stderr=asyncio.subprocess.PIPE)
    try:
        assert process.stderr is not None
        said = b""
        while b"attached" not in said:
            line = await process.stderr.readline()
            if not line:
                raise NoStrace(f"strace: {said.decode(errors='replace').strip()}")
            # Of paths that are not there yet it says so.
            said += line if b"path" not in line.lower() else b""
        reading = asyncio.create_task(process.stderr.read(), name="crashtest-strace")
        yield Trace(trace)
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        await process.wait()
    await reading
