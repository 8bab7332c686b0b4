"""`recorder publish`: how its input is cut into deltas."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.cli.publish import deltas
from recorder.errors import SourceError

Invoke = Callable[..., tuple[int, bytes, str]]


def cut(path: Path, text: str | bytes) -> list[tuple[bytes, str]]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [(delta.text, delta.place.removeprefix(f"{path}: ")) for delta in deltas(str(path), lambda: None)]


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
