"""`recorder erase` at a running recorder, seen from the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

Invoke = Callable[..., tuple[int, bytes, str]]


def test_a_session_is_erased_and_the_doctor_is_content(invoke: Invoke, server: Any, tmp_path: Path) -> None:
    deltas = [{"type": "created", "sessionId": f"s{n}", "after": f"secret number {n}"} for n in range(3)]
    assert httpx.post(f"{server.url}/api/deltas", json=deltas, trust_env=False).status_code == 201
    invoke("snapshot", "--url", server.url)
    (path,) = tmp_path.rglob("sessions.sqlite")
    copy = path.with_name("sessions.sqlite.mine")
    copy.write_bytes(path.read_bytes())
    code, out, err = invoke("erase", "--session", "s1", "--reason", "asked to", "--url", server.url)
    answer = json.loads(out)
    assert (code, answer["count"], answer["receipt"]["reason"]) == (0, 1, "asked to")
    assert answer["copies"] == ["sessions.sqlite.mine"]
    assert err == "sessions.sqlite.mine, beside the database, may still hold it\n"
    assert b"secret number 1" not in path.read_bytes()
    assert b"secret number 2" in path.read_bytes()
    code, out, _ = invoke("doctor", "--db", str(path), "--json")
    report = json.loads(out)
    assert (code, report["verdict"], report["erased"]) == (0, "intact", 1)
    code, _, err = invoke("erase", "--session", "nobody", "--url", server.url)
    assert (code, "nothing of session 'nobody' is recorded" in err) == (1, True)
