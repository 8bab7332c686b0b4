"""`recorder serve` as a process of its own: started, asked to stop, killed, started again on the same file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL, SIGTERM
from types import TracebackType
from typing import Self

import httpx

ROOT = Path(__file__).resolve().parents[2]
PATH = [path for path in [os.environ.get("PYTHONPATH")] if path]


class ServerProcess:
    """A recorder in a process; `with`, or `async with` its `url` from `start` on. Killed at the end if it still runs.

    Args:
        folder: Its working directory; the database is in `data/` there.
        flags: Of `serve`, beside `--port 0`.
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.flags = flags
        self.url = ""  # of the last start
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> Path:
        """Its file."""
        return self.folder / "data" / "sessions.sqlite"

    @property
    def log(self) -> str:
        """What it has written to stderr, of all starts."""
        return (self.folder / "stderr").read_text()

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.kill()

    def start(self, *, ready: bool = True, terminal: int | None = None, files: int | None = None) -> None:
        """Start it, and return when it is ready; without `ready`, as soon as it listens.

        Args:
            ready: Whether to wait until it is loaded.
            terminal: What it runs in; None for none.
            files: How many it may have open (`ulimit -n`); None: as many as this process.
        """
        assert self._process is None
        limited = [] if files is None else ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"]
        with (self.folder / "stderr").open("ab") as stderr:
            self._process = subprocess.Popen(
                [*limited, sys.executable, "-m", "recorder", "serve", "--port", "0", *self.flags],
                cwd=self.folder,
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *PATH])},
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert self._process.stdout is not None
        said = self._process.stdout.readline().decode()
        assert said.startswith("listening on "), self.log
        self.url = said.removeprefix("listening on ").strip()
        while ready and httpx.get(f"{self.url}/readyz", trust_env=False).status_code != 200:
            assert self._process.poll() is None, self.log

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = 40.0) -> int:
        """Its exit code, when it has ended."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        finally:
            self._reap()

    def stop(self, number: int = SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        self.signal(number)
        return self.wait()

    def kill(self) -> None:
        """`kill -9`."""
        self.signal(SIGKILL)
        self._reap()

    def memory(self) -> int:
        """Bytes of memory it holds now."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def _reap(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
