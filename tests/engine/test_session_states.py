"""Current states, and when two JSON texts say the same."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recorder.engine.session_states import CurrentState, CurrentStates, same_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: Any, order: random.Random) -> Any:
    """The same value with its keys in another order."""
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


@given(VALUES, st.randoms(use_true_random=False), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_key_order_spacing_and_escapes_make_no_difference(
    value: Any, order: random.Random, indent: Any, ascii_only: bool
) -> None:
    other = json.dumps(shuffled(value, order), indent=indent, ensure_ascii=ascii_only)
    assert same_json(json.dumps(value), other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"),
        ("1e2", "100"),
        ("1E+2", "100.000"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("0e5", "0"),
        ("9007199254740993", "9007199254740993.0"),
        ("9007199254740993", "9007199254740993e0"),
        ("123456789012345678901234567890", "1.2345678901234567890123456789e29"),
        ("18446744073709551616", "18446744073709551616.0"),
        ("9" * 5000, "9" * 5000 + ".0"),
        ("1e400", "10e399"),
        ("1e-400", "0.1e-399"),
        ("1e99999999999999999999", " 1e99999999999999999999 "),
        ('"\\u00e9"', '"é"'),
        ('"\\/"', '"/"'),
        ('"\\ud83d\\ude00"', '"😀"'),
        ('"\\ud800"', '"\\uD800"'),
        ('{"a":1,"a":2}', '{"a":2}'),
        ('{"b":[1,{"c":null}],"a":true}', '{ "a" : true, "b":[1.0,{"c":null}] }'),
    ],
)
def test_what_says_the_same_is_the_same(one: str, other: str) -> None:
    for left, right in ((one, other), (f'[{{"k":{one}}}]', f'[ {{"k":{other}}}]')):
        assert same_json(left, right)
        assert same_json(right, left)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "true"),
        ("1.0", "true"),
        ("0", "false"),
        ("0", "null"),
        ("false", "null"),
        ('""', "null"),
        ("[]", "{}"),
        ("[]", "null"),
        ("1", '"1"'),
        ("[1]", "1"),
        ('["1"]', "1"),
        ("[1,2]", "[2,1]"),
        ("[1]", "[1,1]"),
        ('{"a":null}', "{}"),
        ('"é"', '"e\u0301"'),
        ("9007199254740993", "9007199254740992"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("123456789012345678901234567890", "123456789012345678901234567891"),
        ("0.1", "0.1000000000000000055511151231257827"),
        ("1e400", "1e401"),
        ("1e400", "2"),
        ("1e-400", "0"),
        ("1e99999999999999999999", "2e99999999999999999999"),
        ("1e99999999999999999999", "1"),
        ('"\\ud800"', '"\\ud801"'),
        ('"1"', '"true"'),
    ],
)
def test_what_says_something_else_is_not(one: str, other: str) -> None:
    for left, right in ((one, other), (f'[{{"k":{one}}}]', f'[{{"k":{other}}}]')):
        assert not same_json(left, right)
        assert not same_json(right, left)


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,8})?([eE][+-]?[0-9]{1,25})?", fullmatch=True)
ANY = st.recursive(
    NUMBERS | st.sampled_from(["null", "true", "false", '"\\udfff"', '""']),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
    max_leaves=5,
)


@given(ANY, ANY)
@example("1e99999999999999999999", "1e99999999999999999998")
@example("0e99999999999999999999", "0")
def test_any_two_texts_can_be_compared_in_either_order(one: str, other: str) -> None:
    assert same_json(one, other) == same_json(other, one)
    assert same_json(one, f" {one}")


def test_states_as_deep_as_they_may_be_are_compared_in_full() -> None:
    one, other = ("[" * 500 + inner + "]" * 500 for inner in ("1", "1.0"))
    assert same_json(one, other)
    assert not same_json(one, other.replace("1.0", "2"))


def test_texts_that_are_deeper_are_the_same_only_as_texts() -> None:
    deep = "[" * 50_000 + "]" * 50_000
    assert same_json(deep, deep)
    assert not same_json(deep, f" {deep}")


# The states.


def test_a_state_is_there_until_the_session_is_deleted() -> None:
    states = CurrentStates()
    states.put("a", 1, "0", None)
    states.put("a", 2, '""', None)
    found = states.get("a")
    assert found is not None
    assert (found.seq, found.text, len(states)) == (2, '""', 1)
    states.put("a", 3, None, None)
    assert (states.get("a"), len(states)) == (None, 0)
    states.put("a", 4, None, None)
    assert states.get("a") is None


def test_a_digest_is_that_of_the_text_whether_it_was_given_or_not() -> None:
    digest = hashlib.sha256("é".encode()).digest()
    assert CurrentState(1, "é").digest == digest
    assert CurrentState(1, "é", digest).digest == digest


def test_states_are_listed_in_the_order_of_their_deltas() -> None:
    states = CurrentStates()
    states.load([("c", 5, "1"), ("a", 9, "2"), ("b", 7, "3")])
    assert states.listing() == [(5, "c", "1"), (7, "b", "3"), (9, "a", "2")]
    assert states.listing(frozenset({"a", "c", "unknown"})) == [(5, "c", "1"), (9, "a", "2")]
    assert states.listing(frozenset()) == []
