"""Processes of the run: servers with their CPU time, and workers that are told what to do in JSON lines.

Kept true: whoever starts a process ends it, by its id, whatever happens (both classes are context managers),
and no wait is without a deadline. Left out: pipes full of log; a server's output goes to a file.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench_suite.errors import BenchError

HERE = Path(__file__).resolve().parent.parent
PROJECT = HERE.parent

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")


def child_environment(**more: str) -> dict[str, str]:
    """A clean environment: no setting of the caller's reaches a system under test, or one of ours.

    PYTHONPATH holds the benchmark and the project.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": f"{HERE}{os.pathsep}{PROJECT}", "PYTHONUNBUFFERED": "1", **more}


def cpu_seconds(pid: int) -> float:
    """User and system time of process `pid` so far, all its threads, in seconds (steps of 10 ms)."""
    # The name in parentheses may hold anything, so fields are counted from the last one.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def peak_memory_mb(pid: int) -> float:
    """The most resident memory that process `pid` has had, in MB."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) * 1024 / 1e6 if match else 0.0


def memory_bytes(pid: int) -> int:
    """Return the memory of process `pid` in bytes: its own pages, and its share of those in common with others (PSS)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    if match is None:
        raise BenchError("the kernel does not tell how much memory a process has")
    return int(match[1]) * 1024


def _end(process: subprocess.Popen[bytes], patience_s: float, by: signal.Signals = signal.SIGTERM) -> None:
    if process.poll() is None:
        process.send_signal(by)
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Server:
    """A server under test, running from `__enter__` to `__exit__`."""

    def __init__(
        self,
        argv: Sequence[str],
        env: dict[str, str],
        workdir: Path,
        stop: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Takes a server to be started.

        Args:
            argv, env: the command line, and its whole environment.
            workdir: a directory of its own to work and log in.
            stop: the signal after which it ends with code 0 (or by that signal).
        """
        self._stop = stop
        self._argv = list(argv)
        self._env = env
        self._workdir = workdir
        self._log = workdir / "server.log"
        # Set while it runs.
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C in the terminal is for the benchmark, which then ends the server.
            self._process = subprocess.Popen(
                self._argv, env=self._env, cwd=self._workdir, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._process is not None
        died = self._process.poll() is not None
        _end(self._process, 20, self._stop)
        code = self._process.returncode
        what = f"server {'died' if died else 'ended'} with code {code}; its log ends:\n{self.log_tail()}"
        if died and isinstance(error, BenchError | OSError):
            raise BenchError(f"{error}: {what}") from error
        if error is None and (died or code not in (0, -self._stop)):
            raise BenchError(what)

    @property
    def ended(self) -> bool:
        """Return whether it has ended by itself."""
        assert self._process is not None
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def wait_listening(self, timeout_s: float = 20) -> tuple[str, int]:
        """Waits for the line that says where it listens.

        Returns:
            Host and port.
        Raises:
            BenchError: it ended, or did not listen in time; carries the end of its log.
        """
        host, _, port = self.wait_said(_LISTENING, timeout_s)[1].removeprefix("http://").rpartition(":")
        return host, int(port)

    def wait_said(self, pattern: re.Pattern[str], timeout_s: float = 20) -> re.Match[str]:
        """Waits until its log has something.

        Args:
            pattern: searched for in all that it has printed.
            timeout_s: seconds.
        Raises:
            BenchError: it ended, or did not say so in time; carries the end of its log.
        """
        assert self._process is not None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if match := pattern.search(self._log.read_text(errors="replace")):
                return match
            if self._process.poll() is not None:
                raise BenchError("it did not start")
            time.sleep(0.01)
        raise BenchError(f"server did not say {pattern.pattern!r} within {timeout_s} s:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines of what it printed."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


class Worker:
    """A process of the harness itself: reads commands as JSON lines, answers in JSON lines."""

    def __init__(self, module: str) -> None:
        """Takes the module to run, such as `bench_suite.workers.readers`."""
        self._module = module
        # Set while it runs.
        self._process: subprocess.Popen[bytes] | None = None
        # What was read of the next answer.
        self._rest = b""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module], env=child_environment(), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        finally:
            _end(self._process, patience_s=2)
            self._process.stdout.close()

    def tell(self, op: str, **arguments: object) -> None:
        """Sends a command.

        Raises:
            BenchError: the worker is gone.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"op": op, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise BenchError(f"{self._module} ended before {op!r}") from error

    def answer(self, within_s: float) -> dict[str, Any]:
        """The next answer.

        Raises:
            BenchError: none came in time, the worker ended, or the answer is that something went wrong.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        fd, deadline = self._process.stdout.fileno(), time.monotonic() + within_s
        while b"\n" not in self._rest:
            if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise BenchError(f"{self._module} gave no answer within {within_s:.0f} s")
            if not (data := os.read(fd, 1 << 16)):
                raise BenchError(f"{self._module} ended without an answer")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise BenchError(said["error"])
        return said

    def ask(self, op: str, within_s: float = 30, **arguments: object) -> dict[str, Any]:
        """`tell`, then `answer`."""
        self.tell(op, **arguments)
        return self.answer(within_s)
