"""`recorder query` from a database file, to a pipe and to a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from recorder.protocol.export import ExportRow, ndjson_line

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
    database: Path, project_root: Path
) -> None:
    master, slave = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "recorder", "query", "--db", str(database)],
            cwd=database.parent,
            env={
                **os.environ,
                "PYTHONPATH": str(project_root),
                "COLUMNS": "120",
                "TERM": "xterm",
            },
            stdout=slave,
            timeout=50,
            check=True,
        )
        text = re.sub(r"\x1b\[[0-9;]*m", "", os.read(master, 65_536).decode())
    finally:
        os.close(master)
        os.close(slave)
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0].split()[:2] == ["seq", "recorded"]
    assert lines[1].split()[0] == "5"
    assert lines[2].endswith("123456789012345678901234567890")
    assert len(lines) == 5
    assert "\x1b" not in text
