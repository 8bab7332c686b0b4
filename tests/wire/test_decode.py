"""From bytes to deltas: every rule of the protocol's table, in all three shapes, and states byte for byte."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recorder.core.delta import MAX_DEPTH, Delta
from recorder.core.errors import DeltaTooLarge, InvalidDelta, InvalidJson, RecorderError, TooManyDeltas
from recorder.wire import decode, explain
from recorder.wire.decode import decode_lines, decode_text

LIMIT = 262_144
VALID: dict[str, Any] = {"type": "updated", "sessionId": "sess_a", "after": {"n": 1}}


def delta(**fields: Any) -> str:
    """The JSON text of a valid delta but for these fields; `...` leaves one out."""
    return json.dumps({k: v for k, v in (VALID | fields).items() if v is not ...})


def with_states(**states: str) -> bytes:
    """An updated delta whose states are these very texts."""
    parts = "".join(f',"{name}":{text}' for name, text in states.items())
    return f'{{"type":"updated","sessionId":"a"{parts}}}'.encode()


def one(text: str | bytes) -> Delta:
    (found,) = decode_text(text.encode() if isinstance(text, str) else text, LIMIT)
    return found


def refusal(text: str | bytes, limit: int = LIMIT, *, lines: bool = False) -> RecorderError:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(RecorderError) as raised:
        decode_lines(data, limit) if lines else decode_text(data, limit)
    return raised.value


# What a delta may be.


def test_a_delta_comes_out_field_by_field() -> None:
    text = delta(before={"n": 0}, timestamp="2026-11-20T13:00:00+01:00", id="k1")
    assert one(text) == Delta("updated", "sess_a", '{"n": 0}', '{"n": 1}', "2026-11-20T12:00:00.000Z", "k1")


def test_what_is_left_out_is_none() -> None:
    assert one(delta()) == Delta("updated", "sess_a", None, '{"n": 1}', None, None)


@pytest.mark.parametrize("name", ["before", "timestamp", "id"])
def test_null_is_the_same_as_absent(name: str) -> None:
    assert one(delta(**{name: None})) == one(delta())


@pytest.mark.parametrize("null", ["null", " null ", "\n\tnull\r"])
def test_null_is_absent_whatever_space_is_around_it(null: str) -> None:
    assert one(with_states(before=null, after="1")).before is None
    assert one(f'{{"type":"deleted","sessionId":"a","after":{null}}}').after is None


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("created", ..., 1),
        ("created", None, 1),
        ("updated", ..., 1),
        ("updated", 0, 1),
        ("deleted", ..., ...),
        ("deleted", 0, ...),
        ("deleted", 0, None),
    ],
)
def test_states_that_fit_the_type_are_taken(kind: str, before: Any, after: Any) -> None:
    assert one(delta(type=kind, before=before, after=after)).type == kind


@pytest.mark.parametrize("text", ["0", "-0", '""', "false", "{}", "[]", "0.0", '"null"', "[null]"])
@pytest.mark.parametrize("name", ["before", "after"])
def test_only_null_and_absent_are_none(name: str, text: str) -> None:
    states = {"before": "1", "after": "1"} | {name: text}
    assert getattr(one(with_states(**states)), name) == text


@pytest.mark.parametrize(
    "text",
    [
        "123456789012345678901234567890",
        "-0",
        "-0.0",
        "1e2",
        "1E+2",
        "100",
        "1e400",
        "1e99999999999999999999",
        "0.1000000000000000055511151231257827021181583404541015625",
        "9" * 5000,
        '{"b":1,"a":2}',
        '{"a":1,"a":2}',
        '{ "a" :\t[ 1 ,\r\n2 ] }',
        '"\\u00e9\\/\\u0041"',
        '"é😀\u2028\u007f"',
        '"\\ud83d\\ude00"',
        '"\\ud83d"',
        '"\\ude00\\ud83d"',
        '{"\\ud800":"\\uDFFF"}',
        '"\\u0000"',
        '{"":""}',
    ],
)
def test_a_state_is_kept_byte_for_byte(text: str) -> None:
    assert one(with_states(before=text, after=text)) == Delta("updated", "a", text, text, None, None)
    array = b"[" + with_states(after="1") + b"," + with_states(before=text, after=text) + b"]"
    assert decode_text(array, LIMIT)[1].after == text
    if "\n" not in text:
        assert decode_lines(with_states(after=text) + b"\r\n", LIMIT)[0].after == text


def test_space_around_a_state_is_not_part_of_it() -> None:
    assert one(with_states(before=" \t1\n ", after="\r[ ] ")) == Delta("updated", "a", "1", "[ ]", None, None)


@pytest.mark.parametrize("length", [1, 2, 255, 256])
@pytest.mark.parametrize("char", ["x", "é", "😀", '"', "\\", " "])
def test_a_session_id_has_1_to_256_characters(length: int, char: str) -> None:
    assert one(delta(sessionId=char * length)).session_id == char * length


@pytest.mark.parametrize("length", [1, 127, 128])
@pytest.mark.parametrize("char", ["x", "é", "😀", "\0", "\x1e", "\x7f"])
def test_an_id_has_1_to_128_characters(length: int, char: str) -> None:
    assert one(delta(id=char * length)).id == char * length


def test_of_a_field_that_stands_twice_the_last_counts_in_both_ways_of_decoding() -> None:
    twice = '{"type":"deleted","type":"updated","sessionId":"b","after":1,"sessionId":"a","after":2%s}'
    kept = Delta("updated", "a", None, "2", None, None)
    assert one(twice % "") == kept
    assert one(twice % ',"before":"\\ud800"').session_id == "a"  # only the careful way takes this
    assert explain.delta_fields((twice % "").encode(), None) == kept
    # The first may even be wrong.
    assert one('{"type":5,"type":"updated","sessionId":"a","after":1}').type == "updated"


def test_names_and_types_may_be_escaped() -> None:
    assert one(r'{"\u0074ype":"\u0075pdated","session\u0049d":"\u0061","after":1}').session_id == "a"


@pytest.mark.parametrize("space", ["", " ", "\n", "\r\n\t "])
def test_space_around_the_text_does_not_matter(space: str) -> None:
    assert decode_text(f"{space}{delta()}{space}".encode(), LIMIT) == [one(delta())]
    array = f"{space}[{space}{delta()}{space},{space}{delta()}{space}]{space}"
    assert decode_text(array.encode(), LIMIT) == [one(delta())] * 2


# What is refused: (the fields that are wrong, where, why).

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"type": ...}, "type", "required"),
    ({"type": None}, "type", "must be a string, is null"),
    ({"type": 1}, "type", "must be a string, is 1"),
    ({"type": "Updated"}, "type", "must be 'created', 'updated' or 'deleted', is 'Updated'"),
    ({"type": ""}, "type", "must be 'created', 'updated' or 'deleted', is ''"),
    ({"type": "x" * 99}, "type", f"must be 'created', 'updated' or 'deleted', is '{'x' * 40}'"),
    ({"sessionId": ...}, "sessionId", "required"),
    ({"sessionId": None}, "sessionId", "must be a string, is null"),
    ({"sessionId": 5}, "sessionId", "must be a string, is 5"),
    ({"sessionId": ["a"]}, "sessionId", 'must be a string, is ["a"]'),
    ({"sessionId": ""}, "sessionId", "must have 1 to 256 characters, has 0"),
    ({"sessionId": "x" * 257}, "sessionId", "must have 1 to 256 characters, has 257"),
    ({"sessionId": "😀" * 257}, "sessionId", "must have 1 to 256 characters, has 257"),
    ({"type": "created", "after": ...}, "after", "required for type 'created'"),
    ({"type": "created", "after": None}, "after", "required for type 'created'"),
    ({"type": "created", "before": {}}, "before", "must be absent for type 'created'"),
    ({"type": "created", "before": False}, "before", "must be absent for type 'created'"),
    ({"after": ...}, "after", "required for type 'updated'"),
    ({"after": None}, "after", "required for type 'updated'"),
    ({"after": None, "before": 1}, "after", "required for type 'updated'"),
    ({"type": "deleted"}, "after", "must be absent for type 'deleted'"),
    ({"type": "deleted", "after": 0}, "after", "must be absent for type 'deleted'"),
    ({"type": "deleted", "after": ""}, "after", "must be absent for type 'deleted'"),
    ({"timestamp": 1763640000}, "timestamp", "must be a string, is 1763640000"),
    ({"timestamp": False}, "timestamp", "must be a string, is false"),
    (
        {"timestamp": ""},
        "timestamp",
        "not an RFC 3339 time with an offset, such as 2026-11-20T12:00:00.000Z",
    ),
    (
        {"timestamp": "2026-11-20T12:00:00"},
        "timestamp",
        "not an RFC 3339 time with an offset, such as 2026-11-20T12:00:00.000Z",
    ),
    ({"timestamp": "2026-02-29T12:00:00Z"}, "timestamp", "no such time: day is out of range for month"),
    ({"id": ""}, "id", "must have 1 to 128 characters, has 0"),
    ({"id": "x" * 129}, "id", "must have 1 to 128 characters, has 129"),
    ({"id": 7}, "id", "must be a string, is 7"),
    ({"id": {}}, "id", "must be a string, is {}"),
]
REFUSED += [
    ({"sessionId": f"a{char}b"}, "sessionId", "must have no control characters and no lone surrogates")
    for char in (*map(chr, range(32)), "\x7f", "\ud800", "\udfff")
]
REFUSED += [({"id": f"a{char}b"}, "id", "must have no lone surrogates") for char in ("\ud800", "\udfff")]


@pytest.mark.parametrize(("fields", "where", "why"), REFUSED)
def test_and_9_what_breaks_a_rule_is_refused_with_its_place(
    fields: dict[str, Any], where: str, why: str
) -> None:
    wrong, good = delta(**fields), delta()
    alone = refusal(wrong)
    assert (type(alone), alone.message) == (InvalidDelta, f"{where}: {why}")
    assert (alone.index, alone.place) == (None, where)
    among = refusal(f"[{good},{good},{wrong},{wrong}]")
    assert (type(among), among.message) == (InvalidDelta, f"[2].{where}: {why}")
    assert (among.index, among.place) == (2, f"[2].{where}")
    line = refusal(f"{good}\n\n{wrong}\n{wrong}\n", lines=True)
    assert (type(line), line.message) == (InvalidDelta, f"line 3: {where}: {why}")
    assert (line.index, line.place) == (1, "line 3")


@pytest.mark.parametrize(
    "name", ["sessionID", "session_id", "Type", "", "after ", "seq", "\ud800", "x" * 5000]
)
def test_an_unknown_field_is_refused_by_name(name: str) -> None:
    wrong, good = delta(**{name: 1}), delta()
    error = refusal(wrong)
    assert error.message == f"unknown field {name[:40]!r}"
    assert error.hint == "there are type, sessionId, before, after, timestamp, id"
    assert (error.code, error.index, error.place) == ("invalid_delta", None, None)
    among = refusal(f"[{good},{wrong}]")
    assert among.message == f"[1]: unknown field {name[:40]!r}"
    assert (among.index, among.place) == (1, "[1]")
    assert refusal(f"{good}\n{wrong}", lines=True).message == f"line 2: unknown field {name[:40]!r}"
    assert str(among).encode()  # whatever the name was, the message can be sent


def test_an_unknown_field_is_named_before_what_is_missing_because_of_it() -> None:
    assert refusal('{"type":"created","sessionID":"a","after":1}').message == "unknown field 'sessionID'"


@pytest.mark.parametrize("text", ["1", "null", "true", '"updated"', '"["'])
def test_what_is_json_but_no_object_is_refused(text: str) -> None:
    assert refusal(text).message == "a delta is a JSON object, this is not one"
    assert refusal(f"[{delta()},{text}]").message == "[1]: a delta is a JSON object, this is not one"
    assert refusal(text, lines=True).message == "line 1: a delta is a JSON object, this is not one"


def test_an_array_in_an_array_is_refused() -> None:
    assert refusal(f"[[{delta()}]]").message == "[0]: a delta is a JSON object, this is not one"
    assert refusal(f"[{delta()}]", lines=True).place == "line 1"


@pytest.mark.parametrize(
    ("text", "lines"), [("[]", False), (" [ ] ", False), ("", True), ("\n \r\n\t\n", True)]
)
def test_a_publish_without_a_delta_is_refused(text: str, lines: bool) -> None:
    error = refusal(text, lines=lines)
    assert (error.code, error.message) == ("invalid_delta", "there is no delta in it")


# What is not JSON.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: Expecting value at character 0"),
        (" ", "not JSON: Expecting value at character 1"),
        ("{", "not JSON: Expecting value at character 1"),
        ("nul", "not JSON: Expecting value at character 0"),
        ("{}x", "not JSON: more text at character 2"),
        ("1 2", "not JSON: more text at character 1"),
        ("\ufeff{}", "not JSON: Expecting value at character 0"),
        ('{"type"}', "not JSON: ':' expected at character 7"),
        ('{"type":}', "type: not JSON: Expecting value at character 8"),
        ('{"type":"updated",}', "not JSON: Expecting value at character 18"),
        ('{"type":"updated" "id":1}', "not JSON: ',' expected at character 18"),
        ("{'type':1}", "not JSON: Expecting value at character 1"),
        ("{1:1}", "not JSON: a name expected at character 1"),
        ('{"after":NaN}', "after: not JSON: NaN is not JSON"),
        ('{"after":-Infinity}', "after: not JSON: -Infinity is not JSON"),
        ('{"after":01}', "not JSON: ',' expected at character 10"),
        ('{"after":"\x1e"}', "after: not JSON: Invalid control character at character 10"),
        ('{"after":"\\q"}', "after: not JSON: Invalid \\escape at character 10"),
        ('{"after":[1,]}', "after: not JSON: Expecting value at character 12"),
        ('{"sessionID":[}', "'sessionID': not JSON: Expecting value at character 14"),
        ("[", "[0]: not JSON: Expecting value at character 1"),
        (f"[{delta()}", f"[0]: not JSON: ',' expected at character {len(delta()) + 1}"),
        (f"[{delta()},]", f"[1]: not JSON: Expecting value at character {len(delta()) + 2}"),
        (f"[{delta()}]x", f"not JSON: more text after the array, at character {len(delta()) + 2}"),
        (f'[{delta()},{{"after":[}}]', f"[1]: not JSON: Expecting value at character {len(delta()) + 12}"),
    ],
)
def test_what_is_not_json_is_refused_with_the_character(text: str, message: str) -> None:
    error = refusal(text)
    assert (type(error), error.message) == (InvalidJson, message)


def test_what_is_not_json_is_called_so_even_behind_another_mistake() -> None:
    assert refusal('{"type":"updated","sessionId":"","nope":1,"after":}').code == "invalid_json"


def test_what_is_not_json_in_a_line_is_refused_with_the_line() -> None:
    error = refusal(f"{delta()}\n{{\n", lines=True)
    assert (error.code, error.place, error.index) == ("invalid_json", "line 2", 1)
    assert error.message == "line 2: not JSON: Expecting value at character 1"


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"])
def test_what_is_not_utf_8_is_refused_wherever_it_stands(bad: bytes) -> None:
    for data in (
        bad,
        b'{"type":"created","sessionId":"' + bad + b'","after":1}',
        b'{"type":"created","sessionId":"a","after":{"deep":["' + bad + b'"]}}',
    ):
        for lines in (False, True):
            error = refusal(data, lines=lines)
            assert (error.code, error.message) == ("invalid_json", f"not UTF-8: byte {data.index(bad)}")
            assert error.hint == "send JSON as UTF-8"


# Sizes.


def exactly(size: int) -> bytes:
    """A valid delta of so many bytes, some of them of many to a character."""
    frame = '{"type":"created","sessionId":"a","after":"é%s"}'
    return (frame % ("x" * (size - len((frame % "").encode())))).encode()


def test_a_delta_of_exactly_the_limit_is_taken_and_a_byte_more_is_not() -> None:
    fits, larger = exactly(200), exactly(201)
    message = "the delta is 201 bytes long, at most 200 are allowed"
    assert len(decode_text(fits, 200)) == 1
    assert len(decode_lines(fits + b"\n" + fits, 200)) == 2
    error = refusal(larger, 200)
    assert (type(error), error.message, error.index) == (DeltaTooLarge, message, None)
    assert error.hint == "MAX_DELTA_BYTES sets the limit"
    line = refusal(fits + b"\n" + larger, 200, lines=True)
    assert (type(line), line.message, line.index) == (DeltaTooLarge, f"line 2: {message}", 1)


def test_in_an_array_each_delta_has_the_limit_for_itself() -> None:
    fits, larger = exactly(200), exactly(201)
    assert len(decode_text(b"[" + b",".join([fits] * 9) + b"]", 200)) == 9
    error = refusal(b"[" + b",".join([fits, fits, larger]) + b"]", 200)
    assert (type(error), error.index) == (DeltaTooLarge, 2)
    assert error.message == "[2]: the delta is 201 bytes long, at most 200 are allowed"
    alone = refusal(b"[" + larger + b"]", 200)
    assert (type(alone), alone.index) == (DeltaTooLarge, 0)


def test_the_limit_holds_in_an_array_that_only_the_careful_way_takes() -> None:
    odd = b'{"type":"created","sessionId":"a","after":"\\ud800"}'
    fits, larger = exactly(200), exactly(201)
    assert len(decode_text(b"[" + odd + b"," + fits + b"]", 200)) == 2
    error = refusal(b"[" + odd + b"," + larger + b"]", 200)
    assert (type(error), error.index) == (DeltaTooLarge, 1)


def test_space_around_a_delta_does_not_count() -> None:
    fits = exactly(200)
    space = b" \t\r\n" * 10
    assert len(decode_text(space + fits + space, 200)) == 1
    assert len(decode_text(b"[" + space + fits + space + b"," + space + fits + space + b"]", 200)) == 2
    assert len(decode_lines(b"  " + fits + b" \t\r\n", 200)) == 1


def test_of_two_wrong_deltas_the_first_is_named_whatever_is_wrong_with_it() -> None:
    wrong, larger = delta(sessionId="").encode(), exactly(300)
    assert refusal(b"[" + wrong + b"," + larger + b"]", 200).place == "[0].sessionId"
    assert refusal(b"[" + larger + b"," + wrong + b"]", 200).code == "delta_too_large"


# Depth.


def nested(depth: int) -> str:
    return '[{"a":' * (depth // 2) + "[]" * (depth % 2) + "1" * (1 - depth % 2) + "}]" * (depth // 2)


def test_a_state_may_nest_500_deep_and_no_deeper() -> None:
    assert MAX_DEPTH == 500
    kept = one(with_states(before=nested(500), after=nested(499)))
    assert (kept.before, kept.after) == (nested(500), nested(499))
    for name in ("before", "after"):
        states = {"before": "1", "after": "1"} | {name: nested(501)}
        error = refusal(with_states(**states))
        assert error.message == f"{name}: must not nest deeper than 500"
        among = refusal(b"[" + with_states(**states) + b"]")
        assert among.place == f"[0].{name}"


@pytest.mark.parametrize("depth", [700, 980, 1100, 5_000, 60_000])
def test_however_deep_a_state_nests_it_is_refused_by_name(depth: int) -> None:
    text = with_states(after="[" * depth + "]" * depth)
    for data, where in ((text, "after"), (b"[" + text + b"]", "[0]")):
        error = refusal(data)
        assert type(error) is InvalidDelta
        assert "nest" in error.message
        assert error.place is not None
        assert error.place.startswith(where)


def test_the_bound_of_depth_does_not_depend_on_the_stack_of_the_caller() -> None:
    def deeper(left: int) -> Delta:
        return deeper(left - 1) if left else one(with_states(after=nested(500)))

    assert deeper(200).after == nested(500)


def test_brackets_in_strings_are_not_depth() -> None:
    text = '["' + "[{" * 600 + '","\\"' + "[" * 600 + '","\\\\",["\\\\\\"' + "{" * 600 + '"]]'
    assert one(with_states(after=text)).after == text
    wide = "[" + ",".join(["[{}]"] * 600) + "]"
    assert one(with_states(after=wide)).after == wide


# Fuzz: the two ways agree, and nothing but deltas and RecorderErrors comes out.

SCALARS = st.sampled_from(
    ["null", "0", "-1.5e3", "1e400", '"x"', '"\\ud800"', '"é"', "true", '"\\u0000"', "nul", "01", '"\x01"']
)
STATES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + " , ".join(items) + "]")
        | st.lists(inner, max_size=3).map(
            lambda items: "{" + ",".join(f'"k{i}": {v}' for i, v in enumerate(items)) + "}"
        )
    ),
    max_leaves=6,
)
STRINGS = st.text(st.characters(exclude_categories=[]), max_size=6).map(json.dumps)
VALUES = {
    "type": st.sampled_from(['"created"', '"updated"', '"deleted"', '"\\u0063reated"']),
    "sessionId": STRINGS,
    "before": STATES,
    "after": STATES,
    "timestamp": st.sampled_from(['"2026-11-20T12:00:00Z"', "null"]),
    "id": STRINGS | st.just("null"),
}
WRONG = st.sampled_from(['"x"', '""', "1", "null", "[]", "nul", '"now"', '"\\ud800"', "{}", " "])


@st.composite
def envelopes(draw: st.DrawFn) -> str:
    """A delta, mostly: sometimes with a field missing, twice, unknown or wrong."""
    names = draw(st.permutations(["type", "sessionId", "after"]))
    names = names[draw(st.sampled_from([0, 0, 0, 0, 0, 0, 1])) :]
    names += draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=3))
    names += ["other"] * draw(st.sampled_from([0] * 12 + [1]))
    values = {name: WRONG if draw(st.integers(0, 15)) == 7 else VALUES.get(name, WRONG) for name in names}
    space = draw(st.sampled_from(["", " ", "\n"]))
    return (
        "{" + ",".join(f'{space}"{name}"{space}:{space}{draw(values[name])}{space}' for name in names) + "}"
    )


def outcome(text: bytes) -> list[Delta] | RecorderError:
    try:
        return decode_text(text, LIMIT)
    except RecorderError as error:
        return error


def careful(text: bytes) -> Delta | RecorderError:
    try:
        return decode._finish(explain.delta_fields(text, None), None)
    except RecorderError as error:
        return error


def fast(text: bytes) -> Delta | RecorderError | None:
    """By msgspec alone; None where it refuses."""
    try:
        wire = decode._one.decode(text)
    except msgspec.MsgspecError:
        return None
    try:
        return decode._validate(wire, None)
    except RecorderError as error:
        return error


@given(envelopes())
@example('{"type":"updated","sessionId":"a","after":"\x7f"}')
@example('{"type":"updated","sessionId":"a","after":1,"timestamp":"2026-11-20T12:00:00Z","id":"k"}')
def test_the_fast_and_the_careful_way_agree(text: str) -> None:
    data = text.encode()
    quick, slow = fast(data), careful(data)
    if isinstance(quick, Delta):
        assert slow == quick
    elif quick is not None:
        assert isinstance(slow, RecorderError)
        assert (type(slow), str(slow), slow.place) == (type(quick), str(quick), quick.place)
    # What msgspec refused the careful way may still take; what comes out in the end is its word.
    final = outcome(data)
    if isinstance(final, RecorderError):
        assert isinstance(slow, RecorderError)
        assert str(slow) == str(final)
    else:
        assert final == [slow]


@given(st.lists(envelopes(), min_size=1, max_size=4))
def test_an_array_gives_what_its_elements_give_alone_or_the_first_refusal(texts: list[str]) -> None:
    together = outcome(f"[{','.join(texts)}]".encode())
    alone = [outcome(text.encode()) for text in texts]
    wrong = [index for index, found in enumerate(alone) if isinstance(found, RecorderError)]
    if isinstance(together, RecorderError):
        assert together.index == wrong[0]
    else:
        assert wrong == []
        assert together == [found[0] for found in alone if isinstance(found, list)]


@given(st.lists(envelopes().map(lambda text: text.replace("\n", " ")), min_size=1, max_size=4))
def test_lines_give_what_they_give_alone_or_the_first_refusal(texts: list[str]) -> None:
    alone = [outcome(text.encode()) for text in texts]
    wrong = [index for index, found in enumerate(alone) if isinstance(found, RecorderError)]
    data = "\n".join(texts).encode()
    if wrong:
        assert refusal(data, lines=True).index == wrong[0]
    else:
        assert decode_lines(data, LIMIT) == [found[0] for found in alone if isinstance(found, list)]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A frame with a few bytes changed, cut or put in."""
    data = bytearray(
        draw(st.lists(envelopes(), min_size=1, max_size=3).map(lambda t: f"[{','.join(t)}]".encode()))
    )
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"]"])
        )
    return bytes(data)


