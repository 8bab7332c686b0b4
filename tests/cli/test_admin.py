"""`recorder erase` at a running recorder, seen from the file."""

from __future__ import annotations

import json
import socket
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

Invoke = Callable[..., tuple[int, bytes, str]]


def contents(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as conn:
        facts = conn.execute("SELECT * FROM pragma_user_version, pragma_application_id").fetchall()
        return facts + conn.execute("SELECT * FROM session_deltas").fetchall()


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    """No recorder at the default URL."""
    monkeypatch.setattr("recorder.cli.admin.DEFAULT_URL", f"http://127.0.0.1:{free_port}")


@pytest.mark.usefixtures("nowhere")
def test_the_copy_is_consistent_private_and_complete(invoke: Invoke, database: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite"
    code, out, err = invoke("snapshot", "--db", str(database), "--to", str(target))
    assert (code, err.splitlines()[0].startswith("no recorder of this file")) == (0, True)
    assert json.loads(out) == {
        "dbPath": str(database),
        "copy": str(target),
        "fileSize": target.stat().st_size,
    }
    assert contents(target) == contents(database)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(tmp_path.iterdir()) == [target, database]


@pytest.mark.usefixtures("nowhere")
def test_a_file_that_exists_is_replaced_only_by_force(invoke: Invoke, database: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite"
    target.write_text("precious")
    code, _, err = invoke("snapshot", "--db", str(database), "--to", str(target))
    assert code == 1
    assert "--force" in err
    assert target.read_text() == "precious"
    assert invoke("snapshot", "--db", str(database), "--to", str(target), "--force")[0] == 0
    assert contents(target) == contents(database)


@pytest.mark.usefixtures("nowhere")
def test_the_database_is_never_its_own_target(invoke: Invoke, database: Path) -> None:
    before = database.read_bytes()
    code, _, err = invoke("snapshot", "--db", str(database), "--to", str(database), "--force")
    assert (code, "is the database itself" in err) == (1, True)
    assert database.read_bytes() == before


@pytest.mark.usefixtures("nowhere")
def test_a_damaged_source_leaves_no_copy(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "bad.sqlite").write_text("nothing of the kind" * 100)
    code, _, _ = invoke("snapshot", "--db", str(tmp_path / "bad.sqlite"), "--to", str(tmp_path / "copy"))
    assert code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.sqlite"]


def test_something_else_at_the_default_url_does_not_keep_from_copying(
    invoke: Invoke, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr("recorder.cli.admin.DEFAULT_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert invoke("snapshot", "--db", str(database), "--to", str(tmp_path / "copy"))[0] == 0
        thread.join(timeout=30)


def test_a_named_server_that_is_not_there_is_an_error(
    invoke: Invoke, database: Path, tmp_path: Path, free_port: int
) -> None:
    url = f"http://127.0.0.1:{free_port}"
    code, _, err = invoke("snapshot", "--db", str(database), "--to", str(tmp_path / "copy"), "--url", url)
    assert (code, url in err) == (1, True)


def publish(url: str) -> None:
    delta = {"type": "created", "sessionId": "s", "after": 1}
    assert httpx.post(f"{url}/api/deltas", json=delta, trust_env=False).status_code == 201


def test_a_running_recorder_brings_what_it_has_to_disk(invoke: Invoke, server: Any) -> None:
    publish(server.url)
    code, out, _ = invoke("snapshot", "--url", server.url)
    assert (code, json.loads(out)["durable"]) == (0, 1)
    assert len(contents(server.folder / "data" / "sessions.sqlite")) == 2


def test_a_copy_of_a_running_recorder_has_what_is_only_in_memory(
    invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    publish(server.url)
    file, target = server.folder / "data" / "sessions.sqlite", tmp_path / "copy.sqlite"
    code, _, err = invoke("snapshot", "--url", server.url, "--db", str(file), "--to", str(target))
    assert code == 0, err
    assert len(contents(target)) == 2
    assert server.stop() == 0


def test_a_server_that_has_another_file_is_not_mistaken_for_its_owner(
    invoke: Invoke, server: Any, database: Path, tmp_path: Path
) -> None:
    code, _, err = invoke(
        "snapshot", "--url", server.url, "--db", str(database), "--to", str(tmp_path / "copy")
    )
    assert code == 1
    assert f"records into {server.folder}/data/sessions.sqlite, not into {database}" in err
    assert not (tmp_path / "copy").exists()


def publish_many(url: str, count: int) -> None:
    deltas = [{"type": "created", "sessionId": f"s{n}", "after": n} for n in range(count)]
    assert httpx.post(f"{url}/api/deltas", json=deltas, trust_env=False).status_code == 201


def test_what_is_older_is_removed_and_counted(invoke: Invoke, server: Any) -> None:
    publish_many(server.url, 3)
    code, out, _ = invoke("prune", "--yes", "--older-than", "1d", "--url", server.url)
    assert (code, json.loads(out)["deleted"]) == (0, 0)
    code, out, _ = invoke("prune", "--yes", "--older-than", "9999-01-01T00:00:00Z", "--url", server.url)
    assert (code, json.loads(out)["deleted"]) == (0, 3)
    assert invoke("query", "--url", server.url) == (0, b"", "")


def test_without_a_time_the_settings_decide(invoke: Invoke, start_server: Callable[..., Any]) -> None:
    server = start_server("--persist", "--max-deltas", "2")
    publish_many(server.url, 5)
    # It may have pruned by itself a moment earlier: what counts is what is left.
    assert invoke("prune", "--yes", "--url", server.url)[0] == 0
    left = [json.loads(line)["seq"] for line in invoke("query", "--url", server.url)[1].splitlines()]
    assert left == [5, 4]


def test_a_session_is_erased_and_the_doctor_is_content(invoke: Invoke, server: Any, tmp_path: Path) -> None:
    deltas = [{"type": "created", "sessionId": f"s{n}", "after": f"secret number {n}"} for n in range(3)]
    assert httpx.post(f"{server.url}/api/deltas", json=deltas, trust_env=False).status_code == 201
    invoke("snapshot", "--url", server.url)
    (path,) = tmp_path.rglob("sessions.sqlite")
    copy = path.with_name("sessions.sqlite.mine")
    copy.write_bytes(path.read_bytes())
    code, out, err = invoke("erase", "--yes", "--session", "s1", "--reason", "asked to", "--url", server.url)
    answer = json.loads(out)
    assert (code, answer["count"], answer["receipt"]["reason"]) == (0, 1, "asked to")
    assert answer["copies"] == ["sessions.sqlite.mine"]
    assert err == "sessions.sqlite.mine, beside the database, may still hold it\n"
    assert b"secret number 1" not in path.read_bytes()
    assert b"secret number 2" in path.read_bytes()
    code, out, _ = invoke("doctor", "--db", str(path), "--json")
    report = json.loads(out)
    assert (code, report["verdict"], report["erased"]) == (0, "intact", 1)
    code, _, err = invoke("erase", "--yes", "--session", "nobody", "--url", server.url)
    assert (code, "nothing of session 'nobody' is recorded" in err) == (1, True)


@pytest.mark.parametrize(
    "command", [["prune"], ["prune", "--older-than", "1d"], ["erase", "--session", "s1"]]
)
def test_what_cannot_be_undone_is_refused_where_nobody_can_be_asked(
    command: list[str], invoke: Invoke, free_port: int
) -> None:
    code, out, err = invoke(*command, "--url", f"http://127.0.0.1:{free_port}")
    assert (code, out, err.count("\n")) == (2, b"", 1)
    assert "--yes" in err


def test_a_dry_run_says_how_much_and_changes_nothing(invoke: Invoke, server: Any) -> None:
    publish_many(server.url, 3)
    code, out, _ = invoke("prune", "--dry-run", "--older-than", "9999-01-01T00:00:00Z", "--url", server.url)
    assert (code, json.loads(out)["count"]) == (0, 3)
    code, out, _ = invoke("prune", "--dry-run", "--older-than", "1d", "--url", server.url)
    assert (code, json.loads(out)["count"]) == (0, 0)
    code, out, _ = invoke("erase", "--dry-run", "--session", "s1", "--url", server.url)
    assert (code, json.loads(out)) == (0, {"dryRun": True, "sessionId": "s1", "count": 1})
    assert invoke("erase", "--dry-run", "--session", "nobody", "--url", server.url)[0] == 1
    code, _, err = invoke("prune", "--dry-run", "--url", server.url)
    assert (code, "--older-than" in err) == (2, True)
    states = [
        json.loads(line)["delta"]["after"] for line in invoke("query", "--url", server.url)[1].splitlines()
    ]
    assert states == [2, 1, 0]


def test_on_a_terminal_it_asks_first_and_does_it_only_after_a_yes(
    server: Any, invoke: Invoke, ask: Callable[..., tuple[int, str]]
) -> None:
    publish_many(server.url, 3)
    erase = ("erase", "--session", "s1", "--url", server.url)
    code, text = ask("n\n", *erase)
    assert (code, "Erase what 1 delta of session s1 say" in text, "nothing was done" in text) == (
        1,
        True,
        True,
    )
    assert b'"after":1' in invoke("query", "--url", server.url)[1]
    code, text = ask("y\n", *erase)
    assert (code, "erased what 1 delta of session s1 said" in text) == (0, True)
    assert b'"after":1' not in invoke("query", "--url", server.url)[1]
    code, text = ask("y\n", "prune", "--older-than", "9999-01-01T00:00:00Z", "--url", server.url)
    assert (code, "removed 3 deltas" in text) == (0, True)
