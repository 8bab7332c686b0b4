"""Cutting JSON into its parts: every byte stays as it is, and whatever is not JSON is said to be so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.bridges.imports import rawjson
from recorder.bridges.imports.rawjson import BadJson
from tests.support.jsontexts import SPACES, STRINGS, VALUES, arrays, objects

VALUE = VALUES | arrays(VALUES) | objects(VALUES)


def elements(text: bytes) -> list[bytes]:
    return list(rawjson.elements(text))


def values(text: bytes) -> list[bytes]:
    return list(rawjson.values(text))


@settings(max_examples=50)
@given(st.lists(st.tuples(STRINGS, VALUE, SPACES), max_size=4))
def test_an_object_falls_into_the_very_texts_of_its_members(pairs: list[tuple[str, str, str]]) -> None:
    text = "{" + ",".join(f"{space}{name}{space}:{value}{space}" for name, value, space in pairs) + " }"
    assert rawjson.members(text.encode()) == {json.loads(name): value.encode() for name, value, _ in pairs}


@settings(max_examples=50)
@given(st.lists(st.tuples(VALUE, SPACES), max_size=5))
def test_an_array_falls_into_the_very_texts_of_its_elements(pairs: list[tuple[str, str]]) -> None:
    text = "[" + ",".join(f"{space}{value}{space}" for value, space in pairs) + " ]\n"
    assert elements(text.encode()) == [value.encode() for value, _ in pairs]


@settings(max_examples=50)
@given(st.lists(VALUE, max_size=5), st.sampled_from(["\n", " ", "\r\n\t"]))
def test_values_one_after_another_are_told_apart(texts: list[str], between: str) -> None:
    assert values(between.join(["", *texts, ""]).encode()) == [text.encode() for text in texts]


@given(VALUE)
def test_a_value_passes_the_check_and_is_decoded_as_usual(text: str) -> None:
    rawjson.check(f" {text}\n".encode())
    assert repr(rawjson.decode(text.encode())) == repr(json.loads(text))


BAD = [
    b"",
    b" ",
    b"{",
    b"[1,]",
    b"NaN",
    b"[Infinity]",
    b"01",
    b"1.",
    b"'a'",
    b'"\x01"',
    b'"\\x"',
    b"tru",
    b"\xff",
    b'"\xed\xa0\xbd"',
]


@pytest.mark.parametrize("text", [*BAD, b"[1] 2", b'"\\ud83d" 1', b"[" * 100_000, b'{"a":"\\ud83d"}}'])
@pytest.mark.parametrize("act", [rawjson.check, rawjson.members, elements])
def test_what_is_not_one_value_is_refused(act: Callable[[bytes], Any], text: bytes) -> None:
    with pytest.raises(BadJson):
        act(text)


@pytest.mark.parametrize("text", [*BAD[2:], b"[" * 100_000, b"1 x", b"1,2"])
def test_what_is_not_values_is_refused(text: bytes) -> None:
    with pytest.raises(BadJson):
        values(text)


@pytest.mark.parametrize(
    "text",
    [b'{"\\ud83d"}', b'{"\\ud83d":}', b'{"\\ud83d":1', b'{"\\ud83d":1,}', b'{"\\ud83d":1 2}', b'{1:"\\ud83d"}',
     b'{"\\ud83d" 1}', b"{,}"],
)  # fmt: skip
def test_an_object_that_is_broken_behind_a_lone_surrogate_is_refused(text: bytes) -> None:
    with pytest.raises(BadJson, match="not JSON: "):
        rawjson.members(text)


def test_elements_come_up_to_where_the_text_breaks_off() -> None:
    found = rawjson.elements(b'[1, "two" nonsense')
    assert [next(found), next(found)] == [b"1", b'"two"']
    with pytest.raises(BadJson, match="',' expected at character 10"):
        next(found)


@pytest.mark.parametrize(
    ("text", "kind"),
    [(b"{}", "an object"), (b"[]", "an array"), (b'""', "a string"), (b"true", "a boolean"), (b"false", "a boolean"),
     (b"null", "null"), (b"-1", "a number")],
)  # fmt: skip
def test_another_kind_than_wanted_is_named(text: bytes, kind: str) -> None:
    assert rawjson.kind(text) == kind
    if kind != "an object":
        with pytest.raises(BadJson, match=f"^an object is wanted, this is {kind}$"):
            rawjson.members(text)
    if kind != "an array":
        with pytest.raises(BadJson, match=f"^an array is wanted, this is {kind}$"):
            elements(text)


def test_of_a_name_given_twice_the_last_counts() -> None:
    assert rawjson.members(b'{"a":1,"a":2}') == {"a": b"2"}
    assert rawjson.members(b'{"a":"\\ud83d","a":2}') == {"a": b"2"}


def test_strings_are_read_and_nothing_else_is_one() -> None:
    assert rawjson.string(b'"a\\ud83d"') == "a\ud83d"
    assert rawjson.string(None) is rawjson.string(b"1") is rawjson.string(b"null") is None
    with pytest.raises(BadJson, match="not JSON"):
        rawjson.string(b'"a')


def test_null_counts_as_absent() -> None:
    assert rawjson.present(None) is rawjson.present(b"null") is None
    assert rawjson.present(b'"null"') == b'"null"'


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None)), st.lists, max_leaves=5
    )
)
def test_any_value_can_be_written_as_utf8(value: Any) -> None:
    assert json.loads(rawjson.dump(value)) == value
    rawjson.check(rawjson.dump(value))


def test_what_is_nested_too_deeply_is_said_to_be_so() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(BadJson, match="nested too deeply"):
        rawjson.dump(value)
    with pytest.raises(BadJson, match="nested too deeply"):
        rawjson.decode(b"[" * 100_000)
    while value:
        value = value.pop()


def test_numbers_of_any_length_are_looked_at_and_never_built() -> None:
    digits = b"9" * 100_000
    assert elements(b'["\\ud83d",' + digits + b"]")[1] == digits
    assert rawjson.decode(digits) == float("inf")


def test_an_object_is_put_together_without_what_is_absent() -> None:
    assert rawjson.assemble([("a", b"1"), ("b", None), ("\ud83d", b"2")]) == b'{"a":1,"\\ud83d":2}'
