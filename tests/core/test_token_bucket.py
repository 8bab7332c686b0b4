"""Token buckets: never more than the burst and what time has brought, and no bucket kept for nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.token_bucket import BucketTable, TokenBucket


def test_a_burst_is_there_at_once_and_then_it_takes_time() -> None:
    bucket = TokenBucket(2, 4, now=100)
    for _ in range(4):
        assert bucket.wait(1, 100) == 0
        bucket.take(1, 100)
    assert bucket.wait(1, 100) == 0.5
    assert bucket.wait(1, 100.25) == 0.25
    assert bucket.wait(1, 100.5) == 0


def test_what_was_taken_beyond_what_there_was_is_waited_for() -> None:
    bucket = TokenBucket(10, 10, now=0)
    bucket.take(30, 0)
    assert bucket.wait(0, 0) == 2
    assert bucket.wait(0, 1.5) == pytest.approx(0.5)


def test_more_than_the_burst_never_collects() -> None:
    bucket = TokenBucket(1000, 5, now=0)
    assert bucket.wait(5, 1e9) == 0
    assert bucket.wait(6, 1e9) > 0


STEPS = st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 5)), max_size=50)


@given(STEPS, st.floats(0.1, 100), st.floats(1, 50))
def test_in_any_span_no_more_happens_than_the_burst_and_the_rate_allow(
    steps: list[tuple[float, float]], rate: float, burst: float
) -> None:
    now, spent = 0.0, 0.0
    bucket = TokenBucket(rate, burst, now)
    for pause, cost in steps:
        now += pause
        if bucket.wait(cost, now) == 0:
            bucket.take(cost, now)
            spent += cost
    assert spent <= (burst + rate * now) * (1 + 1e-9)


def test_a_table_keeps_a_bucket_for_each_key_and_forgets_those_that_are_full_again() -> None:
    table = BucketTable(1, 10)
    table.bucket("busy", 0).take(10_000, 0)
    for n in range(5000):
        table.bucket(n, float(n)).take(1, float(n))
    assert len(table) < 1100
    assert table.bucket("busy", 5000.0).wait(1, 5000.0) > 0
    assert table.bucket(4999, 4999.0).wait(10, 4999.0) == pytest.approx(1)
