"""A command that finds too little memory, or no thread, says so in one sentence."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from tests.support.app import running_app, some

MIB = 1 << 20


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """A file of some 20 MiB."""
    async with running_app(tmp_path) as app:
        for n in range(100):
            await app.recorder.publish(orjson.dumps(some(1, f"s{n}", size=200_000)))
    return tmp_path / "sessions.sqlite"


def bounded(mib: int) -> Callable[[], None]:
    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (mib * MIB, mib * MIB))

    return bound


@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_too_little_memory_is_told_in_one_sentence(database: Path, command: str) -> None:
    flags = (
        ["--persist", "--db-path", str(database), "--port", "0"]
        if command == "serve"
        else ["--db", str(database)]
    )
    endings = []
    for mib in (56, 64, 80, 96):
        with subprocess.Popen(
            [sys.executable, "-m", "recorder", command, *flags],
            preexec_fn=bounded(mib),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stderr is not None
            lines = []
            for line in child.stderr:
                lines.append(line)
                if "recording loaded" in line:
                    child.terminate()
        assert "Traceback" not in "".join(lines), lines
        if child.returncode == 1:
            endings.append(lines[-1] if command == "doctor" else "".join(lines))
    assert endings, "there was memory enough each time: take less"
    assert all("memory" in ending or "no thread" in ending for ending in endings)
