"""Node, where there is one: runs a script and speaks with it in lines of JSON."""

from __future__ import annotations

import asyncio
import functools
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.wire import PATIENCE

MAX_LINE = 64 << 20


@functools.cache
def node() -> tuple[str, ...]:
    """The program and the flags it needs; skips the test where there is none."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("no JavaScript in Node: there is no `node` here")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    major = int(version.strip().removeprefix("v").partition(".")[0])
    if major < 20:
        pytest.skip(f"no JavaScript in Node: {version.strip()} has no WebSocket; 20 and later have")
    return (program,) if major >= 22 else (program, "--experimental-websocket", "--no-warnings")


class Script:
    """A script that runs. Made by `running`.

    Args:
        process: Its process.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> Any:
        """The JSON of the next line it writes."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await self.process.stdout.readline()
        assert line, "it ended"
        return orjson.loads(line)

    async def until(self, kind: str) -> list[Any]:
        """Events up to and with the first of a kind."""
        events = [await self.line()]
        while events[-1]["event"] != kind:
            assert events[-1]["event"] != "failed", events[-1]
            events.append(await self.line())
        return events

    async def end(self) -> list[Any]:
        """Close its input; what it writes until it ends, which it must in good order."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        async with asyncio.timeout(PATIENCE):
            rest = await self.process.stdout.read()
            assert await self.process.wait() == 0
        return [orjson.loads(line) for line in rest.splitlines()]


@asynccontextmanager
async def running(script: Path, *args: str) -> AsyncIterator[Script]:
    """A script in a process of its own, which is killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *node(),
        str(script),
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE,
    )
    try:
        yield Script(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
