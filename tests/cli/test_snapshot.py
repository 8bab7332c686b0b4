"""`recorder snapshot`: of a running recorder, and copies of files with and without one."""

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
    monkeypatch.setattr("recorder.cli.snapshot.DEFAULT_URL", f"http://127.0.0.1:{free_port}")


@pytest.mark.usefixtures("nowhere")
def test_the_copy_is_consistent_private_and_complete(invoke: Invoke, database: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite"
    code, out, err = invoke("snapshot", "--db", str(database), "--to", str(target))
    assert (code, out) == (0, b"")
    assert f"to {target}" in err
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
        monkeypatch.setattr(
            "recorder.cli.snapshot.DEFAULT_URL", f"http://127.0.0.1:{listener.getsockname()[1]}"
        )

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
