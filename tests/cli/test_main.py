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

Invoke = Callable[..., tuple[int, bytes, str]]
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def test_the_version_is_shown(invoke: Invoke) -> None:
    assert invoke("--version") == (0, f"recorder {recorder.__version__}\n".encode(), "")


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
        ["query", "--after", "9223372036854775808"],
        ["query", "--lineage", "whole"],
        ["query", "--happened-since", "yesterday"],
        ["export", "--json", "--format", "csv"],
        ["query", "--since", "yesterday"],
        ["export", "--format", "xml"],
        ["prune", "--older-than", "x"],
        ["stats", "--url", "ftp://x"],
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


@pytest.mark.parametrize(
    "arguments",
    [
        [b"stats", b"--db", b"\xff.sqlite"],
        [b"stats", b"--url", b"http://127.0.0.1:1/\xff"],
        [b"query", b"--session", b"\xe4"],
        [b"publish", b"\xe4.ndjson"],
        [b"\xe4"],
    ],
)
def test_an_argument_that_is_not_utf_8_is_one_line_and_exit_2(arguments: list[bytes], run: Run) -> None:
    done = run(*map(os.fsdecode, arguments))
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert f"argument {len(arguments)} is not UTF-8".encode() in done.stderr


def test_a_url_from_the_environment_that_is_not_utf_8_is_one_line_and_exit_2(run: Run) -> None:
    done = run("stats", env={"RECORDER_URL": os.fsdecode(b"http://127.0.0.1:1/\xff")})
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)


def test_a_missing_argument_is_said_with_the_usage_of_the_command(invoke: Invoke) -> None:
    code, out, err = invoke("state")
    assert (code, out, err.count("\n")) == (2, b"", 1)
    assert err.rstrip().endswith(
        "Usage: recorder state [OPTIONS] SESSION; for example: recorder state my-session"
    )
