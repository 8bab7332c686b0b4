"""`recorder query` from a database file and from a server, to a pipe and to a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from recorder.wire.export import ExportRow, ndjson_line

Invoke = Callable[..., tuple[int, bytes, str]]


def seqs(out: bytes) -> list[int]:
    return [json.loads(line)["seq"] for line in out.splitlines()]


def test_lines_of_json_newest_first_when_stdout_is_no_terminal(
    invoke: Invoke, database: Path, rows: list[ExportRow]
) -> None:
    code, out, err = invoke("query", "--db", str(database))
    assert (code, err) == (0, "")
    assert out == b"".join(map(ndjson_line, rows[::-1]))


def test_order_limit_and_filters_count(invoke: Invoke, database: Path) -> None:
    assert seqs(invoke("query", "--db", str(database), "-n", "2")[1]) == [5, 3]
    assert seqs(invoke("query", "--db", str(database), "--order", "asc", "--limit", "2")[1]) == [1, 2]
    assert seqs(invoke("query", "--db", str(database), "--session", "a", "--session", "b")[1]) == [3, 2, 1]
    assert seqs(invoke("query", "--db", str(database), "--since", "2026-11-20T12:00:02Z")[1]) == [5, 3]
    assert seqs(invoke("query", "--db", str(database), "--before", "3", "--after", "1")[1]) == [2]


def test_a_table_on_a_terminal_without_control_characters_from_data(
    database: Path, on_terminal: Callable[..., str]
) -> None:
    written = on_terminal("-m", "recorder", "query", "--db", str(database))
    text = re.sub(r"\x1b\[[0-9;]*m", "", written)
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0].split()[:2] == ["seq", "recorded"]
    assert lines[1].split()[0] == "5"
    assert lines[2].endswith("123456789012345678901234567890")
    assert len(lines) == 5
    assert "\x1b" not in text


def publish(url: str, count: int) -> None:
    deltas = [{"type": "created", "sessionId": f"s{n % 3}", "after": n} for n in range(count)]
    assert httpx.post(f"{url}/api/deltas", json=deltas, trust_env=False).status_code == 201


def test_a_server_is_asked_page_by_page(invoke: Invoke, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(server.url, 25)
    monkeypatch.setattr("recorder.cli.history.PAGE", 10)
    assert seqs(invoke("query", "--url", server.url)[1]) == list(range(25, 0, -1))
    assert seqs(invoke("query", "--url", server.url, "-n", "13", "--order", "asc")[1]) == list(range(1, 14))
    assert seqs(
        invoke("query", "--url", server.url, "--session", "s0", "--after", "5", "--before", "12")[1]
    ) == [10, 7]
    assert invoke("query", "--url", server.url, "--type", "deleted")[:2] == (0, b"")


def test_a_server_and_its_file_answer_with_the_same_bytes(invoke: Invoke, server: Any) -> None:
    first = b'{"type":"created","sessionId":"a\\"b","after":{\r\n"x": 1e2 }}'
    second = b'{"type":"updated","sessionId":"a\\"b","after":"\\ud83d"}'
    body = b"[" + first + b"," + second + b"]"
    assert httpx.post(f"{server.url}/api/deltas", content=body, trust_env=False).status_code == 201
    from_server = invoke("query", "--url", server.url)
    exports = [invoke("export", "--url", server.url, "-f", form) for form in ("ndjson", "json", "csv")]
    assert server.stop() == 0
    file = str(server.folder / "data" / "sessions.sqlite")
    assert invoke("query", "--db", file) == from_server
    assert [invoke("export", "--db", file, "-f", form) for form in ("ndjson", "json", "csv")] == exports


def test_a_server_that_does_not_record_says_so(invoke: Invoke, start_server: Callable[..., Any]) -> None:
    code, out, err = invoke("query", "--url", start_server().url)
    assert (code, out) == (1, b"")
    assert err.startswith("recorder: recording is off")
