"""The schema of a delta that is published says what the ingest says."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from recorder.api.openapi import description
from recorder.core.delta import MAX_ID, MAX_SESSION_ID
from recorder.core.errors import InvalidDelta
from recorder.wire.decode import decode_text

VALIDATOR = Draft202012Validator(
    {"$ref": "#/components/schemas/NewDelta", "components": description()["components"]}
)
MISSING = object()

states = st.sampled_from([MISSING, None, 0, "", False, {}, [], {"a": [1, None]}])
members = {
    "type": st.sampled_from([MISSING, "created", "updated", "deleted", "renamed", None, 1]),
    "sessionId": st.sampled_from(
        [
            MISSING,
            "a",
            "",
            " ",
            "ä/?%",
            "x" * MAX_SESSION_ID,
            "x" * (MAX_SESSION_ID + 1),
            "\n",
            "\x7f",
            7,
            None,
        ]
    ),
    "before": states,
    "after": states,
    "timestamp": st.sampled_from([MISSING, None, "2026-11-20T12:00:00Z", 5]),
    "id": st.sampled_from([MISSING, None, "i", "", "i" * MAX_ID, "i" * (MAX_ID + 1), 3]),
    "sessionID": st.sampled_from([MISSING] * 9 + ["a"]),
}


def is_taken(delta: dict[str, Any]) -> bool:
    try:
        decode_text(orjson.dumps(delta), 1 << 20)
    except InvalidDelta:
        return False
    return True


@given(st.fixed_dictionaries(members))
def test_the_schema_of_a_delta_takes_what_the_intake_takes(given_: dict[str, Any]) -> None:
    delta = {name: value for name, value in given_.items() if value is not MISSING}
    assert VALIDATOR.is_valid(delta) == is_taken(delta)


def test_every_valid_shape_of_a_delta_is_taken_by_both() -> None:
    for delta in (
        {"type": "created", "sessionId": "a", "after": 0},
        {"type": "created", "sessionId": "a", "after": {}, "before": None},
        {"type": "updated", "sessionId": "a", "after": False, "before": ""},
        {"type": "deleted", "sessionId": "a", "before": [1], "after": None, "timestamp": None, "id": None},
    ):
        assert VALIDATOR.is_valid(delta)
        assert is_taken(delta)
