"""`recorder serve` as a process: flags, what it announces, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from recorder.config.settings import setting_rows

Invoke = Callable[..., tuple[int, bytes, str]]


def test_there_is_a_flag_for_every_setting_with_its_help(invoke: Invoke) -> None:
    help_text = " ".join(invoke("serve", "--help")[1].decode().split())
    for row in setting_rows():
        if row.is_secret:  # everyone on a machine can read the flags of a process
            assert f"{row.flag} " not in help_text
            continue
        assert f"{row.flag} " in help_text
        # Long words may be broken at hyphens, so spaces do not count.
        assert row.description.replace(" ", "") in help_text.replace(" ", "")
        assert f"default{row.default}).".replace(" ", "") in help_text.replace(" ", "")


def test_a_flag_outranks_the_environment(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECORDER_RETENTION_DAYS", "7")
    _, _, err = invoke("serve", "--retention-days", "-1")
    assert err.endswith("(default 30), set by the flag --retention-days\n")
    monkeypatch.setenv("PORT", "abc")
    _, _, err = invoke("serve")
    assert err.endswith("(default 8765), set by PORT in the environment\n")


def test_an_old_flag_works_is_not_in_the_help_and_warns_with_the_new_one(
    invoke: Invoke, start_server: Callable[..., Any]
) -> None:
    assert "--accept-loss" not in invoke("serve", "--help")[1].decode()
    server = start_server("--persist", "--accept-loss", "--when-full", "refuse")
    assert server.stop() == 0
    said = server.errors.read_text()
    assert said.count("is the old name of") == 1
    assert "accept_loss is the old name of allow_data_loss" in said
    assert said.count("when_full=refuse: write memory_full_policy=reject") == 1


def test_an_unknown_durability_is_refused_with_one_line(run: Callable[..., Any]) -> None:
    done = run("serve", env={"DURABILITY": "always"})
    assert done.returncode == 2
    assert re.fullmatch(rb"recorder: DURABILITY: 'always' is not one of snapshot, commit .*\n", done.stderr)


@pytest.mark.parametrize(
    ("durability", "loss"), [("snapshot", "the last 1.5 s"), ("commit", "nothing that was acked")]
)
def test_it_announces_its_address_and_what_a_crash_can_lose(
    start_server: Callable[..., Any], durability: str, loss: str
) -> None:
    server = start_server("--persist", "--snapshot-interval", "1500", "--durability", durability)
    said = server.process.stdout.readline().decode()
    assert said == f"recording into {server.folder}/data/sessions.sqlite; a crash can lose {loss}\n"
    assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200


def test_without_persist_it_says_so_and_leaves_no_trace(start_server: Callable[..., Any]) -> None:
    server = start_server()
    assert server.process.stdout.readline().startswith(b"NOT RECORDING: ")
    assert server.stop() == 0
    assert [path.name for path in server.folder.iterdir()] == ["stderr"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order_and_the_log_is_json(number: int, server: Any) -> None:
    assert server.stop(number) == 0
    events = [json.loads(line) for line in server.errors.read_text().splitlines()]
    assert events[-1]["message"] == "stopped"
    assert not [event for event in events if "error" in event]


def test_an_address_in_use_is_one_line_and_exit_1(server: Any, run: Callable[..., Any]) -> None:
    port = server.url.rpartition(":")[2]
    done = run("serve", "--port", port)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use".encode() in done.stderr
    assert b"--port" in done.stderr


def test_its_announcement_can_be_had_as_json(tmp_path: Path, project_root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "recorder", "serve", "--port", "0", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(project_root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        process.terminate()
    assert (said["event"], said["recording"], said["dbPath"]) == ("listening", False, None)


def test_a_file_that_another_recorder_has_is_refused(server: Any, run: Callable[..., Any]) -> None:
    done = run(
        "serve", "--port", "0", "--persist", "--db-path", str(server.folder / "data" / "sessions.sqlite")
    )
    assert done.returncode == 1
    assert str(server.process.pid).encode() in done.stderr.splitlines()[-1]


def test_the_demo_publishes_by_itself(start_server: Callable[..., Any], tmp_path: Path) -> None:
    server = start_server("--demo-rate", "500")
    head = 0
    while head < 20:
        head = httpx.get(f"{server.url}/api/stats", trust_env=False).json()["head"]
    assert list(tmp_path.glob("server0/data")) == []
