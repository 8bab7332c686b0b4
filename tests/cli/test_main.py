"""How commands end: exit codes, one line on stderr, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import recorder
from recorder.cli.main import app

Invoke = Callable[..., tuple[int, bytes, str]]
COMMANDS = {
    command.name or command.callback.__name__ for command in app.registered_commands if command.callback
}


def test_the_version_is_shown(invoke: Invoke) -> None:
    assert invoke("--version") == (0, f"recorder {recorder.__version__}\n".encode(), "")


def test_the_help_names_every_command(invoke: Invoke) -> None:
    code, out, _ = invoke("--help")
    assert code == 0
    listed = out.decode().split("Commands:\n")[1].splitlines()
    assert {line.split()[0] for line in listed} == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str, invoke: Invoke) -> None:
    code, out, err = invoke(command, "-h")
    assert (code, err) == (0, "")
    assert f"Usage: recorder {command}".encode() in out


def test_nothing_at_all_shows_the_help_and_is_a_usage_error(invoke: Invoke) -> None:
    code, out, _ = invoke()
    assert code == 2
    assert out.startswith(b"Usage: recorder")


@pytest.mark.parametrize(
    "arguments",
    [
        ["queri"],
        ["query", "--limit", "x"],
        ["query", "--limit", "0"],
        ["query", "--after", "-1"],
        ["query", "--type", "made"],
        ["query", "--session", ""],
        ["query", "--since", "yesterday"],
        ["export", "--format", "xml"],
        ["prune", "--older-than", "x"],
        ["stats", "--url", "ftp://x"],
        ["stats", "--url", "127.0.0.1:8765"],
        ["serve", "--port", "abc"],
        ["serve", "--host", "0.0.0.0"],
        ["serve", "--demo-rate", "nan"],
        ["import", "x", "--format", "y"],
        ["snapshot", "--force"],
    ],
)
def test_what_is_asked_wrongly_is_one_line_and_exit_2(arguments: list[str], invoke: Invoke) -> None:
    code, out, err = invoke(*arguments)
    assert (code, out) == (2, b"")
    assert err.startswith("recorder: ")
    assert err.count("\n") == 1


def test_what_fails_is_one_line_and_exit_1(invoke: Invoke) -> None:
    assert invoke("stats", "--db", "missing.sqlite") == (1, b"", "recorder: missing.sqlite: no such file\n")


def test_data_in_an_error_cannot_steer_the_terminal(invoke: Invoke) -> None:
    _, _, err = invoke("stats", "--db", "\x1b[31m\n.sqlite")
    assert err == "recorder: \\x1b[31m\\n.sqlite: no such file\n"


def test_a_reader_of_stdout_that_goes_away_is_no_error(database: Path, project_root: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "recorder", "query", "--db", str(database)],
            cwd=database.parent,
            env={**os.environ, "PYTHONPATH": str(project_root)},
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=50,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_ctrl_c_ends_with_130_and_no_traceback(tmp_path: Path, project_root: Path) -> None:
    fifo = tmp_path / "never"
    os.mkfifo(fifo)
    with subprocess.Popen(
        [sys.executable, "-m", "recorder", "publish", str(fifo)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(project_root)},
        stderr=subprocess.PIPE,
    ) as process:
        # Opening returns when the command opens its end: it is in the midst of its work.
        writing = fifo.open("wb")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=50)
        writing.close()
    assert process.returncode == 130
    assert b"Traceback" not in err
