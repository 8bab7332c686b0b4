"""`recorder serve` as a process that is fuzzed: with compression, and no limit that would end a run of thousands.

What it logs as an error, and a process that is gone before it was stopped, are findings.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import httpx

ADMIN = "a-token-for-the-fuzzing-admin"
"""A token that may do everything."""

_FLAGS = (
    "--persist", "--port", "0", "--log-level", "error", "--compression", "--max-upgrades-per-minute", "1000000",
    "--max-connections-per-address", "10000", "--max-subscribes-per-minute", "1000000", "--heartbeat-interval", "1000",
)  # fmt: skip


class Server:
    """A recorder of its own. To be used in `async with`.

    Args:
        folder: Where it records; made if missing.
        flags: More of `recorder serve`.
        tokens: Whether `ADMIN` has to be shown.
    """

    def __init__(self, folder: Path, *flags: str, tokens: bool = False) -> None:
        self._folder = folder
        self._flags = flags
        self._tokens = tokens
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def __aenter__(self) -> Server:
        self._folder.mkdir(parents=True, exist_ok=True)
        places = [
            "--db-path",
            str(self._folder / "data" / "fuzz.sqlite"),
            "--key-file",
            str(self._folder / "key"),
        ]
        env = {**os.environ, **({"RECORDER_ADMIN_TOKENS": ADMIN} if self._tokens else {})}
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "recorder", "serve", *_FLAGS, *places, *self._flags,
                stdout=asyncio.subprocess.PIPE, stderr=log, env=env,
            )  # fmt: skip
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        self.url = line.removeprefix("listening on ").strip()
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as http:
            while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def faults(self) -> list[str]:
        """Return what it has logged as an error, the last lines of it, and whether it is gone."""
        assert self._process is not None
        found = self._log.read_text(errors="replace").splitlines()[-200:]
        gone = self._process.returncode
        return found if gone is None else [*found, f"the recorder ended with {gone}"]
