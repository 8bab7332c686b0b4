"""Filters: what was typed becomes query parameters."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.cli.options import Filters, filters, moment
from recorder.core.clock import FakeClock
from recorder.core.errors import InvalidQuery
from recorder.core.timestamps import format_ms

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [("90s", 90_000), ("15m", 900_000), ("2h", 7_200_000), ("30d", 2_592_000_000), ("1w", 604_800_000)],
)
def test_so_long_ago_counts_back_from_now(text: str, ms: int) -> None:
    assert moment(text, "--since", FakeClock(NOW)) == format_ms(NOW - ms)


def test_a_time_is_brought_into_the_fixed_width_form() -> None:
    assert moment("2026-11-20T12:00:00+01:00", "--since") == "2026-11-20T11:00:00.000Z"
    assert moment(" 2026-11-20t12:00:00.5z ", "--since") == "2026-11-20T12:00:00.500Z"


@pytest.mark.parametrize(
    "text", ["", "yesterday", "30", "d", "-1d", "1.5h", "2026-11-20", "2026-11-20T12:00:00", "9" * 9 + "w"]
)
def test_anything_else_is_refused_by_the_name_of_its_option(text: str) -> None:
    with pytest.raises(InvalidQuery, match=r"^--until: .* is neither a time \(.*\) nor how long ago"):
        moment(text, "--until")


@given(st.text())
def test_any_text_is_a_time_or_refused(text: str) -> None:
    with suppress(InvalidQuery):
        assert len(moment(text, "--since", FakeClock(NOW))) == 24


def test_nothing_typed_is_no_parameter() -> None:
    assert filters() == Filters()
    assert Filters().params() == []


def test_every_filter_becomes_the_parameter_of_its_name() -> None:
    wanted = filters(["a", "b", "a"], ["created"], "2026-11-20T12:00:00Z", "2026-11-21T12:00:00Z", (0, 9))
    assert wanted.params() == [
        ("session", "a"),
        ("session", "b"),
        ("type", "created"),
        ("since", "2026-11-20T12:00:00.000Z"),
        ("until", "2026-11-21T12:00:00.000Z"),
        ("after", "0"),
        ("before", "9"),
    ]


def test_an_empty_session_does_not_mean_all() -> None:
    with pytest.raises(InvalidQuery, match="--session"):
        filters([""])


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(InvalidQuery, match="'made' is not one of created, updated, deleted"):
        filters(None, ["made"])
