"""`recorder doctor`: its answers, exit codes and options, on files and on a running recorder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from recorder.wire.statements import signed_members
from tests.support.tampering import Recording, make_recording, run_sql

Invoke = Callable[..., tuple[int, bytes, str]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A recording. Not to be touched."""
    return asyncio.run(make_recording(tmp_path_factory.mktemp("original")))


@pytest.fixture
def recording(original: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """A copy of it, at DB_PATH, with its key at KEY_FILE and its heads in heads.ndjson."""
    tmp_path.chmod(0o700)
    found = original.copied(tmp_path)
    monkeypatch.setenv("RECORDER_KEY_FILE", str(original.path.parent / "keys" / "signing.key"))
    monkeypatch.setenv("RECORDER_DB_PATH", str(found.path))
    (tmp_path / "heads.ndjson").write_bytes(
        b"\n".join(orjson.dumps(signed_members(head)) for head in found.heads) + b"\n"
    )
    return found


def test_an_intact_file_is_told_for_people_with_the_verdict_last(
    invoke: Invoke, recording: Recording
) -> None:
    code, out, err = invoke("doctor", "--expect", str(recording.path.with_name("heads.ndjson")))
    lines = out.decode().splitlines()
    assert (code, lines[0], err) == (0, str(recording.path), "")
    assert lines[1].startswith("  45 links checked, seq 16 to 60 (")
    assert "2 from elsewhere; signed through 60" in lines[2]
    assert lines[-1] == 'verdict: intact; 10 pruned under "30 days"; 5 pruned under "45 deltas"; 1 erased'


def test_a_broken_file_is_told_for_programs_with_the_first_bad_seq(
    invoke: Invoke, recording: Recording
) -> None:
    run_sql("UPDATE session_deltas SET timestamp = '' WHERE id = 33")(recording)
    code, out, _ = invoke("doctor", "--db", str(recording.path), "--json")
    report = json.loads(out)
    assert (code, report["verdict"], report["checked"]) == (1, "broken", 45)
    assert report["firstBad"] == {
        "level": "broken", "kind": "edited", "seq": 33, "through": 33, "text": "entry 33 is not what was recorded",
    }  # fmt: skip
    assert report["findings"][0] == report["firstBad"]
    assert report["summary"] == "broken; first bad seq 33, edited: entry 33 is not what was recorded"


def test_what_cannot_be_told_exits_with_three(
    invoke: Invoke, recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = invoke("doctor", "--db", str(tmp_path / "absent"))
    assert (code, out, err.count("\n")) == (3, b"", 1)
    assert "absent: no such file" in err
    other = tmp_path / "other"
    other.write_bytes(b"something else" * 100)
    code, out, _ = invoke("doctor", "--db", str(other), "--json")
    assert (code, json.loads(out)["verdict"], json.loads(out)["checked"]) == (3, "cannot tell", 0)
    monkeypatch.setenv("RECORDER_KEY_FILE", str(tmp_path / "nobody" / "key"))
    code, out, _ = invoke("doctor")
    assert (code, b"a key that is not known here" in out) == (3, True)
    assert not (tmp_path / "nobody").exists()


def test_a_schema_that_is_no_text_cannot_be_told(invoke: Invoke, recording: Recording) -> None:
    damage = "UPDATE sqlite_master SET name = CAST(x'ff' AS TEXT) WHERE name = 'session_deltas'"
    run_sql("PRAGMA writable_schema = ON", damage)(recording)
    code, out, _ = invoke("doctor", "--json")
    assert (code, json.loads(out)["verdict"]) == (3, "cannot tell")
    assert "malformed database schema" in out.decode()
    code, _, err = invoke("stats", "--db", str(recording.path))
    assert (code, "malformed database schema" in err) == (1, True)


def test_keys_are_believed_that_are_named_or_that_signed_what_is_expected(
    invoke: Invoke, recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = recording.path.with_name("heads.ndjson")
    monkeypatch.setenv("RECORDER_KEY_FILE", "none")
    (key,) = recording.keys
    assert invoke("doctor", "--key", key)[0] == 0
    assert invoke("doctor", "--expect", str(log))[0] == 0
    code, _, err = invoke("doctor", "--key", str(tmp_path / "absent"))
    assert (code, "absent" in err) == (2, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "holds no head"), ("{}\n", "line 1: not a signed head: epoch is missing"), ("x", "line 1")],
)
def test_a_log_that_holds_something_else_is_a_wrong_question(
    invoke: Invoke, recording: Recording, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "bad").write_text(text)
    code, _, err = invoke("doctor", "--expect", str(tmp_path / "bad"))
    assert (code, said in err) == (2, True), err
    assert invoke("doctor", "--expect", str(tmp_path / "absent"))[0] == 2
    assert invoke("doctor", "--db", "x", "--url", "http://127.0.0.1:1")[0] == 2


def test_control_characters_of_data_do_not_reach_a_terminal(invoke: Invoke, recording: Recording) -> None:
    run_sql("UPDATE prunes SET policy = char(27) || '[2J'")(recording)
    assert b"\x1b" not in invoke("doctor")[1]


def publish(url: str, *states: Any, session: str = "s") -> None:
    deltas = [{"type": "updated", "sessionId": session, "after": state} for state in states]
    assert httpx.post(f"{url}/api/deltas", json=deltas, trust_env=False).status_code == 201


def test_a_running_recorder_is_verified_by_what_it_serves(
    invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    publish(server.url, *range(1200))
    publish(server.url, {"odd": [1e2, "é\n"], "erased": None}, session='the "other"')
    log = tmp_path / "heads.ndjson"
    assert invoke("heads", "--url", server.url, "--append", str(log))[0] == 0
    code, out, _ = invoke("doctor", "--url", server.url, "--expect", str(log), "--json")
    report = json.loads(out)
    assert (code, report["verdict"], report["checked"], report["last"]) == (0, "intact", 1201, 1201), report
    assert (report["heads"], report["expectedHeads"]) == (1, 1)
    httpx.post(f"{server.url}/api/admin/prune", json={"olderThan": "2999-01-01T00:00:00Z"}, trust_env=False)
    publish(server.url, "one more")
    code, out, _ = invoke("doctor", "--url", server.url, "--json")
    report = json.loads(out)
    assert (code, report["checked"], report["first"], report["pruned"][0]["count"]) == (0, 1, 1202, 1201), (
        report
    )
    # Its own head of now, from where it is served, is a head from elsewhere for its file.
    httpx.post(f"{server.url}/api/admin/snapshot", trust_env=False)
    file = server.folder / "data" / "sessions.sqlite"
    code, out, _ = invoke("doctor", "--db", str(file), "--expect", server.url, "--json")
    assert (code, json.loads(out)["expectedHeads"]) == (0, 1), out


def test_a_server_that_is_no_recorder_or_not_there_cannot_be_told(invoke: Invoke, free_port: int) -> None:
    code, out, _ = invoke("doctor", "--url", f"http://127.0.0.1:{free_port}")
    assert (code, b"cannot reach" in out) == (3, True)
