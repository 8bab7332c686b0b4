"""Fuzzes the recorder for a while: hypothesis over the wire, atheris on the decoders, schemathesis on the HTTP API.

A third of the time each. atheris and schemathesis are installed into an environment of their own, so that the project's
lock knows nothing of them; where they cannot be, their part is left out and said to be. Ends with 1 where something was
found: what it was stands in the output, and an input that atheris found in a file `crash-…`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

from doorlib import fuzz_wire
from doorlib.soak import Server

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".venv" / "fuzz"
WANTED = ("atheris", "schemathesis")


def main() -> int:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="in all (default: an hour)")
    share = parser.parse_args().seconds / 3
    tools = environment()
    with tempfile.TemporaryDirectory(prefix="recorder-fuzz-") as folder:
        found = asyncio.run(against_server(Path(folder), share, tools))
        if tools is not None:
            found |= decoders(tools, share, Path(folder))
    print("fuzz: " + ("something was found" if found else "nothing was found"))
    return int(found)


def environment() -> Path | None:
    """The folder of programs that has the tools; None where they cannot be installed."""
    programs = HOME / "bin"
    if not (programs / "schemathesis").exists():
        venv.create(HOME, with_pip=True)
        install = [str(programs / "python"), "-m", "pip", "install", "-q", *WANTED]
        if subprocess.run(install).returncode:
            print(
                "fuzz: atheris and schemathesis cannot be installed here; their parts are left out",
                file=sys.stderr,
            )
            return None
    return programs


async def against_server(folder: Path, share: float, tools: Path | None) -> bool:
    """The parts that need a running recorder; whether something was found."""
    async with Server(folder) as server:
        until = time.monotonic() + share
        count = await asyncio.to_thread(fuzz_wire.run, server.url, lambda _: time.monotonic() < until)
        print(f"fuzz: {count} connections made up, and a healthy publisher beside them noticed nothing")
        if tools is None:
            return False
        command = [
            str(tools / "schemathesis"), "run", f"{server.url}/api/openapi.json", "--checks", "not_a_server_error",
            "--exclude-path", "/api/stream", "--max-examples", str(max(1, int(share / 4))),
        ]  # fmt: skip
        # It leaves a cache where it runs.
        process = await asyncio.create_subprocess_exec(*command, cwd=folder)
        return bool(await process.wait())


def decoders(tools: Path, share: float, folder: Path) -> bool:
    """atheris; whether something was found."""
    paths = [str(ROOT), str(ROOT / "scripts"), sysconfig.get_path("purelib")]
    command = [
        str(tools / "python"),
        "-m",
        "doorlib.fuzz_decoders",
        f"-max_total_time={int(share)}",
        "-max_len=4096",
    ]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return bool(subprocess.run([*command, str(folder)], env=env).returncode)


if __name__ == "__main__":
    sys.exit(main())
