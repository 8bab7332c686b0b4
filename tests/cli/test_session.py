"""`recorder state`, `diff` and `blame`: a file gives the bytes that a server gives."""

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

from recorder.cli.session import Point, point, session_path
from recorder.core.errors import InvalidQuery

Invoke = Callable[..., tuple[int, bytes, str]]
BIG = "123456789012345678901234567890"
BODY = f"""[
    {{"type":"created","sessionId":"a/b","after":{{"plan":[{{"status":"new"}}], "n" : {BIG}}}}},
    {{"type":"created","sessionId":"other","after":1}},
    {{"type":"updated","sessionId":"a/b","after":{{"plan":[{{"status":"done"}}],"n":1e2}}}},
    {{"type":"updated","sessionId":"a/b","after":{{"plan":[{{"status":"done"}}],"n":1e2,"m":null}}}},
    {{"type":"deleted","sessionId":"other"}}
]"""
SAME = [
    ("state", "a/b"),
    ("state", "a/b", "--at", "1"),
    ("state", "a/b", "--at", "2"),
    ("state", "other"),
    ("diff", "a/b"),
    ("diff", "a/b", "--from", "0", "--to", "1"),
    ("diff", "a/b", "--from", "1", "--to", "3", "--merge"),
    ("diff", "other"),
    ("blame", "a/b", "/plan/0/status"),
    ("blame", "a/b", "/n", "-n", "1"),
    ("blame", "a/b"),
    ("blame", "other"),
]
WRONG = [
    (1, "state", "nobody"),
    (1, "state", "a/b", "--at", "0"),
    (1, "diff", "nobody"),
    (1, "blame", "nobody"),
    (2, "state", "a/b", "--at", "soon"),
    (2, "state", "a/b", "--at", "9" * 20),
    (2, "diff", "a/b", "--from", "3", "--to", "4", "--merge"),
    (2, "blame", "a/b", "plan"),
]


def test_a_file_gives_what_a_server_gives(invoke: Invoke, server: Any) -> None:
    httpx.post(f"{server.url}/api/deltas", content=BODY, trust_env=False).raise_for_status()
    httpx.post(f"{server.url}/api/admin/snapshot", trust_env=False).raise_for_status()
    database = server.folder / "data" / "sessions.sqlite"
    for command in SAME:
        by_url = invoke(*command, "--url", server.url)
        assert by_url == invoke(*command, "--db", str(database)), command
        assert (by_url[0], by_url[2]) == (0, ""), command
    for code, *command in WRONG:
        for source in (("--url", server.url), ("--db", str(database))):
            assert invoke(*command, *source)[:2] == (code, b""), (command, source)
    assert invoke("state", "a/b", "--at", "2", "--url", server.url)[1].decode() == (
        f'{{"plan":[{{"status":"new"}}], "n" : {BIG}}}\n'
    )
    assert invoke("diff", "a/b", "--db", str(database))[1] == b'[{"op":"add","path":"/m","value":null}]\n'
    touches = [
        json.loads(line)
        for line in invoke("blame", "a/b", "/plan/0/status", "--db", str(database))[1].splitlines()
    ]
    assert [(touch["seq"], touch.get("before"), touch["after"]) for touch in touches] == [
        (3, "new", "done"),
        (1, None, "new"),
    ]


def test_a_server_is_walked_back_page_by_page(
    invoke: Invoke, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    deltas = [{"type": "updated", "sessionId": "s", "after": {"n": n // 2}} for n in range(20)]
    httpx.post(f"{server.url}/api/deltas", json=deltas, trust_env=False).raise_for_status()
    monkeypatch.setattr("recorder.cli.session.PAGE", 3)
    out = invoke("blame", "s", "/n", "--url", server.url)[1]
    assert [json.loads(line)["seq"] for line in out.splitlines()] == list(range(19, 0, -2))
    assert len(invoke("blame", "s", "/n", "-n", "4", "--url", server.url)[1].splitlines()) == 4


def test_what_was_pruned_is_known_by_the_state_that_was_kept(invoke: Invoke, database: Path) -> None:
    base = ("old", 4, "2026-11-20T12:00:02.500Z", '{"n":7}')
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        conn.execute(
            "INSERT INTO session_bases(session_id, seq, recorded_at, state) VALUES (?, ?, ?, ?)", base
        )
    for at in ((), ("--at", "4"), ("--at", "2026-11-20T12:00:02.500Z")):
        assert invoke("state", "old", *at, "--db", str(database))[1] == b'{"n":7}\n'
    for at in (("--at", "3"), ("--at", "2026-11-20T12:00:02.499Z")):
        assert invoke("state", "old", *at, "--db", str(database))[0] == 1


def test_a_table_on_a_terminal_without_control_characters_from_data(
    database: Path, on_terminal: Callable[..., str]
) -> None:
    written = on_terminal("-m", "recorder", "blame", "a", "", "--db", str(database))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()
    assert lines[0].split() == ["seq", "time", "UTC", "type", "change"]
    assert len(lines) == 3
    assert "".join(lines).isprintable()


def test_a_point_is_a_seq_a_time_or_how_long_ago() -> None:
    assert point(None, "--at") is None
    assert point("97", "--at") == Point(seq=97)
    assert point("2026-11-20T13:00:00+01:00", "--at") == Point(time="2026-11-20T12:00:00.000Z")
    ago = point("15m", "--at")
    assert ago is not None
    assert re.fullmatch(r"\d{4}-.*Z", ago.text)
    with pytest.raises(InvalidQuery, match="--at"):
        point("-3", "--at")
    assert session_path("a/ü?", "diff") == "/api/sessions/a%2F%C3%BC%3F/diff"


@pytest.mark.parametrize("name", [".", ".."])
def test_a_session_named_like_a_directory_is_found(invoke: Invoke, server: Any, name: str) -> None:
    body = json.dumps({"type": "created", "sessionId": name, "after": {"n": 1}})
    httpx.post(f"{server.url}/api/deltas", content=body, trust_env=False).raise_for_status()
    assert invoke("state", name, "--url", server.url)[:2] == (0, b'{"n": 1}\n')
    assert invoke("diff", name, "--url", server.url)[0] == 0
    status, out, _ = invoke("blame", name, "/n", "--url", server.url)
    assert (status, json.loads(out)["after"]) == (0, 1)


def test_what_is_no_point_is_told_that_a_seq_is_one() -> None:
    with pytest.raises(InvalidQuery, match=r"^--at: 'soon' is not a seq, a time \(.*\) or how long ago"):
        point("soon", "--at")


@pytest.mark.parametrize("command", ["state", "diff", "blame"])
def test_an_unknown_session_is_answered_with_the_command_that_lists_them(
    command: str, invoke: Invoke, database: Path
) -> None:
    code, _, err = invoke(command, "nobody", "--db", str(database))
    assert code == 1
    assert "'recorder sessions' lists the sessions" in err
