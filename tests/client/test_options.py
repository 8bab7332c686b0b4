"""Tests of a client's options."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.client import ClientOptions
from recorder.client.options import Backoff
from recorder.core.errors import ClientError


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_s": 0},
        {"max_waiting_events": 0},
        {"backoff_base_s": -1},
        {"max_tries": 0},
        {"max_frames": -1},
    ],
)
def test_an_option_out_of_range_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match=next(iter(wrong))):
        ClientOptions(**wrong)


def test_ids_given_by_default_are_never_the_same() -> None:
    options = ClientOptions()
    assert len({options.new_id() for _ in range(100)}) == 100


def test_the_bound_doubles_up_to_the_cap() -> None:
    backoff = Backoff(0.5, 4.0, 10.0, lambda: 1.0)
    assert [backoff.failed(0) for _ in range(6)] == [0.5, 1, 2, 4, 4, 4]


def test_a_connection_that_held_starts_the_count_afresh() -> None:
    backoff = Backoff(0.5, 4.0, 10.0, lambda: 1.0)
    backoff.failed(0)
    backoff.failed(0)
    backoff.connected(100)
    assert backoff.failed(110) == 0.5


def test_a_connection_that_did_not_hold_does_not() -> None:
    backoff = Backoff(0.5, 4.0, 10.0, lambda: 1.0)
    backoff.failed(0)
    backoff.connected(100)
    assert backoff.failed(109.9) == 1
    assert backoff.failed(1000) == 2


def test_years_of_trying_do_not_overflow() -> None:
    backoff = Backoff(0.5, 4.0, 10.0, lambda: 1.0)
    assert {backoff.failed(0) for _ in range(5000)} == {0.5, 1, 2, 4}


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=40))
def test_every_delay_lies_between_nothing_and_the_bound(numbers: list[float]) -> None:
    left = iter(numbers)
    backoff = Backoff(0.25, 30.0, 10.0, lambda: next(left))
    for tries, number in enumerate(numbers):
        assert backoff.failed(0) == min(30.0, 0.25 * 2**tries) * number
