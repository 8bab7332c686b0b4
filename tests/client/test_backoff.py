"""Tests of the delays between tries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recorder.client.backoff import Backoff


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
