"""Positions and epochs (mistake 19: a position names the epoch its number belongs to)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.position import MAX_SEQ, Position, new_epoch, parse_position

NOW_MS = st.integers(0, 2**48)
EPOCHS = st.from_regex(r"[0-9A-HJKMNP-TV-Z]{10}", fullmatch=True)


HASHES = st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(EPOCHS, st.integers(0, MAX_SEQ), HASHES)
def test_what_a_position_writes_is_what_it_reads(epoch: str, seq: int, link: str | None) -> None:
    position = Position(epoch, seq, link)
    assert parse_position(str(position)) == position


def test_a_position_is_epoch_colon_seq() -> None:
    assert str(Position("01JD3K9V2M", 1234)) == "01JD3K9V2M:1234"
    assert parse_position("01JD3K9V2M:0") == Position("01JD3K9V2M", 0)


def test_a_position_may_carry_the_hash_that_lies_there() -> None:
    assert str(Position("01JD3K9V2M", 7, "ab" * 32)) == f"01JD3K9V2M:7:{'ab' * 32}"
    assert parse_position("01JD3K9V2M:7:" + "AB" * 32) == Position("01JD3K9V2M", 7, "ab" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "1234",
        "01JD3K9V2M",
        "01JD3K9V2M:",
        ":1234",
        "01JD3K9V2M:-1",
        "01JD3K9V2M:+1",
        "01JD3K9V2M:1.0",
        "01JD3K9V2M:1e3",
        "01JD3K9V2M:1_0",
        "01JD3K9V2M: 1",
        "01JD3K9V2M:1 ",
        "01JD3K9V2M:1\n",
        "01JD3K9V2M:1:2",
        "01JD3K9V2M:1:",
        "01JD3K9V2M:1:" + "a" * 63,
        "01JD3K9V2M:1:" + "a" * 65,
        "01JD3K9V2M:1:" + "g" * 64,
        "01JD3K9V2M:1:" + "a" * 64 + ":1",
        "01JD3K9V2M:٣",
        "01JD-K9V2M:1",
        "é:1",
        "A" * 33 + ":1",
        f"01JD3K9V2M:{MAX_SEQ + 1}",
        "01JD3K9V2M:" + "0" * 20,
    ],
)
def test_what_is_not_a_position_is_none(text: str) -> None:
    assert parse_position(text) is None


@given(st.text(max_size=60))
def test_any_text_is_a_position_or_none(text: str) -> None:
    position = parse_position(text)
    assert position is None or parse_position(str(position)) == position


@given(NOW_MS, NOW_MS)
def test_epochs_sort_by_the_time_they_began(one: int, other: int) -> None:
    assert (new_epoch(one) < new_epoch(other)) == (one < other)


@given(NOW_MS, NOW_MS)
def test_a_new_epoch_sorts_after_the_one_before_even_when_the_clock_went_back(one: int, other: int) -> None:
    before = new_epoch(one)
    assert new_epoch(other, before) > before


@given(NOW_MS)
def test_an_epoch_has_ten_characters_that_nobody_mistakes_for_others(now_ms: int) -> None:
    epoch = new_epoch(now_ms)
    assert len(epoch) == 10
    assert set(epoch) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    assert parse_position(f"{epoch}:1") == Position(epoch, 1)


def test_two_epochs_of_one_millisecond_differ() -> None:
    first = new_epoch(1_763_640_000_000)
    assert new_epoch(1_763_640_000_000, first) != first
