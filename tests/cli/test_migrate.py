"""`recorder migrate`: there and back, and never under a running recorder."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from recorder.store.sqlite import schema
from recorder.store.sqlite.identity import locked
from tests.support.old_schemas import make_old_file

Invoke = Callable[..., tuple[int, bytes, str]]
NEWEST = str(schema.USER_VERSION)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "x.sqlite"
    make_old_file(path, schema.OLDEST_VERSION)
    return path


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as conn:
        return schema.version(conn)


def others(path: Path) -> list[str]:
    return sorted(
        item.name for item in path.parent.iterdir() if item.name not in (path.name, f"{path.name}.lock")
    )


def test_it_goes_there_and_back_and_tells_where_the_copies_are(invoke: Invoke, old: Path) -> None:
    copies = []
    for have, to in ((1, schema.USER_VERSION), (schema.USER_VERSION, 1)):
        code, out, _ = invoke("migrate", "--to", str(to), "--db", str(old))
        answer = json.loads(out)
        copies.append(answer.pop("copy"))
        assert (code, answer) == (0, {"dbPath": str(old), "from": have, "to": to})
        assert version_of(old) == to
        assert version_of(Path(copies[-1])) == have
    assert others(old) == sorted(Path(copy).name for copy in copies)


def test_the_version_that_it_has_needs_nothing(invoke: Invoke, old: Path) -> None:
    code, out, _ = invoke("migrate", "--to", "1", "--db", str(old))
    assert (code, json.loads(out)["copy"], others(old)) == (0, None, [])


def test_without_a_file_named_it_is_that_of_the_settings(
    invoke: Invoke, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PATH", str(old))
    assert invoke("migrate", "--to", NEWEST)[0] == 0
    assert version_of(old) == schema.USER_VERSION


@pytest.mark.parametrize("to", ["0", str(schema.USER_VERSION + 1), "new"])
def test_a_version_that_there_is_not_is_a_mistake_of_usage(invoke: Invoke, old: Path, to: str) -> None:
    code, _, err = invoke("migrate", "--to", to, "--db", str(old))
    assert (code, version_of(old)) == (2, 1)
    assert "--to" in err


def test_a_file_that_there_is_not_is_not_made(invoke: Invoke, tmp_path: Path) -> None:
    code, _, err = invoke("migrate", "--to", NEWEST, "--db", str(tmp_path / "no"))
    assert (code, list(tmp_path.iterdir())) == (1, [])
    assert "no such file" in err


def test_a_newer_file_is_refused_untouched(invoke: Invoke, old: Path) -> None:
    with closing(sqlite3.connect(old)) as conn:
        conn.execute(f"PRAGMA user_version = {schema.USER_VERSION + 1}")
    before = old.read_bytes()
    code, _, err = invoke("migrate", "--to", "1", "--db", str(old))
    assert (code, old.read_bytes(), others(old)) == (1, before, [])
    assert "use a newer recorder" in err


def test_a_file_that_a_recorder_has_is_refused(invoke: Invoke, old: Path) -> None:
    with locked(old):
        code, _, err = invoke("migrate", "--to", NEWEST, "--db", str(old))
    assert (code, version_of(old)) == (1, 1)
    assert "is in use by process" in err


def test_a_file_whose_commit_log_is_still_needed_is_refused(invoke: Invoke, old: Path) -> None:
    old.with_name("x.sqlite.commits.7").write_bytes(b"entries")
    code, _, err = invoke("migrate", "--to", NEWEST, "--db", str(old))
    assert (code, version_of(old)) == (1, 1)
    assert "x.sqlite.commits.7 has entries that are not in" in err


def test_a_damaged_file_is_refused_untouched(invoke: Invoke, old: Path) -> None:
    with closing(sqlite3.connect(old)) as conn:
        conn.execute("UPDATE sqlite_sequence SET seq = 7")
        conn.execute("INSERT INTO sqlite_sequence SELECT 'session_deltas', 7 WHERE changes() = 0")
        conn.commit()
    before = old.read_bytes()
    code, _, err = invoke("migrate", "--to", NEWEST, "--db", str(old))
    assert (code, old.read_bytes(), others(old)) == (1, before, [])
    assert "entries 1 to 7 are missing (it was left as it is" in err
    old.write_bytes(before[:8192])
    code, _, err = invoke("migrate", "--to", NEWEST, "--db", str(old))
    assert (code, old.read_bytes(), others(old)) == (1, before[:8192], [])
    assert "malformed" in err


def test_a_migration_writes_no_log_lines_beside_its_answer(old: Path) -> None:
    command = [sys.executable, "-m", "recorder", "migrate", "--to", NEWEST, "--db", str(old)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0
    # It tells of the folder's mode, where others may read it; that is no line of a log.
    assert "database migrated" not in done.stderr
    assert "WARNING" not in done.stderr
