"""The careful way: cutting arrays. What it says of wrong deltas is tested in test_decode.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.errors import InvalidJson
from recorder.wire import decode
from recorder.wire.explain import FIELDS, delta_fields, elements

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SPACE = st.text(" \t\r\n", max_size=3)


@given(st.lists(VALUES, max_size=6), SPACE)
def test_an_array_is_cut_into_the_very_texts_of_its_elements(values: list[Any], space: str) -> None:
    texts = [json.dumps(value, ensure_ascii=False) for value in values]
    array = space + "[" + ",".join(f"{space}{text}{space}" for text in texts) + space + "]" + space
    assert [text.decode() for text in elements(array.encode())] == texts


def test_elements_come_one_by_one() -> None:
    found = elements(b'[1, "two" nonsense')
    assert next(found) == b"1"
    assert next(found) == b'"two"'
    with pytest.raises(InvalidJson, match=r"\[1\]: not JSON: ',' expected at character 10"):
        next(found)


def test_the_fields_are_those_of_the_fast_way() -> None:
    assert decode._Wire.__struct_encode_fields__ == FIELDS


def test_numbers_are_skipped_and_never_built() -> None:
    # Python refuses to build an int of so many digits.
    text = b'{"type":"created","sessionId":"a","after":' + b"9" * 50_000 + b"}"
    assert delta_fields(text, None).after == "9" * 50_000
