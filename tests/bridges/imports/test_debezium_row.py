"""Which row an event speaks of: rows that differ never share a session, however alike their keys look."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.bridges.imports import envelope
from recorder.bridges.imports.debezium_row import session_id
from recorder.bridges.imports.records import Unfit

SOURCE = {"name": "s", "db": "d", "table": "t"}


def name(
    row: Any = None,
    *,
    source: dict[str, Any] | None = None,
    topic: str | None = None,
    key: str | None = None,
    selector: str | None = None,
    wanted: tuple[str, ...] = (),
    before: Any = None,
) -> str:
    """The session of a row."""
    texts = {
        field: json.dumps(value).encode() for field, value in (SOURCE if source is None else source).items()
    }
    states = [None if state is None else json.dumps(state).encode() for state in (before, row)]
    return session_id(
        texts,
        topic,
        None if key is None else key.encode(),
        (states[0], states[1]),
        None if selector is None else selector.encode(),
        wanted,
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"name": "s", "db": "d", "schema": "x", "table": "t"}, "s/d.x.t"),
        ({"db": "d", "table": "t"}, "d.t"),
        ({"table": "t"}, "t"),
        ({"cluster": "c", "keyspace": "k", "table": "t"}, "c/k.t"),
        ({"connector": "postgresql", "db": "d", "table": "t"}, "postgresql/d.t"),
        ({"name": "s", "db": "", "schema": None, "collection": "t"}, "s/t"),
        ({"name": "s", "database_id": "p", "table": "t"}, "s/p.t"),
        ({"name": "a/b", "db": "c.d", "table": "e%f"}, "a%2Fb/c%2Ed.e%25f"),
    ],
)
def test_the_table_is_named_by_its_source(source: dict[str, Any], expected: str) -> None:
    assert name({"id": 1}, source=source) == f"{expected}/1"


def test_a_topic_stands_in_for_a_source_that_names_no_table() -> None:
    assert name({"id": 1}, source={}, topic="a.b/c") == "a.b%2Fc/1"
    assert name({"id": 1}, source={"name": "s"}, topic="a.b") == "a.b/1"
    with pytest.raises(Unfit, match="which table"):
        name({"id": 1}, source={"name": "s"})


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ('{"id":7}', "7"),
        ('{"schema":{"type":"struct"},"payload":{"id":7}}', "7"),
        ('{"payload":{"id":7}}', "7"),
        ('{"payload":7}', "7"),
        ('"{\\"id\\":7}"', "7"),
        ('"Struct{id=7}"', "Struct{id=7}"),
        ("7", "7"),
        ('"a b"', "a b"),
        ('"7"', '"7"'),
        ('"null"', '"null"'),
        ('{"b":"x","a":1}', '{"a":1,"b":"x"}'),
        ('{"id":7,"__dbz__physicalTableIdentifier":"s.d.t"}', "7"),
        ('{"payload":1,"id":2}', '{"id":2,"payload":1}'),
        ('{"id":123456789012345678901234567890}', "123456789012345678901234567890"),
        ('{"id":{"b": 1, "a":[ ]}}', '{"b":1,"a":[]}'),
    ],
)
def test_the_events_own_key_goes_before_a_guess(key: str, expected: str) -> None:
    assert name({"id": 1}, key=key) == f"s/d.t/{expected}"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"n": 1, "id": 7}, "7"),
        ({"_id": 7, "n": 1}, "7"),
        ({"id": 7, "_id": 8}, "7"),
        ({"ID": 7}, "7"),
        ({"id": {"value": 7, "deletion_ts": None, "set": True}}, "7"),
        ({"id": {"value": 7}}, '{"value":7}'),
        (json.dumps({"_id": {"$oid": "a"}}), '{"$oid":"a"}'),
    ],
)
def test_without_a_key_the_rows_id_counts(row: Any, expected: str) -> None:
    assert name(row) == f"s/d.t/{expected}"
    assert name(None, before=row) == f"s/d.t/{expected}"


def test_the_filter_of_an_older_mongodb_names_the_document() -> None:
    assert name(selector='"{\\"_id\\":5}"') == "s/d.t/5"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"n": 1}, "nothing says which field is the row's key"),
        ({"ID": 1, "Id": 2}, "nothing says which field"),
        ({"id": None}, "the row's key 'id' is null"),
        ({}, "neither a key nor a row"),
        (None, "neither a key nor a row"),
        ([1], "neither a key nor a row"),
        ("{no json", "neither a key nor a row"),
        ('{"\ud83d":1}', "neither a key nor a row"),
        ("text", "neither a key nor a row"),
    ],
)
def test_a_row_that_cannot_be_told_is_refused_with_a_way_out(row: Any, said: str) -> None:
    with pytest.raises(Unfit, match=said) as caught:
        name(row)
    assert caught.value.hint is not None


def test_fields_named_by_the_person_go_before_everything_else() -> None:
    row = {"a": 1, "b": "x", "id": 9}
    assert name(row, key='{"k":2}', wanted=("a",)) == "s/d.t/1"
    assert name(row, wanted=("b", "a")) == name(row, wanted=("a", "b")) == 's/d.t/{"a":1,"b":"x"}'
    assert name(row, key='{"k":2}', wanted=("k",)) == "s/d.t/2"
    for missing in ("c", "n"):
        with pytest.raises(Unfit, match=f"the row has no '{missing}', which --key names"):
            name(row | {"n": None}, wanted=("a", missing))


def test_a_null_in_the_events_own_key_is_refused() -> None:
    with pytest.raises(Unfit, match="key 'id' is null"):
        name({"id": 1}, key='{"id":null}')


NAMES = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["a.b", "a/b", "a%2Eb", "1", '"1"', "null"]
)
KEYS = st.recursive(
    NAMES | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=2), max_leaves=3
)
ROWS = st.tuples(NAMES, NAMES, NAMES.filter(bool), KEYS)


@given(ROWS, ROWS)
def test_two_rows_never_become_one_session(one: Any, other: Any) -> None:
    sessions = []
    for server, database, table, key in (one, other):
        source = {"name": server, "db": database, "schema": "s", "table": table}
        sessions.append(name({"id": key}, source=source))
        assert envelope.is_session_id(sessions[-1])
    assert (sessions[0] == sessions[1]) == (json.dumps(one) == json.dumps(other))


@given(
    st.dictionaries(NAMES, KEYS, min_size=1, max_size=3), st.dictionaries(NAMES, KEYS, min_size=1, max_size=3)
)
def test_keys_of_several_fields_differ_when_the_rows_do(one: dict[str, Any], other: dict[str, Any]) -> None:
    sessions = [name({}, key=json.dumps({"a": 0, "b": 0} | key)) for key in (one, other)]
    texts = [json.dumps({"a": 0, "b": 0} | key, sort_keys=True) for key in (one, other)]
    assert (sessions[0] == sessions[1]) == (texts[0] == texts[1])


@pytest.mark.parametrize("key", ["x" * 300, "a\nb", "a\x7fb", "\ud83d"])
def test_a_key_that_no_session_can_have_is_told_apart_by_a_digest(key: str) -> None:
    first, second = name({"id": key}), name({"id": f"{key}."})
    assert envelope.is_session_id(first)
    assert first != second
    assert first.startswith("s/d.t/")
    assert first[-33] == "~"
