"""The project's files agree with one another: version, changelog, lock, CI, what is imported and declared."""

from __future__ import annotations

import ast
import re
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import recorder

ROOT = Path(__file__).resolve().parents[1]
HEADING = re.compile(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$", re.MULTILINE)
# Modules that come with a dependency of another name, as part of it.
PART_OF = {
    "jwt": "pyjwt",
    "pydantic_core": "pydantic",
    "dotenv": "python-dotenv",
    "markdown_it": "markdown-it-py",
}


def toml(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


def normal(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    requirements = toml("pyproject.toml")["project"]["dependencies"]
    return {normal(re.split(r"[<>=!~; \[]", requirement, maxsplit=1)[0]) for requirement in requirements}


def test_the_version_is_written_once() -> None:
    project = toml("pyproject.toml")
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "recorder/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?", recorder.__version__)


def test_the_changelog_begins_with_what_is_unreleased_and_knows_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = HEADING.findall(text)
    assert headings[0] == ("Unreleased", "")
    assert len(headings) == text.count("\n## ")
    released = [version for version, day in headings[1:] if day]
    assert len(released) == len(headings) - 1
    # Until the first release there is only the one that is being made.
    known = released[0] if released else re.findall(r"^The next version: (\S+)\.$", text, re.MULTILINE)[0]
    assert known == recorder.__version__


def test_the_lock_holds_what_the_project_asks_for() -> None:
    project, lock = toml("pyproject.toml"), toml("uv.lock")
    (ours,) = (package for package in lock["package"] if package["name"] == "session-recorder")
    wanted = {
        (normal(match[1]), match[2].strip())
        for text in project["project"]["dependencies"]
        if (match := re.match(r"([\w.-]+)([^;]*)", text))
    }
    assert {(entry["name"], entry["specifier"]) for entry in ours["metadata"]["requires-dist"]} == wanted
    assert lock["requires-python"] == project["project"]["requires-python"]


def test_the_lock_takes_everything_from_the_public_index() -> None:
    packages = [package for package in toml("uv.lock")["package"] if package["name"] != "session-recorder"]
    elsewhere = [p["name"] for p in packages if p["source"] != {"registry": "https://pypi.org/simple"}]
    assert elsewhere == []
    assert "file:" not in (ROOT / "uv.lock").read_text(encoding="utf-8")


def test_what_is_imported_is_declared() -> None:
    names = set()
    for path in (ROOT / "recorder").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    foreign = names - sys.stdlib_module_names - {"recorder"}
    assert {normal(PART_OF.get(name, name)) for name in foreign} - declared() == set()


def test_ci_runs_the_checks_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines == ["#!/bin/sh", 'exec "$(dirname "$0")/../scripts/test"']


@pytest.mark.parametrize("name", ["scripts/start", "scripts/test", ".ci/run"])
def test_what_is_run_is_executable(name: str) -> None:
    assert (ROOT / name).stat().st_mode & stat.S_IXUSR
