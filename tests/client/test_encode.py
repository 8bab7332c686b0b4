"""Tests of writing deltas as frames."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.client import NewDelta, RawJson
from recorder.client.encode import encode_frame, encode_state, raw_frame
from recorder.core.delta import MAX_DEPTH
from recorder.core.errors import ClientError

STATES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(STATES.filter(lambda state: state is not None), STATES.filter(lambda state: state is not None))
def test_what_is_written_is_what_was_given(before: Any, after: Any) -> None:
    frame = encode_frame(NewDelta("updated", "s é", before, after, "2026-11-20T12:00:00Z", "i"), None)
    assert json.loads(frame.text) == {
        "type": "updated",
        "sessionId": "s é",
        "before": before,
        "after": after,
        "timestamp": "2026-11-20T12:00:00Z",
        "id": "i",
    }


def test_what_is_not_given_is_left_out() -> None:
    assert encode_frame(NewDelta("deleted", "s"), None).text == b'{"type":"deleted","sessionId":"s"}'


@pytest.mark.parametrize("state", [0, "", False, {}, []])
def test_a_falsy_state_is_a_state(state: Any) -> None:
    assert json.loads(encode_frame(NewDelta("created", "s", after=state), None).text)["after"] == state


@pytest.mark.parametrize("raw", [RawJson, lambda text: RawJson(text.decode()), msgspec.Raw])
def test_raw_text_goes_out_byte_for_byte_also_inside_a_state(raw: Any) -> None:
    text = b'{"n" : 123456789012345678901234567890, "f":1.00, "u":"\\u00e9\\ud83d"}'
    assert text in encode_frame(NewDelta("created", "s", after=raw(text)), None).text
    assert encode_state({"inside": [raw(text)]}) == b'{"inside":[' + text + b"]}"


@pytest.mark.parametrize("text", ["", "1,2", '1},{"type":"deleted"', "nul", b"\xff", '"a" "b"'])
def test_raw_text_that_is_not_one_value_is_refused(text: str | bytes) -> None:
    with pytest.raises(ClientError, match=r"^after: the raw text"):
        encode_frame(NewDelta("created", "s", after=RawJson(text)), None)


class Colour(Enum):
    RED = "red"


class Level(StrEnum):
    HIGH = "high"


@dataclass
class Point:
    x: Any
    _hidden: int = 0


HUGE = 1 << 65
RAW = RawJson('{"n" : 1e2}')


@pytest.mark.parametrize("beside", [HUGE, "\ud83d", -HUGE])
@pytest.mark.parametrize(
    ("given", "text"),
    [
        (RAW, '{"n" : 1e2}'),
        (msgspec.Raw(b"[ ]"), "[ ]"),
        (Point(1), '{"x":1}'),
        (Point(RAW), '{"x":{"n" : 1e2}}'),
        (Colour.RED, '"red"'),
        (Level.HIGH, '"high"'),
        ({Level.HIGH: 1}, '{"high":1}'),
        ((1, None), "[1,null]"),
        (datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00+00:00"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        ([{}, [], ""], '[{},[],""]'),
        (0.1, "0.1"),
    ],
)
def test_what_can_be_written_is_written_the_same_beside_what_orjson_cannot_write(
    beside: Any, given: Any, text: str
) -> None:
    alone = encode_state([given])
    together = encode_state([beside, given])
    assert alone == b"[" + text.encode() + b"]"
    assert together.endswith(b"," + text.encode() + b"]")
    assert json.loads(together)[0] == beside


@pytest.mark.parametrize("key", [1, 1.5, None, True, (1,), HUGE, b"k"])
@pytest.mark.parametrize("beside", [[], [HUGE], [RAW]])
def test_a_key_that_is_no_text_is_refused(key: Any, beside: list[Any]) -> None:
    with pytest.raises(ValueError, match="is no text, as JSON's must be"):
        encode_state([*beside, {key: 1}])


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("beside", [[], [HUGE], [RAW], [None], ["\ud83d"]])
@pytest.mark.parametrize(
    "wrapped",
    [lambda n: n, lambda n: {"a/b": n}, lambda n: (n,), Point, lambda n: [[None, n]]],
)
def test_nan_and_infinity_are_refused_wherever_they_stand(
    number: float, beside: list[Any], wrapped: Any
) -> None:
    with pytest.raises(ValueError, match=rf"^{number} is no JSON, at /"):
        encode_state([*beside, wrapped(number)])


def test_a_refusal_names_the_place() -> None:
    with pytest.raises(ClientError, match=r"^\[0\]\.after: nan is no JSON, at /a~1b/1$"):
        encode_frame([NewDelta("created", "s", after={"a/b": [1, math.nan]})], None)


def test_an_integer_of_more_digits_than_python_writes_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="digits"):
        encode_state({"n": 10**5000})
    assert encode_state({"n": RawJson("1" * 5000)}) == b'{"n":' + b"1" * 5000 + b"}"


def test_it_nests_as_deep_as_a_state_may() -> None:
    state: Any = 1
    for _ in range(MAX_DEPTH):
        state = [state]
    assert encode_state(state) == b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH
    for _ in range(100_000):
        state = [state]
    with pytest.raises(ValueError, match="nested too deeply"):
        encode_state(state)


def test_numbers_beyond_64_bits_and_lone_surrogates_are_written_exactly() -> None:
    assert encode_state({"n": 10**30}) == b'{"n":1' + b"0" * 30 + b"}"
    assert encode_state(["\ud83d"]) == b'["\\ud83d"]'


@pytest.mark.parametrize("state", [object(), {1, 2}, [[b"bytes"]], float, [10**30, object()]])
def test_a_state_that_is_no_json_is_refused_with_its_place(state: Any) -> None:
    with pytest.raises(ClientError) as caught:
        encode_frame([NewDelta("created", "s", after=1), NewDelta("created", "s", after=state)], None)
    assert (caught.value.index, caught.value.place) == (1, "[1].after")


def test_a_mapping_has_the_names_of_the_wire() -> None:
    frame = encode_frame({"type": "created", "sessionId": "s", "after": {"a": 1}}, None)
    assert frame.text == b'{"type":"created","sessionId":"s","after":{"a":1}}'
    with pytest.raises(ClientError, match=r"session_id: unknown field"):
        encode_frame({"type": "created", "session_id": "s", "after": 1}, None)
    with pytest.raises(ClientError, match="sessionId: required"):
        encode_frame([{"type": "created"}], None)


def test_a_datetime_must_have_an_offset() -> None:
    when = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert b'"2026-11-20T12:00:00+00:00"' in encode_frame(NewDelta("deleted", "s", timestamp=when), None).text
    with pytest.raises(ClientError, match="offset"):
        encode_frame(NewDelta("deleted", "s", timestamp=when.replace(tzinfo=None)), None)


def test_each_delta_gets_an_id_of_its_own_unless_it_has_one() -> None:
    numbers = count()
    deltas = [
        NewDelta("deleted", "s"),
        NewDelta("deleted", "s", id="mine"),
        {"type": "deleted", "sessionId": "s"},
    ]
    frame = encode_frame(deltas, lambda: f"id{next(numbers)}")
    assert [one["id"] for one in json.loads(frame.text)] == ["id0", "mine", "id1"]
    assert frame.is_repeatable
    assert frame.count == 3


def test_without_ids_a_frame_is_not_to_be_sent_twice() -> None:
    assert not encode_frame([NewDelta("deleted", "s"), NewDelta("deleted", "s", id="x")], None).is_repeatable
    assert encode_frame(NewDelta("deleted", "s", id="x"), None).is_repeatable


@pytest.mark.parametrize("text", ['{"type":"deleted","sessionId":"s"}', b"{}", "", bytearray(b"[]")])
def test_a_text_is_not_taken_for_a_list_of_deltas(text: Any) -> None:
    with pytest.raises(ClientError, match="publish_raw takes JSON text"):
        encode_frame(text, None)


@pytest.mark.parametrize("deltas", [["ab"], [1], [None], [[NewDelta("deleted", "s")]]])
def test_what_is_no_delta_is_refused_with_its_place(deltas: Any) -> None:
    with pytest.raises(ClientError, match="a NewDelta or a mapping is wanted") as caught:
        encode_frame(deltas, None)
    assert caught.value.index == 0


def test_nothing_to_publish_is_refused() -> None:
    with pytest.raises(ClientError, match="nothing"):
        encode_frame([], None)


def test_a_session_id_that_is_no_text_is_refused() -> None:
    with pytest.raises(ClientError, match="cannot be written"):
        encode_frame(NewDelta("deleted", "\ud83d"), None)


@pytest.mark.parametrize(
    ("text", "count", "is_repeatable"),
    [
        (b'{"type":"x","id":"a"}', 1, True),
        (b'[{"id":"a"}, {"id":"b","after":1e2}]', 2, True),
        (b'[{"id":"a"},{}]', 2, False),
        (b'{"id":null}', 1, False),
        (b'{"id":7}', None, False),
        (b"not json", None, False),
        (b'{"id":"a","after":"\\ud83d"}', None, False),
        ('{"id":"é"}', 1, True),
    ],
)
def test_text_that_is_encoded_already_is_sent_again_only_with_ids(
    text: bytes | str, count: int | None, is_repeatable: bool
) -> None:
    frame = raw_frame(text)
    assert frame.text == (text.encode() if isinstance(text, str) else text)
    assert (frame.count, frame.is_repeatable) == (count, is_repeatable)


@pytest.mark.parametrize("text", [b"\xff", "\ud83d"])
def test_text_that_is_not_utf8_is_refused(text: bytes | str) -> None:
    with pytest.raises(ClientError, match="UTF-8"):
        raw_frame(text)
