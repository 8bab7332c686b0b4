"""Tests of the values a subscription yields."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.client import Ack, Delta, Live, State
from recorder.client.events import Freshness, OutcomeUnknown, PublishRefused, assess, decode_value, worst
from recorder.core.errors import BY_CODE, ClientError
from recorder.core.position import Position


def delta(before: bytes | None = None, after: bytes | None = b"1") -> Delta:
    return Delta(
        7, "E", "t1", None, None, False, None, None, "updated", "s", "t0", None, before, after, b"{}"
    )


def test_a_delta_tells_where_to_resume_after_it() -> None:
    assert delta().position == Position("E", 7)
    assert replace(delta(), hash="ab" * 32).position == Position("E", 7, "ab" * 32)
    assert Live(7, "E", "ab" * 32).position == Position("E", 7, "ab" * 32)
    assert str(delta().position) == "E:7"
    assert Live(7, "E").position == Ack("E", 5, 7, 3, False).position == Position("E", 7)


def test_states_are_decoded_on_access_and_exact_as_text() -> None:
    text = b'{"n": 123456789012345678901234567890, "x": 1e2}'
    assert delta(after=text).after == {"n": 123456789012345678901234567890, "x": 100.0}
    assert delta(after=text).after_raw == text
    assert delta(before=b"0").before == 0
    assert delta().before is None
    assert State(1, "E", "s", b"[]", b"").state == []


def test_changing_a_decoded_state_does_not_change_the_event() -> None:
    event = delta(after=b'{"a":1}')
    event.after["a"] = 2
    assert event.after == {"a": 1}


def test_a_state_that_python_cannot_hold_fails_only_when_looked_at() -> None:
    event = delta(after=b"[" * 5000 + b"]" * 5000)
    with pytest.raises(ClientError, match="deeply"):
        _ = event.after


def test_events_are_frozen_and_have_no_room_for_more() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        delta().seq = 8  # type: ignore[misc]
    assert not hasattr(delta(), "__dict__")


TEXTS = st.text(st.characters(codec=None), max_size=8)  # lone surrogates too
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_any_value_is_decoded_as_the_standard_library_would(value: Any) -> None:
    assert decode_value(json.dumps(value).encode()) == value


def test_a_number_of_thirty_digits_stays_exact() -> None:
    assert decode_value(b"[123456789012345678901234567890]") == [123456789012345678901234567890]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"NaN", b"[1,]", b"\xff", b"[" * 100_000, b"1" * 5000, b'"\xed\xa0\xbd"']
)
def test_what_python_cannot_hold_is_said_to_be_so(text: bytes) -> None:
    with pytest.raises(ClientError, match=r"decoded|deeply"):
        decode_value(text)


def test_a_refusal_carries_the_servers_code_message_and_index() -> None:
    refused = PublishRefused("invalid_delta", "[2].after: required", 2)
    assert isinstance(refused, ClientError)
    assert (refused.code, refused.message, refused.index, refused.retry) == (
        "invalid_delta",
        "[2].after: required",
        2,
        False,
    )


def test_a_refusal_is_worth_another_try_where_the_servers_reason_is() -> None:
    assert PublishRefused("unavailable", "loading").retry
    assert not PublishRefused("a_code_of_the_future", "?").retry


def test_the_codes_of_the_classes_stay_what_they_are() -> None:
    PublishRefused("conflict", "x")
    assert BY_CODE["client_error"] is ClientError
    assert ClientError.code == PublishRefused.code == OutcomeUnknown.code == "client_error"


@pytest.mark.parametrize(
    ("connected", "is_live", "behind", "silent_s", "says"),
    [
        (True, True, 0, 29.0, "live"),
        (True, True, 3, 1.0, "behind 3"),
        (True, False, 7, 1.0, "behind 7"),
        (True, False, 0, 1.0, "behind 0"),
        (True, True, -2, 1.0, "live"),
        (True, True, 0, 30.5, "stale 30 s"),
        (True, True, 5, 31.0, "stale 31 s"),
        (False, True, 0, 1.2, "stale 1 s"),
    ],
)
def test_it_is_live_behind_or_stale(
    connected: bool, is_live: bool, behind: int, silent_s: float, says: str
) -> None:
    freshness = assess(
        connected=connected, is_live=is_live, behind=behind, silent_s=silent_s, heartbeat_s=15.0
    )
    assert str(freshness) == says


def test_the_worst_of_several_is_the_stalest_then_the_one_furthest_behind() -> None:
    live, behind, further = Freshness("live"), Freshness("behind", 2), Freshness("behind", 5)
    stale, staler = Freshness("stale", 0, 3.0), Freshness("stale", 0, 9.0)
    assert worst([live, further, behind]) is further
    assert worst([stale, further, staler]) is staler
    assert worst([live]) is live
    assert worst([]) is None
