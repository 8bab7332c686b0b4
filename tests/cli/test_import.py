"""`recorder import`: logs of others into a running recorder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from recorder.core.errors import NotAllowed

Invoke = Callable[..., tuple[int, bytes, str]]

GOOD = (
    '{"op":"c","before":null,"after":{"id":%d,"n":1e2},"source":{"db":"d","table":"t"},"ts_ms":1700000000000}'
)


def log(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def head(url: str) -> int:
    answer: int = httpx.get(f"{url}/api/stats", trust_env=False).json()["head"]
    return answer


def test_a_log_becomes_deltas_with_their_states_byte_for_byte(
    invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    path = log(tmp_path, GOOD % 1, GOOD % 2)
    code, out, err = invoke("import", str(path), "--format", "debezium", "--key", "id", "--url", server.url)
    assert (code, err) == (0, "2 deltas published\n")
    assert out.endswith(b":2\n")
    assert b'"after":{"id":2,"n":1e2}' in invoke("export", "--url", server.url)[1]


def test_the_first_bad_record_ends_it_and_what_was_before_is_recorded(
    invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    path = log(tmp_path, GOOD % 1, '{"op":"q"}', GOOD % 3)
    code, out, err = invoke("import", str(path), "-f", "debezium", "--key", "id", "--url", server.url)
    assert (code, out) == (1, b"")
    first, last = err.splitlines()
    assert first == "1 delta published"
    assert last.startswith(f"recorder: {path}: line 2: ")
    assert head(server.url) == 1


def test_bad_records_are_passed_over_when_told_to_and_counted(
    invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    path = log(tmp_path, GOOD % 1, '{"op":"q"}', "{", GOOD % 4)
    code, out, err = invoke(
        "import", str(path), "-f", "debezium", "--key", "id", "--skip-bad", "--url", server.url
    )
    assert (code, out.count(b"\n")) == (0, 1)
    assert [
        line.startswith(f"recorder: {path}: line {n}: ")
        for n, line in zip((2, 3), err.splitlines(), strict=False)
    ] == [True, True]
    assert err.splitlines()[-1] == "2 deltas published, 2 bad records skipped"
    assert head(server.url) == 2


@pytest.mark.parametrize("skip", [False, True])
def test_a_delta_that_the_recorder_refuses_is_a_bad_record_too(
    skip: bool, invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    path = tmp_path / "in.ndjson"
    texts = [f'{{"type":"created","sessionId":"s{n}","after":{n},"id":"same{n}"}}' for n in range(4)]
    texts[2] = texts[1].replace(":1", ":9")
    path.write_text("\n".join(texts))
    flags = ["--skip-bad"] if skip else []
    code, _, err = invoke("import", str(path), "-f", "ndjson", "--url", server.url, *flags)
    assert f"recorder: {path}: line 3: " in err
    assert "same1" in err
    if skip:
        assert (code, head(server.url), err.splitlines()[-1]) == (
            0,
            3,
            "3 deltas published, 1 bad record skipped",
        )
    else:
        assert (code, head(server.url), err.splitlines()[0]) == (1, 2, "2 deltas published")


def test_a_file_that_is_not_there_ends_it_behind_the_ones_before(
    invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    path = log(tmp_path, GOOD % 1)
    code, _, err = invoke("import", str(path), "none", "-f", "debezium", "--key", "id", "--url", server.url)
    assert (code, head(server.url)) == (1, 1)
    assert err == "1 delta published\nrecorder: none: cannot be read: No such file or directory\n"


def test_an_export_imported_into_a_new_recorder_gives_the_same_states_byte_for_byte(
    invoke: Invoke, start_server: Callable[..., Any], database: Path, tmp_path: Path
) -> None:
    first, second = start_server("--persist"), start_server("--persist")
    export = tmp_path / "export.ndjson"
    assert invoke("export", "--db", str(database), "-o", str(export))[0] == 0
    assert invoke("import", str(export), "-f", "ndjson", "--url", first.url)[0] == 0
    again = tmp_path / "again.ndjson"
    assert invoke("export", "--url", first.url, "-o", str(again))[0] == 0
    assert invoke("import", str(again), "-f", "ndjson", "--url", second.url)[0] == 0
    exports = [
        invoke("export", *args)[1]
        for args in (["--db", str(database)], ["--url", first.url], ["--url", second.url])
    ]
    deltas = [
        [(entry := json.loads(line))["delta"] | entry.get("exact", {}) for line in text.splitlines()]
        for text in exports
    ]
    # What had no id gets one, so that the export imported again is known.
    for delta in (delta for found in deltas for delta in found):
        if str(delta.get("id", "")).startswith("ndjson:"):
            del delta["id"]
    assert deltas[0] == deltas[1] == deltas[2]
    assert (
        invoke("import", str(export), "-f", "ndjson", "--url", first.url)[2]
        == "0 deltas published, 4 known already\n"
    )
    without = re.sub(rb',"id":"ndjson:[0-9a-f]{40}"', b"", exports[2])
    for line in exports[0].splitlines():
        assert line.partition(b',"delta":')[2] in without


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("debezium", "debezium/*.json"),
        ("swe-agent", "swe_agent/**/*.traj"),
        ("claude-code", "claude_code/**/*.jsonl"),
    ],
)
def test_real_logs_go_in_whole(
    form: str, pattern: str, invoke: Invoke, server: Any, shared_data: Path
) -> None:
    files = [str(path) for path in sorted(shared_data.glob(pattern))]
    assert files
    code, out, err = invoke("import", *files, "--format", form, "--skip-bad", "--url", server.url)
    assert code == 0, err
    published = int(err.splitlines()[-1].split()[0].replace(",", ""))
    assert published > 10
    again = invoke("import", *files, "--skip-bad", "--url", server.url)[2].splitlines()[-1]
    assert again.startswith(f"0 deltas published, {published:,} known already")
    exported = invoke("export", "--url", server.url)[1]
    assert exported.count(b"\n") == head(server.url) == int(out.decode().strip().rpartition(":")[2])


CLAUDE = (
    '{"type":"user","uuid":"%s","parentUuid":null,"sessionId":"%s","timestamp":"2025-06-14T10:00:0%dZ",'
    '"message":{"role":"user","content":"x"}}'
)


def states(url: str, session: str) -> list[tuple[str, Any]]:
    answer = httpx.get(f"{url}/api/deltas", params={"session": session, "order": "asc"}, trust_env=False)
    return [(item["delta"]["type"], item["delta"].get("after")) for item in answer.json()["deltas"]]


def test_a_folder_is_imported_and_each_file_is_said_to_be_what_it_is(
    invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.log").write_text(CLAUDE % ("u", "a", 1))
    (tmp_path / "in" / "deep" / "b").write_text(GOOD % 1)
    (tmp_path / "in" / "notes.txt").write_text("hello")
    (tmp_path / "in" / ".hidden").write_text(GOOD % 2)
    code, _, err = invoke("import", str(tmp_path / "in"), "--url", server.url)
    assert (code, head(server.url)) == (0, 2)
    assert f"{tmp_path}/in/a.log: claude-code, by 'uuid' and 'parentUuid'" in err
    assert f"{tmp_path}/in/deep/b: debezium, by 'op' with the row's states" in err
    assert (
        f"skipped: {tmp_path}/in/notes.txt: not a log that can be imported: it looks like plain text" in err
    )
    assert err.splitlines()[-1] == "2 deltas published, 1 file skipped"


def test_a_bad_record_ends_its_file_and_the_others_of_the_folder_are_imported(
    invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl").write_text("\n".join((GOOD % 1, '"no record"', GOOD % 2)))
    (folder / "b.jsonl").write_text(GOOD % 3)
    code, _, err = invoke("import", str(folder), "--url", server.url)
    assert (code, head(server.url)) == (1, 2)
    assert f"recorder: {folder}/a.jsonl: line 2: " in err
    assert "--skip-bad skips such records" in err
    assert err.splitlines()[-1] == "2 deltas published, 1 file not read to the end"


def test_a_refused_delta_ends_its_file_and_the_others_of_the_folder_are_imported(
    invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    same = '{"type":"created","sessionId":"s%d","after":%d,"id":"same"}\n'
    (folder / "a.ndjson").write_text(same % (1, 1) + same % (2, 2))
    (folder / "b.ndjson").write_text('{"type":"created","sessionId":"s3","after":3}\n')
    code, _, err = invoke("import", str(folder), "-f", "ndjson", "--url", server.url)
    assert (code, head(server.url)) == (1, 2)
    assert f"recorder: {folder}/a.ndjson: line 2: " in err
    assert "--skip-bad skips such records" in err


def test_a_folder_with_nothing_to_import_fails_and_names_the_formats(
    invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "notes.txt").write_text("hello")
    code, out, err = invoke("import", str(folder), "--url", server.url)
    assert (code, out) == (1, b"")
    assert err.splitlines()[-2] == "0 deltas published, 1 file skipped"
    assert "no file that can be imported" in err.splitlines()[-1]
    assert "the formats are ndjson, debezium, swe-agent, claude-code" in err.splitlines()[-1]


def test_a_file_that_is_not_recognised_ends_it(invoke: Invoke, server: Any, tmp_path: Path) -> None:
    path = log(tmp_path, '{"type":"RUN_STARTED","threadId":"t","runId":"r"}')
    code, _, err = invoke("import", str(path), "--url", server.url)
    assert code == 1
    assert "it looks like an AG-UI event (type RUN_STARTED)" in err


def test_a_session_in_several_imports_is_created_once_and_goes_on(
    invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    first.write_text("\n".join(CLAUDE % (f"u{n}", "s", n) for n in range(2)))
    second.write_text("\n".join(CLAUDE % (f"u{n}", "s", n) for n in range(1, 4)))
    for path, said in ((first, "2 deltas published"), (second, "2 deltas published, 1 known already")):
        assert invoke("import", str(path), "--url", server.url)[2].splitlines()[-1] == said
    code, out, err = invoke("import", str(first), str(second), "--url", server.url)
    assert (code, err.splitlines()[-1]) == (0, "0 deltas published, 5 known already")
    assert out.endswith(b":4\n")
    found = states(server.url, "s")
    assert [kind for kind, _ in found] == ["created", "updated", "updated", "updated"]
    assert [state["records"] for _, state in found] == [1, 2, 3, 4]


def test_without_the_right_to_read_known_records_are_known_by_the_answer(
    invoke: Invoke, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    paths[0].write_text("\n".join(CLAUDE % (f"u{n}", "s", n) for n in range(3)))
    paths[1].write_text("\n".join(CLAUDE % (f"u{n}", "s", n) for n in (1, 2, 3)))
    assert invoke("import", str(paths[0]), "--url", server.url)[0] == 0

    def refuse(*_: Any) -> Any:
        raise NotAllowed("not for this token")

    monkeypatch.setattr("recorder.cli.import_._Recorded._sessions", refuse)
    code, _, err = invoke("import", str(paths[1]), "--url", server.url)
    assert code == 0
    assert "sessions are not continued: not for this token" in err
    assert err.splitlines()[-1] == "1 delta published, 2 known already"
    assert len(states(server.url, "s")) == 4


@pytest.mark.parametrize("name", ["x.jsonl", "x.log"])
def test_bad_records_are_skipped_whatever_the_file_is_called(
    name: str, invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(f"nonsense\n{GOOD % 1}\n")
    code, _, err = invoke("import", str(path), "--skip-bad", "--url", server.url)
    assert (code, err.splitlines()[-1]) == (0, "1 delta published, 1 bad record skipped")


def test_a_pipe_that_stays_open_is_imported_as_it_comes(server: Any, project_root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "recorder", "import", "-", "--url", server.url],
        env={**os.environ, "PYTHONPATH": str(project_root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        for number in range(1, 4):
            process.stdin.write((CLAUDE % (f"u{number}", "p", number)).encode() + b"\n")
            process.stdin.flush()
            # It arrives although the pipe stays open.
            while head(server.url) < number:
                assert process.poll() is None
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert err.endswith(b"3 deltas published\n")
