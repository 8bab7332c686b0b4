"""`recorder query` from a database file and from a server, to a pipe and to a terminal."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from recorder.cli.table import cells
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


KILOBYTES = {"text": "word \u4f60\u597d " * 800, "tool": {"status": "running"}, "n": 1}


@pytest.fixture
def wide(database: Path, rows: list[ExportRow], add_rows: Callable[..., None]) -> Path:
    """A file with states of kilobytes, one change to a field of such, and a session with a long id."""
    before, after = (json.dumps({**KILOBYTES, "tool": {"status": s}}) for s in ("running", "failed"))
    long = rows[1]._replace(seq=6, session_id="agent/" + "x" * 80, lineage=None, before=None, after=before)
    more = [
        long._replace(type="created"),
        long._replace(seq=7, session_id="b", before=before, after=after),
        long._replace(seq=8, session_id="\u4f1a\u8bae\x1b[31m", before=after, after=before),
    ]
    with closing(sqlite3.connect(database)) as conn, conn:
        add_rows(conn, more)
    return database


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_a_table_fits_the_terminal_and_says_what_changed(
    wide: Path, ask: Callable[..., tuple[int, str]], columns: int
) -> None:
    code, written = ask("", "query", "--db", str(wide), columns=columns)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()
    assert (code, len(lines), "\x1b" in "".join(lines)) == (0, 8, False)
    assert max(map(cells, lines)) <= columns
    assert lines[0].split() == ["seq", "time", "UTC", "type", "session", "change"]
    assert [line.split()[0] for line in lines[1:]] == list("8765321")
    assert "tool.status: running → f" in lines[2]
    assert lines[2].split("updated")[1].split()[0] == "b"
    assert "! before is not what was" in lines[6]


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_blame_and_sessions_fit_the_terminal(
    wide: Path, ask: Callable[..., tuple[int, str]], columns: int
) -> None:
    code, written = ask("", "blame", "b", "/tool/status", "--db", str(wide), columns=columns)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()
    assert (code, max(map(cells, lines)) <= columns) == (0, True)
    assert lines[1].split()[0] == "7"
    assert lines[1].split()[-1] == '"failed"'
    code, written = ask("", "blame", "b", "--db", str(wide), columns=columns)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()
    assert (code, len(lines), max(map(cells, lines)) <= columns) == (0, 3, True)
    assert lines[0].split() == ["seq", "time", "UTC", "type", "change"]
    assert "→ text: word" in lines[1]
    code, written = ask("", "sessions", "--db", str(wide), columns=columns)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()
    assert (code, len(lines), max(map(cells, lines)) <= columns) == (0, 6, True)
    assert lines[0].split() == ["session", "state", "deltas", "changed", "last", "change"]
    assert [line.split()[1] for line in lines[1:]] == ["live", "live", "live", "deleted", "live"]
    assert "tool.status: running" in lines[2]


def test_colours_are_left_out_where_they_are_not_wanted(
    database: Path, ask: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[36mupdated\x1b[0m" in ask("", "query", "--db", str(database))[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in ask("", "query", "--db", str(database))[1]


def test_json_on_a_terminal_is_what_a_pipe_gets(
    invoke: Invoke, database: Path, ask: Callable[..., tuple[int, str]]
) -> None:
    piped = invoke("query", "--db", str(database))[1].decode()
    assert ask("", "query", "--json", "--db", str(database)) == (0, piped)


def test_a_long_answer_goes_through_the_pager(
    wide: Path, ask: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pager = tmp_path / "pager"
    pager.write_text('#!/bin/sh\nsed "s/^/paged: /"\n')
    pager.chmod(0o755)
    monkeypatch.setenv("PAGER", str(pager))
    assert "paged" not in ask("", "query", "--db", str(wide), pager=None)[1]
    (tmp_path / "long.json").write_text("[" + ",".join(map(str, range(100))) + "]")
    with closing(sqlite3.connect(wide)) as conn, conn:
        conn.execute(
            "UPDATE session_deltas SET after_state = ? WHERE id = 7", ((tmp_path / "long.json").read_text(),)
        )
    lines = ask("", "state", "b", "--db", str(wide), pager=None)[1].splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("paged: [", "paged: ]", 102)


def test_what_lineage_time_and_text_leave_is_shown(invoke: Invoke, wide: Path) -> None:
    assert seqs(invoke("query", "--db", str(wide), "--lineage", "broken")[1]) == [2]
    assert seqs(
        invoke("query", "--db", str(wide), "--happened-until", "2026-11-20T12:00:00Z", "-n", "2")[1]
    ) == [8, 7]
    assert invoke("query", "--db", str(wide), "--happened-since", "2026-11-20T12:00:01Z")[:2] == (0, b"")
    assert seqs(invoke("query", "--db", str(wide), "--grep", "failed")[1]) == [8, 7]
    assert seqs(invoke("query", "--db", str(wide), "--grep", "\u4f60\u597d", "-n", "1")[1]) == [8]
    assert seqs(invoke("query", "--db", str(wide), "--grep", 'x, "y"')[1]) == [2]
    assert seqs(invoke("query", "--db", str(wide), "--grep", "agent/x")[1]) == [6]
    assert invoke("query", "--db", str(wide), "--grep", "nowhere")[:2] == (0, b"")


def test_a_server_finds_the_same(invoke: Invoke, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(server.url, 25)
    delta = {"type": "updated", "sessionId": "s1", "before": "wrong", "after": "found it"}
    assert httpx.post(f"{server.url}/api/deltas", json=delta, trust_env=False).status_code == 201
    monkeypatch.setattr("recorder.cli.history.PAGE", 10)
    assert seqs(invoke("query", "--url", server.url, "--grep", "found it")[1]) == [26]
    assert seqs(invoke("query", "--url", server.url, "--lineage", "broken")[1]) == [26]
    assert seqs(invoke("query", "--url", server.url, "--happened-since", "1h", "-n", "1")[1]) == [26]
    listed = [json.loads(line) for line in invoke("sessions", "--url", server.url)[1].splitlines()]
    assert [(row["sessionId"], row["count"]) for row in listed] == [("s1", 9), ("s0", 9), ("s2", 8)]
    assert len(invoke("sessions", "--url", server.url, "-n", "2")[1].splitlines()) == 2


def publish(url: str, count: int) -> None:
    deltas = [
        {"type": "created" if n < 3 else "updated", "sessionId": f"s{n % 3}", "after": n}
        for n in range(count)
    ]
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


Invoke = Callable[..., tuple[int, bytes, str]]
