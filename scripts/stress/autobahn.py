"""Runs the Autobahn test suite's fuzzing client against the recorder's WebSocket, and says what it found.

The suite wants a server that echoes, so the role behind the connection is one that does (`echo`); all else is as in
`recorder serve`. It is a program for Python 2.7: one is looked for, and the suite is installed into a folder of its own.
Where there is none it says so and ends with 3; with 1 where a case failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from stress.echo import echo_server

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".venv" / "autobahn"
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}
MISSING = 3


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="scripts/autobahn", description=__doc__)
    parser.add_argument("--cases", default="*", help="which, comma between, e.g. 1.*,12.1.* (default: all)")
    parser.add_argument(
        "--report", type=Path, default=HOME / "report", help="folder of the report (HTML, JSON)"
    )
    options = parser.parse_args()
    python = find_python()
    if python is None or not installed(python):
        print(
            "autobahn: the suite needs Python 2.7 and pip for it; neither can be had here:", file=sys.stderr
        )
        print("autobahn: name one with AUTOBAHN_PYTHON=/path/to/python2.7", file=sys.stderr)
        return MISSING
    options.report.mkdir(parents=True, exist_ok=True)
    asyncio.run(run(python, options.cases.split(","), options.report))
    return summary(options.report)


def find_python() -> str | None:
    """A Python 2.7."""
    known = [os.environ.get("AUTOBAHN_PYTHON"), "python2.7", "python2"]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    known += [str(path) for path in sorted(versions.glob("2.7*/bin/python"), reverse=True)]
    for name in known:
        path = shutil.which(name) if name else None
        if (
            path is not None
            and subprocess.run([path, "-c", "import pip"], capture_output=True).returncode == 0
        ):
            return path
    return None


def environment() -> dict[str, str]:
    """Return where the suite is installed: as a user's packages, but a user of its own."""
    return {**os.environ, "PYTHONUSERBASE": str(HOME), "PYTHONWARNINGS": "ignore"}


def installed(python: str) -> bool:
    """Return whether the suite is there, or could be installed."""
    look = [python, "-c", "import autobahntestsuite, zope.interface"]
    if subprocess.run(look, env=environment(), capture_output=True).returncode == 0:
        return True
    print("autobahn: installing the suite", file=sys.stderr)
    install = [python, "-m", "pip", "install", "-q", "--user", "autobahntestsuite"]
    return subprocess.run(install, env=environment()).returncode == 0


async def run(python: str, cases: list[str], report: Path) -> None:
    """Run the cases, against a fresh server."""
    async with echo_server() as url:
        address = url.replace("http", "ws")
        spec = specification(f"{address}/publish", cases, report)
        suite = await asyncio.create_subprocess_exec(
            python, "-m", "autobahntestsuite.wstest", "-m", "fuzzingclient", "-s", spec,
            env=environment(), cwd=report, stdout=sys.stderr,
        )  # fmt: skip
        if await suite.wait():
            raise SystemExit(f"autobahn: the suite ended with {suite.returncode}")


def specification(url: str, cases: list[str], report: Path) -> str:
    """The suite's settings, written to a file; its path."""
    path = report / "spec.json"
    servers = [{"agent": "recorder", "url": url}]
    wanted = {"outdir": str(report), "servers": servers, "cases": cases, "exclude-cases": []}
    path.write_text(json.dumps({**wanted, "exclude-agent-cases": {}}))
    return str(path)


def summary(report: Path) -> int:
    """Print what was found; the exit code."""
    code = 0
    index: dict[str, dict[str, dict[str, Any]]] = json.loads((report / "index.json").read_text())
    for agent, cases in index.items():
        counts = Counter(case["behavior"] for case in cases.values())
        closes = Counter(case["behaviorClose"] for case in cases.values())
        print(f"{agent}: {len(cases)} cases: {dict(counts)}; closing: {dict(closes)}")
        for name, case in cases.items():
            if not {case["behavior"], case["behaviorClose"]} <= GOOD:
                print(f"  {name}: {case['behavior']}, closing {case['behaviorClose']}")
                code = 1
    print(f"report: {report / 'index.html'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
