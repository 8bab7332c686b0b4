"""`recorder tail`: a process that follows a running recorder, through its restarts too."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

Invoke = Callable[..., tuple[int, bytes, str]]
Tail = Callable[..., "Follower"]


class Follower:
    """A running `recorder tail`."""

    def __init__(self, root: Path, folder: Path, *arguments: str) -> None:
        self.errors = folder / "tail-stderr"
        with self.errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "recorder", "tail", *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(root)},
                stdout=subprocess.PIPE,
                stderr=stderr,
                # Unbuffered, or select would not see what has been read ahead.
                bufsize=0,
            )

    def line(self) -> str:
        """The next line."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 30)
        assert ready, self.errors.read_text()
        return self.process.stdout.readline().decode().rstrip("\n")

    def event(self) -> dict[str, Any]:
        """The next line of JSON."""
        event: dict[str, Any] = json.loads(self.line())
        return event

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout=30)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()


@pytest.fixture
def tail(project_root: Path, tmp_path: Path) -> Iterator[Tail]:
    """`tail("--json", …)`: a follower, stopped at the end."""
    started: list[Follower] = []

    def start(*arguments: str) -> Follower:
        started.append(Follower(project_root, tmp_path, *arguments))
        return started[-1]

    yield start
    for follower in started:
        if follower.process.poll() is None:
            follower.stop()


def publish(url: str, *texts: str) -> None:
    body = "[" + ",".join(texts) + "]"
    assert httpx.post(f"{url}/api/deltas", content=body, trust_env=False).status_code == 201


def created(session: str, after: str = "1") -> str:
    return f'{{"type":"created","sessionId":"{session}","after":{after}}}'


def test_what_comes_is_shown_as_it_comes_byte_for_byte(tail: Tail, server: Any) -> None:
    follower = tail("--json", "--url", server.url)
    assert follower.event()["event"] == "live"
    publish(server.url, created("a", '{"n": 1e2 }'))
    assert '"after":{"n": 1e2 }' in follower.line()
    publish(server.url, created("b", '{\n"n":1}'))
    event = follower.event()
    assert (event["event"], event["seq"], event["exact"]) == ("delta", 2, {"after": '{\n"n":1}'})
    assert follower.stop() == 130
    assert follower.errors.read_text() == ""


def test_filters_and_since_count(tail: Tail, server: Any) -> None:
    publish(server.url, created("a"), created("b"), '{"type":"updated","sessionId":"a","after":2}')
    follower = tail(
        "--json", "--since", "earliest", "--session", "a", "--type", "updated", "--url", server.url
    )
    assert follower.event()["seq"] == 3
    assert tail("--json", "--since", "2", "--url", server.url).event()["seq"] == 3
    assert tail("--json", "--since", "1h", "--url", server.url).event()["seq"] == 1
    states = tail("--json", "--since", "state", "--url", server.url)
    assert [states.event()["event"] for _ in range(3)] == ["state", "state", "live"]


@pytest.mark.parametrize(("count", "first"), [("2", 4), ("9", 1)])
def test_the_last_ones_come_first_and_nothing_is_missed_or_doubled(
    count: str, first: int, tail: Tail, server: Any
) -> None:
    publish(server.url, *[created(f"s{n}") for n in range(5)])
    follower = tail("-n", count, "--json", "--url", server.url)
    assert [follower.event()["seq"] for _ in range(first, 6)] == list(range(first, 6))
    publish(server.url, created("x"))
    assert [event["seq"] for event in (follower.event(), follower.event()) if event["event"] == "delta"] == [
        6
    ]


def test_the_last_ones_of_a_session_without_any_begin_with_its_first(tail: Tail, server: Any) -> None:
    publish(server.url, created("a"))
    follower = tail("-n", "5", "--session", "b", "--json", "--url", server.url)
    assert follower.event()["event"] == "live"
    publish(server.url, created("a2"), created("b"))
    assert follower.event()["seq"] == 3


def test_what_cannot_be_verified_is_said_once(tail: Tail, server: Any) -> None:
    publish(server.url, *[created("ab"[n % 2]) for n in range(6)], created("b"))
    follower = tail("--verify", "--json", "--since", "earliest", "--session", "b", "--url", server.url)
    assert [follower.event().get("seq") for _ in range(5)] == [2, 4, 6, 7, 7]  # live is at 7, too
    assert follower.stop() == 130
    assert follower.errors.read_text().splitlines() == [
        "seq 2: not verified from here on: the hash before the start is not known",
        "seq 4: not verified from here on: the delta before was not sent",
        "seq 7: verified from here on",
    ]
    everything = httpx.get(f"{server.url}/api/deltas?order=asc", trust_env=False).json()
    whole = tail("--verify", "--since", f"{everything['epoch']}:0:{'0' * 64}", "--url", server.url)
    assert [whole.line().split()[1] for _ in range(7)] == list("1234567")
    last = tail("-n", "3", "--verify", "--url", server.url)
    assert [last.line().split()[1] for _ in range(3)] == list("567")
    publish(server.url, created("c"))
    assert last.line().split()[1] == "8"
    assert last.stop() == 130
    assert last.errors.read_text() == ""


def test_what_was_erased_is_said_and_shown_without_it(tail: Tail, server: Any) -> None:
    publish(server.url, created("a", '"secret"'))
    follower = tail("--json", "--since", "0", "--url", server.url)
    assert [follower.event()["event"] for _ in range(2)] == ["delta", "live"]
    answer = httpx.post(f"{server.url}/api/admin/erase", json={"sessionId": "a"}, trust_env=False)
    assert answer.json()["count"] == 1
    event = follower.event()
    assert (event["event"], event["sessionId"], event["through"], event["count"]) == ("erased", "a", 1, 1)
    assert follower.stop() == 130
    assert follower.errors.read_text() == "erased: what session a said up to seq 1; copies are to go, too\n"
    again = tail("--since", "earliest", "--verify", "--url", server.url)
    assert again.line().split()[1:] == ["1", "created", "a", "(erased)"]
    assert again.stop() == 130
    assert again.errors.read_text() == ""


