"""Rules of the source that no tool checks: which way imports point, sizes, names, what must not be there."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "recorder"

PURE = {"core", "wire"}
# What core has of the machine, for everybody: time and the log.
OF_THE_MACHINE = {
    "recorder/core/clock.py",
    "recorder/core/logging.py",
    "recorder/core/observers.py",
    "recorder/core/sampled_log.py",
}
SHELL = {"asyncio", "threading", "socket", "sqlite3", "aiosqlite", "starlette", "uvicorn", "loguru", "time"}

MAX_FUNCTION_LINES = 60
MAX_MODULE_LINES = 600
TOP_FILES = {"pyproject.toml", "uv.lock", "README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"}
TOP_FOLDERS = {"recorder", "tests", "data", "scripts"}
TOP_DOTTED = {".ci", ".editorconfig", ".gitattributes", ".gitignore"}


@cache
def sources(folder: str) -> dict[Path, ast.Module]:
    """The syntax trees of the modules under a folder of the project, by path."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return {path: ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in paths}


@cache
def listed() -> dict[str, str]:
    """Git's modes of what is in the repository, by name; skips where this is not a checkout."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--stage"], cwd=ROOT, capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout, so there is no list of tracked files")
    entries = (entry.split("\t", 1) for entry in listing.stdout.split("\0") if entry)
    return {name: about.split()[0] for about, name in entries}


@cache
def tracked() -> tuple[str, ...]:
    """Names of the files in the repository; one that is deleted but not yet committed is left out."""
    return tuple(name for name in listed() if (ROOT / name).is_file())


def folder_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def place(path: Path, node: ast.AST | None = None) -> str:
    line = getattr(node, "lineno", 1)
    return f"{path.relative_to(ROOT)}:{line}"


def imports(path: Path, tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every module that is imported, by its absolute dotted name; `from a import b` gives `a.b`."""
    package = ("recorder", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            yield from ((node, f"{module}.{alias.name}") for alias in node.names)


def handlers(tree: ast.Module) -> Iterator[ast.ExceptHandler]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler))


def is_broad(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException") for kind in kinds)


def does_nothing(handler: ast.ExceptHandler) -> bool:
    return all(isinstance(statement, ast.Pass | ast.Continue) for statement in handler.body)


def test_the_pure_core_has_no_io_no_clock_and_no_log() -> None:
    wrong = [
        f"{place(path, node)}: {name}"
        for path, tree in sources("recorder").items()
        if folder_of(path) in PURE and str(path.relative_to(ROOT)) not in OF_THE_MACHINE
        for node, name in imports(path, tree)
        if name.partition(".")[0] in SHELL
    ]
    assert wrong == []


def test_functions_and_modules_are_short() -> None:
    functions = [
        f"{place(path, node)}: {node.name} has {size} lines"
        for path, tree in sources("recorder").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (size := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    modules = [
        f"{place(path)}: {size} lines"
        for folder in ("recorder", "tests", "scripts")
        for path in sources(folder)
        if (size := path.read_text(encoding="utf-8").count("\n")) > MAX_MODULE_LINES
    ]
    assert functions + modules == []


def test_every_module_says_what_it_is() -> None:
    wrong = [
        place(path)
        for folder in ("recorder", "tests", "scripts")
        for path, tree in sources(folder).items()
        if tree.body and not ast.get_docstring(tree)
    ]
    assert wrong == []


def test_docstrings_name_what_they_describe_and_those_of_functions_begin_with_a_verb() -> None:
    no_name = re.compile(r"(What|Whether|Who|Whose|How|Where|When|Which|Why|See|From)\b")
    no_verb = re.compile(rf"{no_name.pattern}|(As|The same)\b")
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    wrong = [
        f"{place(path)}: {docstring.splitlines()[0]}"
        for folder in ("recorder", "scripts")
        for path, tree in sources(folder).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | kinds)
        and (docstring := ast.get_docstring(node))
        and (no_verb if isinstance(node, kinds) else no_name).match(docstring)
    ]
    assert wrong == []


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources("recorder")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert wrong == []


def test_no_error_is_swallowed() -> None:
    wrong = [
        place(path, handler)
        for folder in ("recorder", "scripts")
        for path, tree in sources(folder).items()
        for handler in handlers(tree)
        if handler.type is None or (is_broad(handler) and does_nothing(handler))
    ]
    assert wrong == []


def test_every_task_has_a_name() -> None:
    wrong = [
        place(path, node)
        for path, tree in sources("recorder").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute | ast.Name)
        and ast.unparse(node.func).rpartition(".")[2] in ("create_task", "ensure_future")
        and not any(keyword.arg == "name" for keyword in node.keywords)
    ]
    assert wrong == []


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    somewhere = re.compile(r"(?<![\w.}])/(?:work|root)(?![\w-])")
    wrong = []
    for name in tracked():
        text = (ROOT / name).read_bytes().decode("utf-8", "replace")
        lines = enumerate(text.splitlines(), 1)
        wrong += [f"{name}:{number}: {line[:120]}" for number, line in lines if somewhere.search(line)]
    assert wrong == []


def test_the_top_level_holds_what_was_agreed_and_no_more() -> None:
    assert {name.partition("/")[0] for name in listed()} == TOP_FILES | TOP_FOLDERS | TOP_DOTTED


def test_files_are_files_and_not_links_to_somewhere() -> None:
    assert {mode for mode in listed().values()} == {"100644", "100755"}
