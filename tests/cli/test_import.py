"""`recorder import`: logs of others into a running recorder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

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
    assert deltas[0] == deltas[1] == deltas[2]
    for line in exports[0].splitlines():
        assert line.partition(b',"delta":')[2] in exports[2]


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
    exported = invoke("export", "--url", server.url)[1]
    assert exported.count(b"\n") == head(server.url) == int(out.decode().strip().rpartition(":")[2])
