"""The examples of the README and of the documentation run as they are written, against a recorder of their own.

Every fenced block in `sh`, `python` or `js` runs, page by page, in the order of the page. A comment on the
line above a block says otherwise, and is shown nowhere else:

    <!-- not run: the reason -->        it does not run
    <!-- runs until stopped -->         it is stopped after it has printed something
    <!-- part of a program -->          it is checked for its syntax only
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGTERM
from typing import NamedTuple

import pytest

from tests.support.server import ServerProcess

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "recorder" / "docs").glob("*.md"))]
LANGUAGES = ("sh", "python", "js")
BLOCK = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OTHERS = {"json", "text", "console", "nginx", "ini", "yaml", "toml", "dockerfile", "http", "html", "sql"}
"""Languages of blocks that are no programs."""
RECORDER = re.compile(r"(?<=//)(?:127\.0\.0\.1|localhost):8765|\blocalhost:8765")
PATIENCE = 60.0
"""Seconds that an example may take on a busy machine."""


class Example(NamedTuple):
    """A block of a page.

    Args:
        line: Where it begins.
        mark: The comment above it; "" for none.
        language: Of its fence.
        code: Its text.
    """

    line: int
    mark: str
    language: str
    code: str


def examples(page: Path) -> Iterator[Example]:
    """Yield the blocks of a page in the languages that run."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        if found[2] in LANGUAGES:
            yield Example(text.count("\n", 0, found.start(3)), found[1] or "", found[2], found[3])


def environment(server: ServerProcess) -> dict[str, str]:
    """Return what an example finds: the commands of the project, and the recorder that runs."""
    commands = server.folder / "bin"
    commands.mkdir(exist_ok=True)
    command = commands / "recorder"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m recorder "$@"\n')
    command.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RECORDER_URL": server.url,
        "PAGER": "cat",
    }


def command_of(example: Example, server: ServerProcess, number: int) -> list[str]:
    """Return how an example is run; its text is written into a file where that is needed."""
    code = RECORDER.sub(lambda _: server.url.removeprefix("http://"), example.code)
    if example.language == "sh":
        return ["sh", "-euc", code]
    if example.language == "python":
        return [sys.executable, "-c", code]
    sdk = ROOT / "recorder" / "web" / "sdk" / "client.js"
    code = re.sub(r'from "(?:http://[^"]+/client\.js|session-recorder)"', f'from "{sdk.as_uri()}"', code)
    script = server.folder / f"example{number}.mjs"
    script.write_text(code)
    return ["node", *(["--experimental-websocket"] if needs_websocket_flag() else []), str(script)]


def needs_websocket_flag() -> bool:
    """Whether this Node has its WebSocket behind a flag."""
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.strip().lstrip("v").split(".")[0]) < 22


def run(example: Example, command: list[str], server: ServerProcess) -> str | None:
    """Run an example. Return what was wrong, or None."""
    where = f"line {example.line}"
    if example.mark == "runs until stopped":
        return run_until_it_prints(command, server, where)
    done = subprocess.run(
        command,
        cwd=server.folder,
        env=environment(server),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return f"{where}: exit {done.returncode}: {done.stdout}{done.stderr}" if done.returncode else None


def run_until_it_prints(command: list[str], server: ServerProcess, where: str) -> str | None:
    """Run what does not end by itself until it has printed a line; return what was wrong, or None."""
    with subprocess.Popen(
        command,
        cwd=server.folder,
        env=environment(server),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        deadline = time.monotonic() + PATIENCE
        os.set_blocking(process.stdout.fileno(), False)
        try:
            while time.monotonic() < deadline:
                if process.stdout.read(1):
                    return None
                if process.poll() is not None:
                    return f"{where}: ended with {process.returncode}: {process.stderr.read().decode()}"
                time.sleep(0.05)
            return f"{where}: printed nothing in {PATIENCE} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, SIGTERM)


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_the_examples_of_a_page_run_as_they_are_written(page: Path, tmp_path: Path) -> None:
    runnable = [example for example in examples(page) if not example.mark.startswith(("not run", "part of"))]
    if not runnable:
        pytest.skip("no example to run")
    missing = {"js": "node", "sh": "curl"}
    with ServerProcess(tmp_path, "--persist") as server:
        wrong = []
        for number, example in enumerate(runnable):
            program = missing.get(example.language)
            if program is not None and shutil.which(program) is None:
                pytest.skip(f"{program} is not installed")
            wrong.append(run(example, command_of(example, server, number), server))
    assert [one for one in wrong if one is not None] == []


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_block_names_its_language_and_why_it_does_not_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"^```(.*)$", text, re.MULTILINE)[::2]
    unknown = {name for name in fences if name not in LANGUAGES and name not in OTHERS}
    assert unknown == set()
    for example in examples(page):
        if example.mark.startswith("not run"):
            assert len(example.mark.removeprefix("not run: ").split()) > 2, (example.line, example.mark)


def test_parts_of_programs_are_valid_python() -> None:
    for page in PAGES:
        for example in examples(page):
            if example.language == "python":
                compile(example.code, f"{page.name}:{example.line}", "exec", flags=0x2000)  # top-level await
