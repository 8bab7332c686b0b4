"""The table of commands: help in groups, examples and hints that work, completion, and what starting up may load."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recorder.cli.commands import GROUPS, TABLE, Entry, load
from recorder.cli.serve import OTHER, SECTIONS, section_of
from recorder.config.settings import setting_rows

Invoke = Callable[..., tuple[int, bytes, str]]
SHOWN = [entry for entry in TABLE if not entry.replaced_by]


def options_of(entry: Entry) -> set[str]:
    """Return every spelling of a command's options, but for old names."""
    shown = [param for param in load(entry).params if not getattr(param, "hidden", False)]
    return {name for param in shown for name in (*param.opts, *param.secondary_opts)}


def test_the_help_names_every_command_in_its_group(invoke: Invoke) -> None:
    code, out, _ = invoke("--help")
    assert code == 0
    text = out.decode()
    for group in GROUPS:
        section = text.split(f"\n{group}:\n")[1].split("\n\n")[0]
        named = {line.split()[0] for line in section.splitlines() if re.match(r"  \w", line)}
        assert named == {entry.name for entry in SHOWN if entry.group == group}


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
def test_every_command_explains_itself(entry: Entry, invoke: Invoke) -> None:
    code, out, err = invoke(entry.name, "-h")
    text = out.decode()
    assert (code, err == "") == (0, not entry.replaced_by)
    assert f"Usage: recorder {entry.name}" in text
    assert "9223372036854775807" not in text
    assert "int range" not in text


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
def test_the_table_says_what_the_command_says_of_itself(entry: Entry) -> None:
    assert load(entry).help.split("\n\n")[0].replace("\n", " ") == entry.summary


@pytest.mark.parametrize("entry", SHOWN, ids=lambda entry: entry.name)
def test_every_command_answers_in_json_where_it_is_asked_to(entry: Entry) -> None:
    assert "--json" in options_of(entry)


@pytest.mark.parametrize("entry", SHOWN, ids=lambda entry: entry.name)
def test_every_example_can_be_typed(entry: Entry) -> None:
    assert entry.examples
    for example in entry.examples:
        # The part of a pipe that is this command's, without what the shell does with its output.
        part = next(part for part in example.split(" | ") if part.startswith(f"recorder {entry.name}"))
        words = shlex.split(part.split(" > ")[0])
        load(entry).make_context(entry.name, words[2:])


def test_the_flags_of_serve_stand_in_sections(invoke: Invoke) -> None:
    text = invoke("serve", "--help")[1].decode()
    for title, _ in SECTIONS:
        assert f"\n{title}:\n" in text
    sections = {row.field: section_of(row.field) for row in setting_rows() if not row.is_secret}
    assert sections["port"] == "Listening"
    # Most have a section of their own: the last one is for what fits nowhere else.
    assert sum(title == OTHER for title in sections.values()) < len(sections) / 3


LIGHT = {
    ("--version",): {"typer"},
    ("--help",): {"pydantic", "recorder.cli.serve", "recorder.cli.tail", "orjson"},
    ("tail", "--help"): {"pydantic", "recorder.client", "recorder.config.settings", "recorder.bridges"},
}
HEAVY = {
    "aiosqlite", "apscheduler", "asyncio", "cryptography", "httpx", "jwt", "loguru", "prometheus_client",
    "recorder.app", "recorder.engine", "recorder.net", "recorder.server", "rich.console", "starlette", "uvicorn",
    "websockets",
}  # fmt: skip
"""Modules that only the server, a client or long work need."""


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_starting_up_loads_nothing_that_is_not_needed(arguments: tuple[str, ...], project_root: Path) -> None:
    code = (
        "import sys\nfrom recorder.cli import main\n"
        f"assert main({arguments!r}) == 0\nprint(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project_root, capture_output=True, timeout=50, check=True
    )
    assert set(done.stderr.decode().split()) & (HEAVY | LIGHT[arguments]) == set()


def test_the_package_offers_its_names_without_having_loaded_them(project_root: Path) -> None:
    code = (
        "import sys, recorder\nassert 'recorder.app' not in sys.modules\n"
        "assert all(getattr(recorder, name) is not None for name in recorder.__all__)\n"
        "assert set(recorder.__all__) <= set(dir(recorder))\n"
        "try: recorder.nothing\nexcept AttributeError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project_root, capture_output=True, timeout=50, check=True
    )
    assert done.stdout.decode() == "module 'recorder' has no attribute 'nothing'\n"


def complete(project_root: Path, line: str) -> list[str]:
    """Return what bash is offered behind a line."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-m", "recorder"],
        cwd=project_root,
        env={
            **os.environ,
            "_RECORDER_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert done.stderr == b""
    return done.stdout.decode().split()


def test_a_shell_completes_commands_options_and_values(project_root: Path) -> None:
    assert complete(project_root, "recorder se") == ["serve", "sessions"]
    assert "torture" not in complete(project_root, "recorder t")
    assert complete(project_root, "recorder query --gr") == ["--grep"]
    assert complete(project_root, "recorder query --order ") == ["desc", "asc"]


def test_bash_itself_completes_with_the_script_that_is_shown(project_root: Path, tmp_path: Path) -> None:
    program = tmp_path / "recorder"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m recorder "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(_RECORDER_COMPLETE=source_bash recorder)"\n'
        "complete -p recorder\n"
        'COMP_WORDS=(recorder que); COMP_CWORD=1; COMP_LINE="recorder que"\n'
        "_recorder_completion recorder que recorder\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(project_root)},
        capture_output=True,
        timeout=50,
        check=True,
    )
    assert done.stdout.decode().splitlines()[-1] == "query"


def test_an_old_name_works_and_names_the_new_one(invoke: Invoke, tmp_path: Path) -> None:
    code, _, err = invoke("torture", "--dir", str(tmp_path), "--only", "killing")
    assert code == 2
    assert err.startswith("recorder: torture is the old name of crashtest: use crashtest")


def flags_named(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the flags that the texts of a module name, but for docstrings and the definitions of options."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield from ((node.lineno, flag) for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", node.value))


BEGINNINGS = {"--no-"}
"""What flags are made from."""


def test_every_flag_that_a_text_names_exists(project_root: Path) -> None:
    known = {name for entry in TABLE for name in options_of(entry)} | {"--help", "--version"}
    unknown = [
        f"{path.relative_to(project_root)}:{line}: {flag}"
        for path in sorted((project_root / "recorder").rglob("*.py"))
        if "crashtest" not in path.parts
        for line, flag in flags_named(path)
        if flag not in known | BEGINNINGS
    ]
    assert unknown == []


def test_every_command_that_a_text_names_exists(project_root: Path) -> None:
    known = {entry.name for entry in TABLE}
    for path in sorted((project_root / "recorder").rglob("*.py")):
        for name in re.findall(r"['`]recorder ([a-z][a-z_-]*)", path.read_text(encoding="utf-8")):
            assert name in known, f"{path.relative_to(project_root)}: recorder {name}"
