"""What is no regular file is refused before it is opened: opening a named pipe would wait for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.config.files import read_file, special_kind

PATIENCE = 60.0


def run(folder: Path, project_root: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command that must end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "recorder", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(project_root), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("end", ["", ".lock", ".tenure"])
def test_a_named_pipe_in_the_place_of_a_file_of_the_database_ends_the_start(
    end: str, tmp_path: Path, project_root: Path
) -> None:
    os.mkfifo(tmp_path / f"a.sqlite{end}")
    done = run(tmp_path, project_root, "serve", "--port", "0", "--persist", "--db-path", "a.sqlite")
    assert done.returncode == 1, done.stderr
    assert f"a.sqlite{end} is a named pipe, not a file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_named_pipe_in_the_place_of_the_key_ends_the_start(tmp_path: Path, project_root: Path) -> None:
    os.mkfifo(tmp_path / "key")
    flags = ("--port", "0", "--persist", "--key-file", "key")
    done = run(tmp_path, project_root, "serve", *flags)
    assert done.returncode == 2, done.stderr
    assert "key is a named pipe, not a file" in done.stderr


@pytest.mark.parametrize("command", [("doctor",), ("query",), ("export",), ("migrate", "--to", "1")])
def test_commands_that_read_a_file_do_not_wait_for_a_named_pipe(
    command: tuple[str, ...], tmp_path: Path, project_root: Path
) -> None:
    os.mkfifo(tmp_path / "a.sqlite")
    done = run(tmp_path, project_root, *command, "--db", "a.sqlite")
    assert done.returncode in (1, 3), done.stderr
    assert "Traceback" not in done.stderr


def test_each_kind_of_special_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "file").touch()
    assert special_kind(tmp_path / "pipe") == "a named pipe"
    assert special_kind(tmp_path / "link") == "a named pipe"
    assert special_kind(tmp_path) == "a directory"
    assert special_kind(Path("/dev/null")) == "a character device"
    assert special_kind(tmp_path / "file") is None
    assert special_kind(tmp_path / "missing") is None


@pytest.mark.parametrize(
    ("setting", "others"),
    [
        ("TLS_CERT", {}),
        ("JWT_KEY_FILE", {}),
        ("PUBLISH_TOKENS_FILE", {}),
        ("RECORDER_CONFIG", {}),
    ],
)
def test_a_named_pipe_in_the_place_of_a_file_that_a_setting_names_ends_the_start(
    setting: str, others: dict[str, str], tmp_path: Path, project_root: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = run(tmp_path, project_root, "serve", "--port", "0", **{setting: "pipe"}, **others)
    assert done.returncode == 2, done.stderr
    assert "is a named pipe, not a file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_device_is_not_read_and_the_null_device_is_an_empty_file(tmp_path: Path) -> None:
    assert read_file(Path("/dev/null")) == b""
    with pytest.raises(OSError, match="is a character device, not a file"):
        read_file(Path("/dev/zero"))
    with pytest.raises(OSError, match="directory"):
        read_file(tmp_path)
