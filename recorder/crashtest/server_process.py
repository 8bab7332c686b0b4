"""A recorder in a process of its own, for a campaign to do harm to: `recorder serve` on a loopback port.

It gets nothing of the settings of whoever runs the campaign, and its signing key is made in the campaign's folder.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from recorder.config.settings import Settings
from recorder.config.sources import CONFIG_VARIABLE, PREFIX
from recorder.core.deprecated import SETTINGS

PATIENCE = 60.0
"""Seconds after which what does not come never will."""
PAUSE = 0.02
"""Seconds between two looks."""


async def until(what: str, is_so: Callable[[], Awaitable[bool]]) -> None:
    """Poll until a condition holds.

    Args:
        what: That it is, in words.
        is_so: Whether it is.

    Raises:
        TimeoutError: It never was.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                if await is_so():
                    return
                await asyncio.sleep(PAUSE)
    except TimeoutError:
        raise TimeoutError(f"{what}: not within {PATIENCE:g} s") from None


class ServerDied(Exception):
    """A recorder ended that should not have."""


class ServerProcess:
    """A recorder in its own process. `async with` kills it at the end if it still runs.

    Args:
        folder: Its working directory, made if missing.
        flags: Of `serve`.
        database: Its file; in `data` in its folder by default.
        prefix: A command that runs it.
    """

    def __init__(
        self, folder: Path, *flags: str, database: Path | None = None, prefix: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.database = database or folder / "data" / "sessions.sqlite"
        self._flags = flags
        self._prefix = prefix
        self._process: asyncio.subprocess.Process | None = None  # while it runs
        self._http: httpx.AsyncClient | None = None  # to the process that runs
        self.url = ""  # of the last start
        self.killed_at = 0.0  # when it was killed last (seconds, monotonic)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            await self.kill()

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        return self._running().pid

    @property
    def runs(self) -> bool:
        """Return whether it has been started and not stopped by the test."""
        return self._process is not None

    @property
    def key(self) -> Path:
        """The path of its signing key."""
        return self.folder / "signing.key"

    @property
    def log(self) -> str:
        """The text that all its runs have written to stderr."""
        return (self.folder / "log").read_text(errors="replace")

    async def start(self, *, ready: bool = True) -> None:
        """Start it, and return when it is ready; without `ready`, as soon as it is a process.

        Raises:
            ServerDied: It ended.
            TimeoutError: It did not get ready.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._prefix,
                *(sys.executable, "-m", "recorder", "serve", "--persist", "--port", "0"),
                *("--db-path", str(self.database), *self._flags),
                cwd=self.folder,
                env=_environment(self.key),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        if ready:
            async with asyncio.timeout(PATIENCE):
                await self.until_listening()
                await self.until_ready()

    async def until_listening(self) -> None:
        """Wait until it reports its address. Raises `ServerDied`."""
        stdout = self._running().stdout
        assert stdout is not None
        said = (await stdout.readline()).decode()
        if not said.startswith("listening on "):
            raise ServerDied(f"it ended with {await self._running().wait()}: {self.log[-500:]}")
        self.url = said.removeprefix("listening on ").strip()
        self._http = self.client()

    def client(self) -> httpx.AsyncClient:
        """Return an HTTP client for it; the caller closes it."""
        return httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=PATIENCE)

    async def until_ready(self, *, ready: bool = True) -> str:
        """Wait until /readyz succeeds, or fails; return its answer.

        Raises:
            ServerDied: It ended.
            TimeoutError: It stays as it is.
        """
        said = ""

        async def is_so() -> bool:
            nonlocal said
            try:
                answer = await self.get("/readyz")
            except httpx.TransportError:
                # It may be ending; otherwise the next try says what is the matter.
                code = await asyncio.wait_for(self._running().wait(), PATIENCE)
                raise ServerDied(f"it ended with {code}: {self.log[-500:]}") from None
            said = answer.text
            return (answer.status_code == 200) == ready

        await until(f"/readyz {'green' if ready else 'red'}", is_so)
        return said

    async def get(self, path: str) -> httpx.Response:
        """Ask it something. Raises httpx.TransportError."""
        assert self._http is not None, "it does not listen yet"
        return await self._http.get(path)

    async def stats(self) -> dict[str, Any]:
        """Return the answer of `GET /api/stats`."""
        answer: dict[str, Any] = (await self.get("/api/stats")).json()
        return answer

    async def save(self) -> None:
        """Request a snapshot, unless the server goes away meanwhile."""
        with suppress(httpx.TransportError):
            async with self.client() as http:
                await http.post("/api/admin/snapshot")

    def signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        with suppress(ProcessLookupError):
            self._running().send_signal(number)

    async def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self.killed_at = time.monotonic()
        self.signal(signal.SIGKILL)
        await self.wait()

    async def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self.signal(signal.SIGTERM)
        return await self.wait()

    async def wait(self) -> int:
        """Wait for its end and return its exit code. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            code = await self._running().wait()
        if self._http is not None:
            await self._http.aclose()
        self._process = self._http = None
        return code

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "it does not run"
        return self._process


def _environment(key: Path) -> dict[str, str]:
    """Return this process's environment without the recorder's settings, and with the path of its modules."""
    names = {name.upper() for name in Settings.model_fields} | set(SETTINGS)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(PREFIX) and name.upper() not in names
    }
    ours = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [ours, kept.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path, f"{PREFIX}KEY_FILE": str(key), CONFIG_VARIABLE: "none"}