@given(st.binary(max_size=60) | damaged() | st.text(max_size=40).map(lambda t: t.encode("utf-8", "replace")))
def test_any_bytes_give_deltas_or_a_recorder_error_and_nothing_else(data: bytes) -> None:
    for read in (decode_text, decode_lines):
        try:
            deltas = read(data, 100)
        except InvalidDelta as error:
            message = str(error)
        else:
            assert deltas
            assert all(isinstance(found, Delta) for found in deltas)
            continue
        assert 0 < len(message.encode()) < 400


@pytest.mark.parametrize(
    "hostile", [b"[" + b"1," * 200_000 + b"1]", b"\n" * 400_000, b"[" * 400_000, b'{"a":' * 90_000]
)
def test_a_hostile_text_is_refused_without_walking_through_all_of_it(hostile: bytes) -> None:
    for lines in (False, True):
        error = refusal(hostile, lines=lines)
        assert len(str(error)) < 200


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("state", ["1", r'"\ud83d"'])
def test_behind_as_many_deltas_as_allowed_nothing_is_looked_at(state: str, lines: bool) -> None:
    decode = decode_lines if lines else decode_text
    fits = [with_states(after=state)] * 3

    def joined(*texts: bytes) -> bytes:
        return b"\n".join(texts) if lines else b"[" + b",".join(texts) + b"]"

    assert len(decode(joined(*fits), LIMIT, 3)) == 3
    for further in (fits[:1], [b"{}"]):
        with pytest.raises(
            TooManyDeltas, match=r"more than 3 deltas in one publish .*MAX_DELTAS_PER_MESSAGE"
        ):
            decode(joined(*fits, *further), LIMIT, 3)
    # What is wrong in front of that is told as ever.
    with pytest.raises(InvalidDelta):
        decode(joined(b"{}", *fits), LIMIT, 3)
