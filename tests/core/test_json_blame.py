"""Blame: whoever changed a place is found, however the walk is cut into pieces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from recorder.core.json_blame import Blame, Touch
from recorder.core.json_patch import parse_pointer
from recorder.wire.export import ExportRow

AT = "2026-11-20T12:00:00.000Z"
STATES = st.one_of(
    st.none(),
    st.just({"plan": []}),
    st.fixed_dictionaries(
        {"plan": st.lists(st.fixed_dictionaries({"status": st.sampled_from("ab")}), max_size=2)}
    ),
)


def row(seq: int, after: str | None, kind: str = "updated") -> ExportRow:
    kind = "deleted" if after is None and kind == "updated" else kind
    return ExportRow(seq, AT, kind, "s", None, after, AT, None, None, None)


def walked(states: Sequence[Any], path: str, cuts: int, base: Any = None) -> list[tuple[int, Any, Any]]:
    """(seq, before, after) of each touch; the rows are given in pieces of `cuts`."""
    rows = [row(seq, None if state is None else json.dumps(state)) for seq, state in enumerate(states, 1)][
        ::-1
    ]
    walk = Blame(parse_pointer(path))
    touches: list[Touch] = []
    for start in range(0, len(rows), cuts):
        touches += walk.back(rows[start : start + cuts])
    first = walk.begun(None if base is None else json.dumps(base))
    return [
        (touch.row.seq, *[value and json.loads(value) for value in (touch.before, touch.after)])
        for touch in [*touches, *([first] if first else [])]
    ]


def at(state: Any, path: str) -> Any:
    """The value at a place, by other means."""
    for step in path.split("/")[1:]:
        try:
            state = state[int(step)] if isinstance(state, list) else state[step]
        except (LookupError, TypeError):
            return None
    return state


@given(
    st.lists(STATES, max_size=12),
    STATES,
    st.sampled_from(["", "/plan", "/plan/0", "/plan/1/status"]),
    st.integers(1, 5),
)
def test_a_touch_is_where_the_value_differs_from_the_one_before(
    states: list[Any], base: Any, path: str, cuts: int
) -> None:
    values = [at(base, path), *[at(state, path) for state in states]]
    expected = [
        (seq, values[seq - 1], values[seq]) for seq in range(1, len(values)) if values[seq - 1] != values[seq]
    ]
    assert walked(states, path, cuts, base) == expected[::-1]


def test_what_only_looks_different_touches_nothing_and_digits_are_kept() -> None:
    walk = Blame(parse_pointer("/n"))
    rows = [
        row(3, '{ "n" : {"b":2,"a":12345678901234567890123} }'),
        row(2, '{"n":{"a":12345678901234567890123,"b":2}}'),
    ]
    assert list(walk.back([*rows, row(1, '{"n":1e2}')])) == [
        Touch(rows[1], b"1e2", b'{"a":12345678901234567890123,"b":2}')
    ]
    first = walk.begun(None)
    assert first is not None
    assert json.loads(first.text) == {
        "seq": 1,
        "recordedAt": AT,
        "timestamp": AT,
        "type": "updated",
        "after": 100.0,
    }
    assert b'"after":1e2}' in first.text


def test_a_state_whose_content_is_gone_ends_the_walk() -> None:
    walk = Blame(parse_pointer("/n"))
    gone = row(1, None)._replace(type="updated")
    assert list(walk.back([row(3, '{"n":1}'), row(2, '{"n":1}'), gone, row(1, '{"n":0}')])) == []
    assert walk.erased
    assert walk.pending == 2
