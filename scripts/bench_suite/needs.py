"""The requirements of systems beyond the project itself: whether they are there, in which version, and how to get them.

Installs nothing; that is `bench_suite.installing`. npm's and pip's packages are wanted in exactly the version that
`Needs` names, so that a figure is one of a known version.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from bench_suite.processes import PROJECT


@dataclass(frozen=True, slots=True)
class Needs:
    """The requirements of a system: `missing` looks for it, `bench_suite.installing` gets it."""

    # A program, and the Debian package that has it.
    program: str = ""
    apt: str = ""
    # Packages in a fixed version, for the benchmark's own folders: `ws@8.18.3`, `aiohttp==3.12.15`.
    npm: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()


NOTHING = Needs()
"""Needs nothing beyond the project."""


# Debian keeps daemons where a user's PATH may not lead.
_DAEMONS = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", "/sbin"))


def home() -> Path:
    """The folder of what is installed for the benchmark alone: $BENCH_HOME, or in the project's `.venv`."""
    return Path(os.environ.get("BENCH_HOME") or PROJECT / ".venv" / "bench")


def node_modules() -> Path:
    """Return where npm's packages are."""
    return home() / "node" / "node_modules"


def python() -> Path:
    """The interpreter of the environment that has pip's packages."""
    return home() / "python" / "bin" / "python"


def find_program(name: str) -> str | None:
    """Return where a program is: in PATH, or among the daemons; None if it is nowhere."""
    return shutil.which(name) or shutil.which(name, path=_DAEMONS)


def lacks_program(needs: Needs) -> bool:
    """Return whether its program isn't there."""
    return bool(needs.program) and find_program(needs.program) is None


def lacks_npm(needs: Needs) -> list[str]:
    """The packages of npm that aren't there, or in another version."""
    return _lacks(needs.npm, _npm_versions) if needs.npm else []


def lacks_pip(needs: Needs) -> list[str]:
    """The packages of pip that aren't there, or in another version."""
    return _lacks(needs.pip, _pip_versions) if needs.pip else []


def missing(needs: Needs) -> list[str]:
    """Return what isn't there, each with the way to get it; empty when everything is."""
    way = f" (Debian: apt-get install {needs.apt})" if needs.apt else ""
    program = [f"{needs.program}{way}"] if lacks_program(needs) else []
    packages = [("npm", name) for name in lacks_npm(needs)] + [("pip", name) for name in lacks_pip(needs)]
    return program + [f"{kind}'s package {name} (scripts/bench --install)" for kind, name in packages]


def versions(needs: Needs) -> dict[str, str]:
    """Return the installed versions of a system's requirements, by package; of a program, of its Debian package."""
    wanted = [name for name, _ in map(_pinned, (*needs.npm, *needs.pip))]
    installed = (_npm_versions() if needs.npm else {}) | (_pip_versions() if needs.pip else {})
    found = {name: installed[name] for name in wanted if name in installed}
    if needs.apt and (version := _debian_version(needs.apt)):
        found[needs.apt] = version
    return found


def _lacks(wanted: Iterable[str], installed: Callable[[], dict[str, str]]) -> list[str]:
    there = installed()
    return [
        requirement for requirement in wanted if there.get(_pinned(requirement)[0]) != _pinned(requirement)[1]
    ]


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
    # Without its interpreter (a newer one took its place, say) an environment is of no use.
    if not python().exists():
        return {}
    places = [str(place) for place in (home() / "python" / "lib").glob("python3*/site-packages")]
    installed: Iterable[Distribution] = distributions(path=places)
    return {each.name: each.version for each in installed}


def _debian_version(package: str) -> str | None:
    if shutil.which("dpkg-query") is None:
        return None
    command = ["dpkg-query", "--show", "--showformat=${Version}", package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 and done.stdout else None