def test_a_restart_of_the_recorder_is_survived_without_gap_or_duplicate(
    tail: Tail, start_server: Callable[..., Any], free_port: int
) -> None:
    first = start_server("--persist", "--port", str(free_port))
    follower = tail("--json", "--url", first.url)
    assert follower.event()["event"] == "live"
    publish(first.url, created("a"))
    assert follower.event()["seq"] == 1
    assert first.stop() == 0
    file = str(first.folder / "data" / "sessions.sqlite")
    second = start_server("--persist", "--port", str(free_port), "--db-path", file)
    publish(second.url, created("b"))
    events = [follower.event()]
    while events[-1].get("seq") != 2 or events[-1]["event"] != "delta":
        events.append(follower.event())
    assert [event["seq"] for event in events if event["event"] == "delta"] == [2]
    said = follower.errors.read_text()
    assert "trying again in" in said
    assert "connected again" in said


def test_a_new_epoch_is_said_and_the_states_follow(
    tail: Tail, start_server: Callable[..., Any], free_port: int
) -> None:
    first = start_server("--persist", "--port", str(free_port))
    follower = tail("--json", "--url", first.url)
    assert follower.event()["event"] == "live"
    publish(first.url, created("lost"))
    assert follower.event()["seq"] == 1
    first.kill()
    file = str(first.folder / "data" / "sessions.sqlite")
    start_server("--persist", "--port", str(free_port), "--db-path", file)
    assert follower.event()["reason"] == "epoch_changed"
    assert "reset (epoch_changed)" in follower.errors.read_text()


def test_pretty_lines_are_plain_in_a_pipe_and_control_characters_are_shown(tail: Tail, server: Any) -> None:
    publish(
        server.url,
        created("a\x7f".replace("\x7f", "é"), '"\\u001b[31m\u202e"'),
        '{"type":"deleted","sessionId":"z"}',
    )
    follower = tail("--since", "earliest", "--url", server.url)
    line = follower.line()
    assert re.fullmatch(r"\S{24} 1 created aé \\x1b\[31m\\u202e", line)
    assert follower.line().split()[1:] == ["2", "deleted", "z"]


def test_pretty_lines_are_cut_to_a_terminal(server: Any, project_root: Path, tmp_path: Path) -> None:
    publish(server.url, created("a" * 200, '"' + "x" * 500 + '"'))
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "recorder", "tail", "-n", "1", "--url", server.url],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(project_root), "COLUMNS": "60", "TERM": "xterm"},
        stdout=slave,
        stderr=subprocess.PIPE,
    ) as process:
        text = os.read(master, 65_536)
        publish(server.url, created("b"))
        while text.count(b"\n") < 2:
            text += os.read(master, 65_536)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    os.close(master)
    os.close(slave)
    assert (process.returncode, err) == (130, b"")
    first, second = re.sub(rb"\x1b\[[0-9;]*m", b"", text).decode().splitlines()
    assert len(first.rstrip()) == 60
    assert first.endswith("…")
    assert second.rstrip().endswith(" 2 created b 1")
    assert b"\x1b[" in text


def test_a_reader_that_goes_away_ends_it(server: Any, project_root: Path, tmp_path: Path) -> None:
    publish(server.url, *[created(f"s{n}") for n in range(50)])
    with subprocess.Popen(
        [sys.executable, "-m", "recorder", "tail", "--since", "earliest", "--url", server.url],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(project_root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        while process.poll() is None:
            publish(server.url, '{"type":"updated","sessionId":"s0","after":2}')
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (141, b"")


def test_a_recorder_that_is_not_there_is_one_line(invoke: Invoke, free_port: int) -> None:
    code, out, err = invoke("tail", "--url", f"http://127.0.0.1:{free_port}")
    assert (code, out) == (1, b"")
    assert err.count("\n") == 1
    assert f"http://127.0.0.1:{free_port} cannot be reached: Connection refused" in err


@pytest.mark.parametrize("arguments", [["--since", "yesterday"], ["--since", "1", "-n", "1"], ["-n", "0"]])
def test_what_is_asked_wrongly_is_exit_2(arguments: list[str], invoke: Invoke) -> None:
    code, _, err = invoke("tail", *arguments)
    assert (code, err.count("\n")) == (2, 1)


def test_what_a_delta_changed_is_shown_and_not_the_whole_state(tail: Tail, server: Any) -> None:
    publish(
        server.url,
        created("a", '{"n":1,"tool":{"status":"running"},"text":"' + "long " * 5000 + '"}'),
        '{"type":"updated","sessionId":"a","after":{"n":2,"tool":{"status":"failed"},"text":"'
        + "long " * 5000
        + '"}}',
    )
    follower = tail("--since", "1", "--url", server.url)
    assert follower.line().split(" ", 1)[1] == "2 updated a tool.status: running → failed · n: 1 → 2"


def test_a_recorder_that_does_not_record_is_said_to(tail: Tail, start_server: Callable[..., Any]) -> None:
    server = start_server()
    follower = tail("--json", "--url", server.url)
    assert follower.event()["event"] == "live"
    assert follower.stop() == 130
    assert follower.errors.read_text().startswith("NOT RECORDING: ")
