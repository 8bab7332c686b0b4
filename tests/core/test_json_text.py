"""Cutting JSON: every slice is the very text that stood there, and what is no JSON is said to be so, and where."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recorder.core import json_text as jsontext
from recorder.core.json_text import BadJson
from tests.support.jsontexts import SCALARS, SPACES, STRINGS, VALUES, arrays, objects

VALUE = VALUES | arrays(VALUES) | objects(VALUES)
# Near to JSON: valid texts, and the characters that it is made of in any order.
NEARLY = st.text('[]{},:"\\ \nu0d18e+-.truefalsnNaIity\x01\x1eé', max_size=12)
DEEP = "[" * 100_000


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """JSON with a piece taken out and another put in."""
    text = draw(VALUE)
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(NEARLY) + text[at + draw(st.integers(0, 2)) :]


def is_json(text: str) -> bool:
    """What the standard library says of it, once it is told what JSON does not have."""
    try:
        json.loads(text, parse_constant=jsontext.no_constant)
    except ValueError:
        return False
    return True


def careful_members(data: bytes) -> dict[str, bytes]:
    return {name: text.encode() for name, text in jsontext.scan_members(data.decode())}


def fast_elements(data: bytes) -> list[bytes]:
    return list(jsontext.elements(data))


def careful_elements(data: bytes) -> list[bytes]:
    return [text.encode() for text in jsontext.scan_elements(data.decode())]


def values(data: bytes) -> list[bytes]:
    return [text.encode() for text in jsontext.scan_values(data.decode())]


MEMBERS = [jsontext.members, careful_members]
ELEMENTS = [fast_elements, careful_elements]


# What is JSON.


@given(NEARLY | VALUE | damaged())
@example('"\ud83d"'.encode("ascii", "backslashreplace").decode())
@example("NaN")
@example("[-Infinity]")
@example('"\x1f"')
@example('"\x7f"')
@example("1 2")
@example("1" * 5000)
def test_json_is_what_the_standard_library_reads(text: str) -> None:
    # Python builds no int of more digits than that; the one example that has them is JSON.
    if len(text) > 4300 or is_json(text):
        jsontext.check(text.encode())
    else:
        with pytest.raises(BadJson) as caught:
            jsontext.check(text.encode())
        assert caught.value.kind == "syntax"


@given(NEARLY | VALUE | damaged())
def test_the_fast_and_the_careful_way_agree(text: str) -> None:
    data = text.encode()
    for ways in (MEMBERS, ELEMENTS):
        outcomes = []
        for way in ways:
            try:
                outcomes.append(way(data))
            except BadJson as bad:
                outcomes.append((bad.message, bad.kind, bad.character, bad.inside))
        assert outcomes[0] == outcomes[1]


@settings(max_examples=50)
@given(st.lists(st.tuples(SPACES, STRINGS, SPACES, SPACES, VALUE, SPACES), max_size=4), SPACES, SPACES)
def test_an_object_is_the_sum_of_its_members(pairs: list[tuple[str, ...]], before: str, behind: str) -> None:
    inner = ",".join(f"{a}{name}{b}:{c}{value}{d}" for a, name, b, c, value, d in pairs)
    text = f"{before}{{{inner}}}{behind}"
    found = list(jsontext.scan_members(text))
    assert found == [(json.loads(name), value) for _, name, _, _, value, _ in pairs]
    for way in MEMBERS:
        assert way(text.encode()) == {name: value.encode() for name, value in found}


@settings(max_examples=50)
@given(st.lists(st.tuples(SPACES, VALUE, SPACES), max_size=5), SPACES, SPACES)
def test_an_array_is_the_sum_of_its_elements(parts: list[tuple[str, ...]], before: str, behind: str) -> None:
    text = f"{before}[{','.join(''.join(part) for part in parts)}]{behind}"
    found = list(jsontext.scan_elements(text))
    assert found == [value for _, value, _ in parts]
    # Between the slices stands nothing but brackets, commas and white space.
    rest = text
    for value in found:
        head, _, rest = rest.partition(value)
        assert not head.strip("[, \t\r\n")
    assert not rest.strip("[], \t\r\n")
    for way in ELEMENTS:
        assert way(text.encode()) == [value.encode() for value in found]


@settings(max_examples=50)
@given(st.lists(st.tuples(VALUE, st.sampled_from(["\n", " ", "\r\n\t"])), max_size=5), SPACES)
def test_values_one_after_another_are_told_apart(parts: list[tuple[str, str]], before: str) -> None:
    assert values((before + "".join(chain(*parts))).encode()) == [value.encode() for value, _ in parts]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("{}[]{}", ["{}", "[]", "{}"]),
        ('1{}"a"[2]3 4', ["1", "{}", '"a"', "[2]", "3", "4"]),
    ],
)
def test_brackets_need_no_white_space_between_values(text: str, found: list[str]) -> None:
    assert list(jsontext.scan_values(text)) == found


@pytest.mark.parametrize("text", ["01", '"a""b"', "nulltrue", '1"a"', "{} 1-2"])
def test_values_that_run_into_one_another_are_refused(text: str) -> None:
    with pytest.raises(BadJson, match="white space expected at character "):
        values(text.encode())


@given(SPACES, VALUE, st.sampled_from(["", " 1", ",", "]", "}", ":"]))
def test_a_value_ends_where_it_ends(before: str, value: str, behind: str) -> None:
    text = before + value + behind
    start = jsontext.skip_space(text, 0)
    assert text[start : jsontext.value_end(text, start)] == value


# What is not.

BAD = [
    "",
    " ",
    "{",
    "[1,]",
    "NaN",
    "[Infinity]",
    "-Infinity",
    "01",
    "1.",
    "+1",
    "'a'",
    '"\x01"',
    '"\\x"',
    '"\\ud8"',
    "tru",
]


@pytest.mark.parametrize("text", [*BAD, "1 2", '"\\ud83d" 1', "{}}", "[]]", "\ufeff1"])
@pytest.mark.parametrize("way", [jsontext.check, *MEMBERS, *ELEMENTS])
def test_what_is_not_json_is_called_so(way: Callable[[bytes], Any], text: str) -> None:
    with pytest.raises(BadJson, match=r"^not JSON: ") as caught:
        way(text.encode())
    assert caught.value.kind == "syntax"
    assert str(caught.value) == caught.value.message


@pytest.mark.parametrize("data", [b"\xff", b'"\xed\xa0\xbd"', b'{"a":"\xc3"}', b'["\xc3"]'])
@pytest.mark.parametrize("way", [jsontext.check, jsontext.members, fast_elements])
def test_what_is_not_utf8_is_called_so(way: Callable[[bytes], Any], data: bytes) -> None:
    with pytest.raises(BadJson, match=r"^not UTF-8: byte ") as caught:
        way(data)
    assert caught.value.kind == "encoding"
    assert caught.value.character is not None
    assert not data[caught.value.character : caught.value.character + 1].isascii()


@pytest.mark.parametrize(
    ("text", "kind"),
    [("{}", "an object"), ("[]", "an array"), ('""', "a string"), ("true", "a boolean"), ("false", "a boolean"),
     ("null", "null"), ("-1", "a number"), (" 0", "a number")],
)  # fmt: skip
def test_another_type_than_wanted_is_named(text: str, kind: str) -> None:
    for wanted, ways in (("an object", MEMBERS), ("an array", ELEMENTS)):
        for way in ways if kind != wanted else []:
            with pytest.raises(BadJson, match=f"^{wanted} is wanted, this is {kind}$") as caught:
                way(text.encode())
            assert caught.value.kind == "type"


@pytest.mark.parametrize(
    ("text", "character", "inside"),
    [
        ('{"a"}', 4, None),
        ('{"a":}', 5, "a"),
        ('{"a":1', 6, None),
        ('{"a":1,}', 7, None),
        ('{"a":1 2}', 7, None),
        ('{"a":[1,]}', 8, "a"),
        ('{"a":1}}', 7, None),
        ("{1:1}", 1, None),
        ("{,}", 1, None),
        ('{"a":NaN}', None, "a"),
        ('{"a":1,"b":"\x01"}', 12, "b"),
    ],
)
def test_in_an_object_the_place_and_the_member_are_named(
    text: str, character: int | None, inside: str | None
) -> None:
    with pytest.raises(BadJson) as caught:
        list(jsontext.scan_members(text))
    assert (caught.value.character, caught.value.inside) == (character, inside)


@pytest.mark.parametrize(
    ("text", "character", "inside"),
    [("[", 1, 0), ("[1", 2, 0), ("[1,]", 3, 1), ("[1 2]", 3, 0), ("[1]]", 3, None), ("[1,NaN]", None, 1)],
)
def test_in_an_array_the_place_and_the_element_are_named(
    text: str, character: int | None, inside: int | None
) -> None:
    with pytest.raises(BadJson) as caught:
        list(jsontext.scan_elements(text))
    assert (caught.value.character, caught.value.inside) == (character, inside)


def test_members_and_elements_come_up_to_where_the_text_breaks_off() -> None:
    found = jsontext.scan_members('{"a": 1, "b" 2}')
    assert next(found) == ("a", "1")
    with pytest.raises(BadJson, match="':' expected at character 13"):
        next(found)
    cut = jsontext.elements(b'[1, "two" nonsense')
    assert [next(cut), next(cut)] == [b"1", b'"two"']
    with pytest.raises(BadJson, match="',' expected at character 10"):
        next(cut)


def test_of_a_name_given_twice_the_last_counts() -> None:
    assert (
        jsontext.members(b'{"a":1,"a":2}') == jsontext.members(b'{"a":"\\ud83d","\\u0061":2}') == {"a": b"2"}
    )


def test_numbers_are_skipped_and_never_built() -> None:
    digits = "9" * 50_000
    assert list(jsontext.scan_elements(f"[{digits},-{digits}.{digits}]")) == [digits, f"-{digits}.{digits}"]


# Depth.


@pytest.mark.parametrize("text", [DEEP, '{"a":' * 100_000, f'{{"a":{DEEP}', f'[{"{"}"a":{DEEP}'])
@pytest.mark.parametrize(
    "way", [jsontext.check, jsontext.members, fast_elements, careful_members, careful_elements]
)
def test_what_would_not_fit_the_stack_is_an_error_of_its_own(way: Callable[[bytes], Any], text: str) -> None:
    with pytest.raises(BadJson, match=r"^nested too deeply$") as caught:
        way(text.encode())
    assert caught.value.kind == "depth"


def test_in_text_that_is_known_to_be_json_no_depth_is_too_deep() -> None:
    deep = '[{"}\\"]":"[","a" : ' * 5000 + "1e2 " + "}]" * 5000
    text = f'{{"a" : {deep} ,"b":2}}'
    assert jsontext.members(text.encode(), trusted=True) == {"a": deep.encode(), "b": b"2"}
    assert list(jsontext.scan_members(text, trusted=True)) == [("a", deep), ("b", "2")]
    with pytest.raises(BadJson, match="unexpected end"):
        jsontext.members(text[:-20].encode(), trusted=True)
    with pytest.raises(BadJson, match="not JSON"):
        jsontext.members(b'{"a":nul}', trusted=True)


def deepest(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(deepest, value.values()), default=0)
    return 1 + max(map(deepest, value), default=0) if isinstance(value, list) else 0


# Without names given twice: only the last of them is left in a value.
TREES = st.recursive(
    SCALARS,
    lambda inner: arrays(inner) | st.dictionaries(st.text(max_size=2), inner, max_size=3).map(
        lambda found: "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in found.items()) + "}"
    ),
)  # fmt: skip


@given(TREES)
def test_the_depth_of_a_text_is_the_depth_of_its_value(text: str) -> None:
    depth = deepest(json.loads(text))
    assert jsontext.depth(text) == depth
    for limit in range(depth + 2):
        # Short texts need no look; so that they get one, make them long.
        assert jsontext.is_deeper(text + " " * 100, limit) == (depth > limit)


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_limit_of_depth_holds_to_the_level(levels: int, limit: int) -> None:
    assert jsontext.is_deeper("[" * levels + "]" * levels, limit) == (levels > limit)
    assert not jsontext.is_deeper('"' + "[" * 200 + '"', limit)
    assert not jsontext.is_deeper("[" + "[]," * 200 + "1]", limit + 2)
