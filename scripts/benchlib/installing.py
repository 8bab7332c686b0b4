"""What systems need beyond the project itself: whether it is there, how to get it, and getting it.

Kept true: nothing is installed unless asked for (`scripts/bench --install`), and nothing into the project's own
environment: npm's and pip's packages go into folders of the benchmark's own, in the versions that `Needs` names, so that
a figure is one of a known version. Programs come from Debian's packages, where root asks. What can't be had is said, and
its system is skipped; that is no failure.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING

from benchlib.processes import PROJECT

if TYPE_CHECKING:
    # Systems themselves ask this module where things are.
    from benchlib.systems.base import Needs, System

# Debian keeps daemons where a user's PATH may not lead.
_DAEMONS = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", "/sbin"))


def home() -> Path:
    """The folder of what is installed for the benchmark alone: $BENCH_HOME, or in the project's `.venv`."""
    return Path(os.environ.get("BENCH_HOME") or PROJECT / ".venv" / "bench")


def node_modules() -> Path:
    """Where npm's packages are."""
    return home() / "node" / "node_modules"


def python() -> Path:
    """The interpreter of the environment that has pip's packages."""
    return home() / "python" / "bin" / "python"


def find_program(name: str) -> str | None:
    """Where a program is: in PATH, or among the daemons; None if it is nowhere."""
    return shutil.which(name) or shutil.which(name, path=_DAEMONS)


def missing(needs: Needs) -> list[str]:
    """What isn't there, each with the way to get it; empty when everything is."""
    lacking = []
    if needs.program and not find_program(needs.program):
        way = f" (Debian: apt-get install {needs.apt})" if needs.apt else ""
        lacking.append(f"{needs.program}{way}")
    for what, wanted, has in (("npm", needs.npm, _npm_versions), ("pip", needs.pip, _pip_versions)):
        installed = has() if wanted else {}
        lacking += [
            f"{what} package {name} {version} (scripts/bench --install)"
            for name, version in map(_pinned, wanted)
            if installed.get(name) != version
        ]
    return lacking


def versions(needs: Needs) -> dict[str, str]:
    """Which versions of what a system needs are installed, by package; a program's is that of its Debian package."""
    wanted = [name for name, _ in map(_pinned, (*needs.npm, *needs.pip))]
    installed = (_npm_versions() if needs.npm else {}) | (_pip_versions() if needs.pip else {})
    found = {name: installed[name] for name in wanted if name in installed}
    if needs.apt and (version := _debian_version(needs.apt)):
        found[needs.apt] = version
    return found


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
    if needs.program and needs.apt and not find_program(needs.program):
        _install_debian(needs.apt, say)
    if needs.npm and any(_npm_versions().get(name) != version for name, version in map(_pinned, needs.npm)):
        _install_npm(needs.npm, say)
    if needs.pip and any(_pip_versions().get(name) != version for name, version in map(_pinned, needs.pip)):
        _install_pip(needs.pip, say)


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
    # Without a file of its own there, npm might take some folder above for the project.
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


def _pinned(requirement: str) -> tuple[str, str]:
    """Name and version of `name==1.2` (pip) or `name@1.2` (npm; the name may begin with an @ of its own)."""
    name, _, version = requirement.partition("==") if "==" in requirement else requirement.rpartition("@")
    return name, version


def _npm_versions() -> dict[str, str]:
    found = {}
    for about in (*node_modules().glob("*/package.json"), *node_modules().glob("@*/*/package.json")):
        said = json.loads(about.read_text())
        found[str(said["name"])] = str(said["version"])
    return found


def _pip_versions() -> dict[str, str]:
    places = [str(place) for place in (home() / "python" / "lib").glob("python3*/site-packages")]
    if not places:
        return {}
    installed: Iterable[Distribution] = distributions(path=places)
    return {each.name: each.version for each in installed}


def _debian_version(package: str) -> str | None:
    if shutil.which("dpkg-query") is None:
        return None
    command = ["dpkg-query", "--show", "--showformat=${Version}", package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 and done.stdout else None
