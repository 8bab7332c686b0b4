"""`recorder publish`: how its input is cut into deltas, and how they get to a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.bridges.imports import SourceDelta
from recorder.cli.batches import MAX_DELAY, Sender
from recorder.cli.console import Steps
from recorder.cli.publish import deltas
from recorder.core.clock import FakeClock
from recorder.core.errors import SourceError

Invoke = Callable[..., tuple[int, bytes, str]]


def cut(path: Path, text: str | bytes) -> list[tuple[bytes, str]]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [(delta.text, delta.place.removeprefix(f"{path}: ")) for delta in deltas(str(path))]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "in.json"


def test_one_delta_on_one_line_or_on_many(file: Path) -> None:
    assert cut(file, '{"a":1}') == [(b'{"a":1}', "delta 1")]
    assert cut(file, '{"a":1}\n') == [(b'{"a":1}', "line 1")]
    assert cut(file, '\n {\n "a": 1e2\n}\n') == [(b'{\n "a": 1e2\n}', "delta 1")]


def test_lines_keep_their_bytes_and_their_numbers(file: Path) -> None:
    text = '\ufeff\n{"a": 123456789012345678901234567890 }\r\n\n{"b":"\\ud83d"}'
    assert cut(file, text) == [
        (b'{"a": 123456789012345678901234567890 }', "line 1"),
        (b'{"b":"\\ud83d"}', "line 3"),
    ]


def test_an_array_gives_its_elements(file: Path) -> None:
    assert cut(file, ' [ {"a" : 1} ,\n{\n"b":2}\n]\n') == [
        (b'{"a" : 1}', "delta 1"),
        (b'{\n"b":2}', "delta 2"),
    ]


@pytest.mark.parametrize("text", ["", " \n", "[]", "[\n]"])
def test_nothing_is_no_delta_and_no_error(text: str, file: Path) -> None:
    assert cut(file, text) == []


def test_several_values_over_many_lines_are_cut_apart(file: Path) -> None:
    assert [text for text, _ in cut(file, '{\n"a":1}\n{\n"b":2}')] == [b'{\n"a":1}', b'{\n"b":2}']


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a":1}\n{"b":}\n', r"in\.json: line 2: not JSON"),
        ('{"a":1}\n{"b":1} {"c":1}\n', r"in\.json: line 2: not JSON"),
        ('[{"a":1},{"b":}]', r"in\.json: delta 2: not JSON"),
        ('[{"a":1}', r"in\.json: delta 2: not JSON"),
        ("{\n", r"in\.json: delta 1: not JSON"),
        (b'{"a":"\xff"}\n', r"in\.json: .* 1: not UTF-8"),
    ],
)
def test_what_is_not_json_is_named_by_file_and_place(text: str | bytes, message: str, file: Path) -> None:
    with pytest.raises(SourceError, match=message):
        cut(file, text)


def test_a_file_that_is_not_there_is_one_line(invoke: Invoke) -> None:
    code, out, err = invoke("publish", "missing.json")
    assert (code, out) == (1, b"")
    assert err.splitlines()[-1] == "recorder: missing.json: cannot be read: No such file or directory"


JSON = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3),
    max_leaves=5,
)


@given(
    values=st.lists(st.dictionaries(st.text(), JSON, min_size=1, max_size=3), min_size=1, max_size=5),
    indent=st.sampled_from([None, 0, 2]),
    array=st.booleans(),
)
def test_every_layout_of_the_same_deltas_gives_the_same_texts(
    values: list[dict[str, object]], indent: int | None, array: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    texts = [json.dumps(value, indent=indent) for value in values]
    whole = "[" + ",".join(texts) + "]" if array else "\n".join(texts)
    found = cut(tmp_path_factory.getbasetemp() / "layout.json", whole)
    assert [text.decode() for text, _ in found] == texts


def recorded(url: str, session: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{url}/api/deltas", params={"session": session, "order": "asc"}, trust_env=False)
    return [item["delta"] for item in answer.json()["deltas"]]


def delta(session: str, state: str, kind: str = "created") -> str:
    return f'{{"type":"{kind}","sessionId":"{session}","after":{state}}}'


def test_deltas_are_published_in_batches_byte_for_byte(
    invoke: Invoke, server: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.cli.batches.MAX_COUNT", 3)
    states = ['{"a": 1e2 }', "123456789012345678901234567890", '"\\ud83d"', '{\n"b"\n:1}', '""', "0", "false"]
    file.write_text("[" + ",".join(delta(f"s{n}", state) for n, state in enumerate(states)) + "]")
    code, out, err = invoke("publish", str(file), "--url", server.url)
    assert (code, err) == (0, "7 deltas published\n")
    assert out.decode().strip().split(":")[1] == "7"
    exported = invoke("export", "--url", server.url, "--format", "json")[1].decode()
    for state in states:
        assert f'"after":{state},' in exported


def test_a_batch_is_bounded_in_bytes_too(
    invoke: Invoke, server: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.cli.batches.MAX_BYTES", 100)
    file.write_text("\n".join(delta(f"s{n}", '"' + "x" * 200 + '"') for n in range(5)))
    assert invoke("publish", str(file), "--url", server.url)[0] == 0
    accepted = httpx.get(f"{server.url}/api/stats", trust_env=False).json()["head"]
    assert accepted == 5


def test_a_refused_delta_is_named_by_file_and_line_and_what_was_before_it_is_recorded(
    invoke: Invoke, server: Any, file: Path
) -> None:
    bad = '{"type":"updated","sessionId":"bad"}'
    file.write_text(f"{delta('a', '1')}\n\n{delta('b', '2')}\n{bad}\n{delta('c', '3')}\n")
    code, out, err = invoke("publish", str(file), "--url", server.url)
    assert (code, out) == (1, b"")
    assert err == f"2 deltas published\nrecorder: {file}: line 4: after: required for type 'updated'\n"
    assert [len(recorded(server.url, session)) for session in "abc"] == [1, 1, 0]


def test_a_line_that_is_not_json_stops_behind_what_was_before_it(
    invoke: Invoke, server: Any, file: Path
) -> None:
    file.write_text(f"{delta('a', '1')}\n{{\n{delta('c', '3')}\n")
    code, _, err = invoke("publish", str(file), "--url", server.url)
    assert code == 1
    assert err.startswith(f"1 delta published\nrecorder: {file}: line 2: not JSON")
    assert [len(recorded(server.url, session)) for session in "ac"] == [1, 0]


def test_a_pipe_is_published_as_it_comes(server: Any, project_root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "recorder", "publish", "-", "--url", server.url],
        env={**os.environ, "PYTHONPATH": str(project_root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        for number in range(1, 4):
            process.stdin.write(delta(f"p{number}", str(number)).encode() + b"\n")
            process.stdin.flush()
            # It arrives although the pipe stays open.
            while not recorded(server.url, f"p{number}"):
                assert process.poll() is None
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"3 deltas published\n")
    assert out.endswith(b":3\n")


def test_the_url_may_come_from_the_environment(
    invoke: Invoke, server: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDER_URL", server.url)
    file.write_text(delta("e", "1"))
    assert invoke("publish", str(file))[0] == 0


def test_a_server_that_is_not_there_is_one_clear_line(invoke: Invoke, file: Path, free_port: int) -> None:
    file.write_text(delta("e", "1"))
    code, _, err = invoke("publish", str(file), "--url", f"http://127.0.0.1:{free_port}")
    assert code == 1
    assert err.startswith(f"recorder: cannot reach http://127.0.0.1:{free_port}: ")


def test_what_was_published_and_what_was_known_are_counted_apart(
    invoke: Invoke, server: Any, file: Path
) -> None:
    texts = [delta(f"s{n}", "1").replace('"after"', f'"id":"i{n}","after"') for n in range(3)]
    file.write_text("\n".join(texts[:2]))
    assert invoke("publish", str(file), "--url", server.url)[2] == "2 deltas published\n"
    file.write_text("\n".join(texts))
    assert invoke("publish", str(file), "--url", server.url)[2] == "1 delta published, 2 known already\n"


def test_a_delta_does_not_wait_for_a_batch_to_fill() -> None:
    class Remote:
        sent: list[bytes] = []  # noqa: RUF012 - one remote a test

        def post(self, path: str, body: bytes, media_type: str) -> dict[str, Any]:
            self.sent.append(body)
            return {"epoch": "e", "seq": len(self.sent)}

    read, write = os.pipe()
    clock = FakeClock()
    remote = Remote()
    sender = Sender(cast(Any, remote), Steps("publishing", "deltas"), lambda error: None, clock)
    sender.add(SourceDelta(b"1", "one"))
    os.write(write, b"x")
    sender.wait(read)  # there is more: it waits for the batch
    assert remote.sent == []
    clock.advance(MAX_DELAY)
    sender.add(SourceDelta(b"2", "two"))
    sender.wait(read)
    assert remote.sent == [b"[1,2]"]
    for end in (read, write):
        os.close(end)
