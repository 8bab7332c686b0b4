"""Getting what systems need beyond the project itself, for `scripts/bench --install`.

Kept true: nothing goes into the project's own environment: npm's and pip's packages go into folders of the benchmark's
own. Programs come from Debian's packages, where root asks. What can't be had is said.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable

from bench_suite.needs import Needs, home, lacks_npm, lacks_pip, lacks_program, missing, python
from bench_suite.systems.base import System


def install(systems: Iterable[System], say: Callable[[str], object]) -> bool:
    """Installs what these systems lack, as far as it may be had here.

    Args:
        systems: which.
        say: told what is done, line by line.
    Returns:
        Whether every system has what it needs now.
    """
    complete = True
    for system in systems:
        needs = system.needs
        if missing(needs):
            _install(needs, say)
        left = missing(needs)
        complete = complete and not left
        say(f"{system.name}: " + ("there" if not left else "still lacks " + "; ".join(left)))
    return complete


def _install(needs: Needs, say: Callable[[str], object]) -> None:
    if needs.apt and lacks_program(needs):
        _install_debian(needs.apt, say)
    if packages := lacks_npm(needs):
        _install_npm(packages, say)
    if packages := lacks_pip(needs):
        _install_pip(packages, say)


def _install_debian(package: str, say: Callable[[str], object]) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say(f"{package}: apt-get needs root, and a Debian")
        return
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", package]
    if _ran(["apt-get", "update", "-qq"], say, quiet) and _ran(command, say, quiet):
        # It would take its share of the CPU while others are measured.
        say(f"{package}: where Debian started it as a service, too, stop that one: systemctl stop {package}")


def _install_npm(packages: Iterable[str], say: Callable[[str], object]) -> None:
    if shutil.which("npm") is None:
        say("npm isn't there (Debian: apt-get install npm)")
        return
    folder = home() / "node"
    folder.mkdir(parents=True, exist_ok=True)
    # npm keeps what it installed in here, and removes what is not named in it.
    if not (folder / "package.json").exists():
        (folder / "package.json").write_text('{"private": true}\n')
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--silent")
    _ran(["npm", "install", "--prefix", str(folder), *quiet, *packages], say)


def _install_pip(packages: Iterable[str], say: Callable[[str], object]) -> None:
    # The pip of the interpreter that runs this serves both: Debian's Python can't give a new environment its own.
    if not python().exists() and not _ran(
        [sys.executable, "-m", "venv", "--without-pip", str(home() / "python")], say
    ):
        return
    pip = [sys.executable, "-m", "pip", "--python", str(python()), "--disable-pip-version-check"]
    _ran([*pip, "install", "--quiet", *packages], say)


def _ran(command: list[str], say: Callable[[str], object], env: dict[str, str] | None = None) -> bool:
    say("+ " + " ".join(command))
    try:
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        say(str(error))
        return False
    if done.returncode:
        say((done.stdout + done.stderr).strip()[-2000:] or f"ended with code {done.returncode}")
    return done.returncode == 0
