"""Tests of JSON text kept as text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.client.rawjson import check_value, decode_value, members
from recorder.core.errors import ClientError

TEXTS = st.text(st.characters(codec=None), max_size=8)  # lone surrogates too
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_any_value_is_decoded_as_the_standard_library_would(value: Any) -> None:
    assert decode_value(json.dumps(value).encode()) == value


def test_a_number_of_thirty_digits_stays_exact() -> None:
    assert decode_value(b"[123456789012345678901234567890]") == [123456789012345678901234567890]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"NaN", b"[1,]", b"\xff", b"[" * 100_000, b"1" * 5000, b'"\xed\xa0\xbd"']
)
def test_what_python_cannot_hold_is_said_to_be_so(text: bytes) -> None:
    with pytest.raises(ClientError, match=r"decoded|deeply"):
        decode_value(text)


@given(st.dictionaries(TEXTS, VALUES, max_size=5), st.sampled_from(["", " ", "\n\t\r "]))
def test_an_object_falls_into_its_members_with_their_exact_text(value: dict[str, Any], space: str) -> None:
    texts = {name: json.dumps(inner, indent=1) for name, inner in value.items()}
    joined = ",".join(
        f"{space}{json.dumps(name)}{space}:{space}{text}{space}" for name, text in texts.items()
    )
    assert members(f"{space}{{{joined or space}}}{space}") == texts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        '{"a"',
        '{"a":',
        '{"a":1',
        '{"a":1,',
        '{"a":1,}',
        "{1:2}",
        "{}x",
        '{"a":1}{}',
        "{,}",
    ],
)
def test_what_is_not_one_object_has_no_members(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the standard library's
        members(text)


def test_of_a_name_given_twice_the_last_counts() -> None:
    assert members('{"a":1,"a":2}') == {"a": "2"}


@given(VALUES)
def test_any_value_may_be_put_in_as_it_is(value: Any) -> None:
    check_value(json.dumps(value).encode())


@pytest.mark.parametrize(
    "text", [b"", b"1,2", b'1,"x":2', b"{} {}", b'"\\ud83d" 1', b'"\xff"', b"nul", b"Infinity"]
)
def test_text_that_would_break_the_json_around_it_may_not(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the standard library's
        check_value(text)
