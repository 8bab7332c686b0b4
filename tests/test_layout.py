"""Imports go one way: a folder imports from itself and from the folders before it, never from one behind it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "recorder"
LAYERS = (
    "core",
    "config",
    "auth",
    "wire",
    "engine",
    "store",
    "jobs",
    "verify",
    "net",
    "app",
    "api",
    "bridges",
    "server",
    "client",
    "web",
    "docs",
    "demo",
    "crashtest",
    "cli",
)
"""The folders (and `app.py`) of the package, each of which may import from those named before it."""

FACES = {"__init__", "__main__"}
"""The package's own face, which gathers from all of them, and which anybody may ask for the version."""

EXCEPTIONS: set[tuple[str, str]] = set()
"""Imports that point the wrong way and are known: (module, module)."""


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the package's modules that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "recorder":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "recorder")


def layer(name: str) -> str | None:
    """Return the folder of a module; None for the package's own face."""
    parts = name.split(".")
    return None if len(parts) == 1 or parts[1] in FACES else parts[1]


def wrong_way() -> set[tuple[str, str]]:
    """Return the imports of a folder from one behind it."""
    known, found = modules(), set()
    for name, path in known.items():
        own = layer(name)
        if own is None:
            continue
        for other in imported(path, known):
            theirs = layer(other)
            if theirs is not None and LAYERS.index(theirs) > LAYERS.index(own):
                found.add((name, other))
    return found


def test_every_folder_has_its_place_in_the_order() -> None:
    folders = {name for name in map(layer, modules()) if name is not None}
    assert folders - set(LAYERS) == set()


def test_imports_go_one_way() -> None:
    assert wrong_way() - EXCEPTIONS == set()


def test_no_exception_is_kept_that_is_not_needed() -> None:
    assert EXCEPTIONS - wrong_way() == set()


def test_an_import_inside_a_function_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("def late() -> None:\n    from recorder.cli import main\n")
    assert list(imported(wrong, modules())) == ["recorder.cli.main"]


def test_modules_import_by_full_name() -> None:
    relative = [
        name
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []
