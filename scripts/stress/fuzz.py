"""Fuzzes the recorder for a while: hypothesis over the wire, schemathesis on the HTTP API, and on the decoders long
inputs and atheris.

Each part gets an equal share of the time, each of the decoders an equal share of its part. atheris and schemathesis are
installed into an environment of their own, so that the project's lock knows nothing of them; where they cannot be, their
part is left out and said to be. Ends with 1 where something was found: what it was stands in the output; an input that
did it to a decoder is kept in a file that is named there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

from stress import fuzz_http, fuzz_long, fuzz_wire
from stress.fuzz_files import FOLDER_VARIABLE, in_memory
from stress.fuzz_targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".venv" / "fuzz"
WANTED = ("atheris", "schemathesis")
PARTS = ("wire", "http", "long", "decoders")
HANG_SECONDS, MAX_MB, MAX_BYTES = 20, 2048, 16_384
"""What one input may take, and how long one is."""

_COVERAGE = re.compile(r"^#(\d+)\s+(INITED|DONE)\s+cov: (\d+)", re.MULTILINE)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="in all (default: an hour)")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be repeated")
    parser.add_argument(
        "--target", action="append", choices=[*TARGETS], help="of the decoders only this one; may be repeated"
    )
    asked = parser.parse_args()
    parts = asked.part or PARTS
    share = asked.seconds / len(parts)
    tools = environment() if {"http", "decoders"} & set(parts) else None
    found = False
    prefix = "recorder-fuzz-"
    with (
        tempfile.TemporaryDirectory(prefix=prefix) as folder,
        tempfile.TemporaryDirectory(prefix=prefix, dir=in_memory()) as scratch,
    ):
        os.environ[FOLDER_VARIABLE] = scratch
        if "wire" in parts:
            found |= asyncio.run(fuzz_wire.for_seconds(share, Path(folder) / "wire"))
        if "http" in parts and tools is not None:
            found |= asyncio.run(fuzz_http.for_seconds(share, Path(folder) / "http", tools / "schemathesis"))
        if "long" in parts:
            seed = int.from_bytes(os.urandom(4))
            print(f"fuzz: long inputs by the seed {seed}", flush=True)
            found |= fuzz_long.for_seconds(share, seed)
        if "decoders" in parts and tools is not None:
            found |= decoders(tools / "python", share, Path(folder), asked.target or list(TARGETS))
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


def decoders(python: Path, share: float, folder: Path, names: list[str]) -> bool:
    """atheris on each target; whether something was found.

    Args:
        python: That has it.
        share: Seconds in all.
        folder: For what is needed meanwhile. What was found, and what has led further, is kept beside the tools.
        names: The targets.
    """
    run = [str(python), "-m", "stress.fuzz_decoders"]
    paths = [str(ROOT), str(ROOT / "scripts"), sysconfig.get_path("purelib")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    seeds = folder / "seeds"
    made = subprocess.run([*run, "seeds", str(seeds)], env=env, stderr=subprocess.PIPE, text=True)
    if made.returncode:
        print(f"fuzz: no decoder can be begun with:\n{made.stderr[-2000:]}", flush=True)
        return True
    found = False
    for name in names:
        corpus, finds = HOME / "corpus" / name, HOME / "found"
        for place in (corpus, finds):
            place.mkdir(parents=True, exist_ok=True)
        limits = [
            f"-max_total_time={max(1, int(share / len(names)))}",
            f"-max_len={MAX_BYTES}",
            f"-timeout={HANG_SECONDS}",
        ]
        limits += [
            f"-rss_limit_mb={MAX_MB}",
            f"-dict={seeds / 'words.dict'}",
            f"-artifact_prefix={finds}/{name}-",
        ]
        command = [*run, name, *limits, str(corpus), str(seeds / name)]
        done = subprocess.run(command, env=env, stderr=subprocess.PIPE, text=True, errors="replace")
        print(f"fuzz: {name}: {coverage(done.stderr)}", flush=True)
        if done.returncode:
            told = [line for line in done.stderr.splitlines() if not line.startswith(("#", "INFO:"))]
            print("\n".join(told[-40:]), flush=True)
            found = True
    return found


def coverage(said: str) -> str:
    """Return libFuzzer's summary of a run, in a line: the inputs, and the code reached by the first and by all."""
    counts = {kind: (int(runs), int(reached)) for runs, kind, reached in _COVERAGE.findall(said)}
    if counts.keys() != {"INITED", "DONE"}:
        return "ended before its time"
    (_, before), (runs, after) = counts["INITED"], counts["DONE"]
    return f"{runs:,} inputs; coverage {before} with what it began with, {after} at the end"


if __name__ == "__main__":
    sys.exit(main())
