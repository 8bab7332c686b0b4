"""Patches: applied by the letter of their RFCs, they make one state into the other, to the last digit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.json_patch import (
    Inexpressible,
    diff,
    escape,
    find,
    json_patch,
    merge_patch,
    parse_pointer,
    same,
)

NAMES = st.one_of(st.sampled_from(["a", "b", "", "~", "/", "~1", "0", "-"]), st.text(max_size=3))
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from(["", "x", "é\n"]))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)
LISTS = st.lists(st.sampled_from([1, 2, 3, "x", {"k": 1}, {"k": 2}]), max_size=9)


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def apply(patch: list[dict[str, Any]], document: Any) -> Any:
    """RFC 6902, section 4, for the three operations there are; strict about what must exist."""
    root = {"": document}
    for operation in patch:
        steps = ["", *parse_pointer(operation["path"])]
        parent: Any = root
        for step in steps[:-1]:
            parent = parent[int(step)] if isinstance(parent, list) else parent[step]
        last = steps[-1]
        if isinstance(parent, list):
            place = int(last)
            assert 0 <= place < len(parent) + (operation["op"] == "add")
            if operation["op"] == "add":
                parent.insert(place, operation["value"])
            elif operation["op"] == "remove":
                del parent[place]
            else:
                parent[place] = operation["value"]
        elif operation["op"] == "remove":
            del parent[last]
        else:
            assert operation["op"] == "add" or last in parent
            parent[last] = operation["value"]
    return root[""]


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merge(found.get(name), value)
    return found


def equal(one: Any, other: Any) -> bool:
    """As JSON: `True` is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@given(VALUES, VALUES)
def test_a_patch_makes_one_value_into_the_other(before: Any, after: Any) -> None:
    patch = json.loads(json_patch(text(before), text(after)))
    assert equal(apply(patch, json.loads(text(before))), after)
    assert equal(before, after) == (patch == []) == same(text(before), text(after))


@given(LISTS, LISTS)
def test_arrays_come_out_element_by_element(before: Any, after: Any) -> None:
    patch = json.loads(json_patch(text({"l": before}), text({"l": after})))
    assert equal(apply(patch, json.loads(text({"l": before}))), {"l": after})
    assert all(operation["path"].startswith("/l/") for operation in patch)


@given(VALUES, VALUES)
def test_a_merge_patch_makes_one_value_into_the_other_or_says_that_it_cannot(before: Any, after: Any) -> None:
    try:
        patch = json.loads(merge_patch(text(before), text(after)))
    except Inexpressible:
        assert "null" in json.dumps(after)
    else:
        assert equal(merge(before, patch), after)


@pytest.mark.parametrize(
    ("before", "after", "operations"),
    [
        ('{"a":1, "b":[1]}', ' {"b":[1],"a":1}', []),
        ('"\\u0041"', '"A"', []),
        ("[1,2,3]", "[1,2,3,4]", [("add", "/3", "4")]),
        ("[1,2,3]", "[1,3]", [("remove", "/1", None)]),
        ("[0,1,2]", "[1,2,0]", [("remove", "/0", None), ("add", "/2", "0")]),
        ('[{"s":"a"},{"s":"b"}]', '[{"s":"a"},{"s":"c"}]', [("replace", "/1/s", '"c"')]),
        ('{"a/b":{"~":1}}', '{"a/b":{"~":2}}', [("replace", "/a~1b/~0", "2")]),
        ('{"a":1}', "[1]", [("replace", "", "[1]")]),
        ('{"":1}', '{"":null}', [("replace", "/", "null")]),
        ("1", "1.0", [("replace", "", "1.0")]),
    ],
)
def test_what_changed_is_said_in_few_words(before: str, after: str, operations: list[Any]) -> None:
    found = [
        (op, path, value and value.decode()) for op, path, value in diff(before.encode(), after.encode())
    ]
    assert found == operations


def test_numbers_keep_their_digits_and_depth_costs_no_calls() -> None:
    big = b"123456789012345678901234567890"
    assert json_patch(b"{}", b'{"n":%b}' % big) == b'[{"op":"add","path":"/n","value":%b}]' % big
    assert merge_patch(b"{}", b'{"n":1.0e+2}') == b'{"n":1.0e+2}'
    deep = b'{"a":[' * 250, b"]}" * 250
    (only,) = diff(deep[0] + b"1" + deep[1], deep[0] + b"2" + deep[1])
    assert (only.op, only.path, only.value) == ("replace", "/a/0" * 250, b"2")
    objects = b'{"a":' * 499, b"}" * 499
    assert (
        merge_patch(objects[0] + b"1" + objects[1], objects[0] + b"2" + objects[1])
        == objects[0] + b"2" + objects[1]
    )


def test_long_lists_are_compared_in_linear_time() -> None:
    before = text([{"n": n} for n in range(20_000)])
    after = text([{"n": n} for n in reversed(range(20_000))])
    assert equal(apply(json.loads(json_patch(before, after)), json.loads(before)), json.loads(after))


def test_half_of_a_surrogate_pair_is_a_name_like_any_other() -> None:
    patch = json_patch(b'{"\\ud800":1}', b'{"\\ud800":2}')
    assert json.loads(patch) == [{"op": "replace", "path": "/\ud800", "value": 2}]


def test_many_changes_below_a_long_name_make_no_patch_many_times_as_long_as_the_states() -> None:
    name = "x" * 20_000
    for change in (lambda n: n + 1, lambda n: [n], str):
        before = text({name: list(range(4_000)), "kept": 1})
        after = text({name: [change(n) for n in range(4_000)], "kept": 1})
        patch = json_patch(before, after)
        assert len(patch) < 17 * (len(before) + len(after))
        assert apply(json.loads(patch), json.loads(before)) == json.loads(after)


def test_lists_of_which_every_element_changes_are_told_element_by_element() -> None:
    before, after = text([0] * 3_000), text([1] * 3_000)
    patch = json.loads(json_patch(before, after))
    assert [operation["op"] for operation in patch] == ["replace"] * 3_000
    assert apply(patch, json.loads(before)) == json.loads(after)


POINTED_AT = (
    rb'{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,'
    rb' "deep" : [ {"x": 1e2} ]}'
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", POINTED_AT.decode()),
        ("/foo", '["bar","baz"]'),
        ("/foo/0", '"bar"'),
        ("/", "0"),
        ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"),
        ("/g|h", "4"),
        ("/i\\j", "5"),
        ('/k"l', "6"),
        ("/ ", "7"),
        ("/m~0n", "8"),
        ("/deep/0/x", "1e2"),
        ("/foo/2", None),
        ("/foo/-", None),
        ("/foo/01", None),
        ("/foo/bar", None),
        ("/foo/0/x", None),
        ("/none/of/this", None),
    ],
)
def test_a_pointer_finds_the_text_of_a_value(path: str, value: str | None) -> None:
    assert find(POINTED_AT, parse_pointer(path)) == (None if value is None else value.encode())


@pytest.mark.parametrize("path", ["foo", "~", "/~", "/a~2b", "/~/x"])
def test_what_is_no_pointer_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_pointer(path)


@pytest.mark.parametrize("name", ["", "a", "~", "/", "~1", "~01", "/~/"])
def test_a_name_survives_being_escaped(name: str) -> None:
    assert parse_pointer(f"/{escape(name)}") == (name,)
