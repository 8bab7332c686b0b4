"""Timestamps: RFC 3339 in, one fixed-width form out, whose text order is time order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recorder.core.timestamps import format_ms, is_fixed, normalise, parse_ms

FIRST_MS = -62_135_596_800_000  # 0001-01-01T00:00:00.000Z
LAST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
MS = st.integers(FIRST_MS, LAST_MS)

MOMENTS = st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29))
OFFSETS = st.integers(-(24 * 60 - 1), 24 * 60 - 1)  # minutes


@given(MS)
@example(FIRST_MS)
@example(LAST_MS)
@example(0)
@example(-1)
def test_what_is_formatted_parses_back_and_has_24_characters(ms: int) -> None:
    text = format_ms(ms)
    assert len(text) == 24
    assert parse_ms(text) == ms
    assert normalise(text) == text


@given(MS, MS)
def test_the_order_of_texts_is_the_order_of_times(one: int, other: int) -> None:
    assert (format_ms(one) < format_ms(other)) == (one < other)


@given(MOMENTS, OFFSETS, st.text("0123456789", max_size=12))
def test_any_offset_and_any_fraction_come_out_as_utc_milliseconds(
    moment: datetime, minutes: int, fraction: str
) -> None:
    whole = moment.replace(microsecond=0)
    sign, rest = "-" if minutes < 0 else "+", abs(minutes)
    text = f"{whole.isoformat()}{'.' + fraction if fraction else ''}{sign}{rest // 60:02}:{rest % 60:02}"
    utc = whole.replace(tzinfo=timezone(timedelta(minutes=minutes))).astimezone(UTC)
    assert normalise(text) == f"{utc:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + f".{(fraction + '000')[:3]}Z"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00.000Z"),
        ("2026-11-20t12:00:00z", "2026-11-20T12:00:00.000Z"),
        ("2026-11-20T12:00:00.000Z", "2026-11-20T12:00:00.000Z"),
        ("2026-11-20T12:00:00.1Z", "2026-11-20T12:00:00.100Z"),
        ("2026-11-20T12:00:00.1239999Z", "2026-11-20T12:00:00.123Z"),
        ("2026-11-20T12:00:00.9999999999999999999999Z", "2026-11-20T12:00:00.999Z"),
        ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
        ("2026-11-20T12:00:00+05:30", "2026-11-20T06:30:00.000Z"),
        ("2026-11-20T12:00:00-08:00", "2026-11-20T20:00:00.000Z"),
        ("2026-11-20T12:00:00-00:00", "2026-11-20T12:00:00.000Z"),
        ("2026-11-20T12:00:00+23:59", "2026-11-19T12:01:00.000Z"),
        # Year boundaries, crossed by the offset.
        ("2025-12-31T23:30:00-01:00", "2026-01-01T00:30:00.000Z"),
        ("2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        # Leap days.
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"),
        ("2000-02-29T23:59:59Z", "2000-02-29T23:59:59.000Z"),
        # Leap seconds, in the fixed form and in others.
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("2016-12-31T23:59:60.000Z", "2017-01-01T00:00:00.000Z"),
        ("2016-12-31T15:59:60.250-08:00", "2017-01-01T00:00:00.250Z"),
    ],
)
def test_every_spelling_of_a_time_becomes_the_one_form(sent: str, kept: str) -> None:
    assert normalise(sent) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-20",
        "2026-11-20T12:00:00",  # no offset: whose time would it be?
        "2026-11-20T12:00Z",
        "2026-11-20 12:00:00Z",
        "2026-11-20T12:00:00.Z",
        "2026-11-20T12:00:00,5Z",
        "2026-11-20T12:00:00+0100",
        "2026-11-20T12:00:00+01",
        "2026-11-20T12:00:00+24:00",
        "2026-11-20T12:00:00+01:60",
        "2026-11-20T24:00:00Z",
        "2026-11-20T12:60:00Z",
        "2026-11-20T12:00:61Z",
        "2026-13-20T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2026-02-29T12:00:00.000Z",
        "2026-02-30T12:00:60.000Z",
        "0000-01-01T00:00:00Z",
        "0000-01-01T00:00:00.000Z",
        "10000-01-01T00:00:00Z",
        "+2026-11-20T12:00:00Z",
        "20261120T120000Z",
        "2026-W47-5T12:00:00Z",
        " 2026-11-20T12:00:00Z",
        "2026-11-20T12:00:00Z\n",
        "2026-11-20T12:00:00.000Z\n",
        "\uff12\uff10\uff12\uff16-11-20T12:00:00Z",
        "2026-11-20T12:00:00.٣Z",
        "1763640000",
    ],
)
def test_what_is_not_rfc_3339_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an RFC 3339 time with an offset|no such time: "):
        normalise(text)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:00-00:01", "9999-12-31T23:59:60Z"]
)
def test_a_time_that_its_offset_carries_out_of_the_years_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no such time"):
        normalise(text)


@given(st.text(max_size=40) | st.from_regex(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,5})?[Zz+-].{0,6}"))
def test_any_text_gives_the_fixed_form_or_a_value_error(text: str) -> None:
    try:
        kept = normalise(text)
    except ValueError:
        return
    assert format_ms(parse_ms(kept)) == kept


@pytest.mark.parametrize(
    "text", ["", "today", "2026-11-20T12:00:00Z", "2026-99-20T12:00:00.000Z", "2026-11-20T13:00:00.000+01:00"]
)
def test_only_the_fixed_width_form_is_fixed(text: str) -> None:
    assert is_fixed("2026-11-20T12:00:00.000Z")
    assert not is_fixed(text)


def test_times_of_one_millisecond_are_normalised_once() -> None:
    normalise("2026-11-20T12:00:00.123+00:00")
    before = normalise.cache_info().hits
    normalise("2026-11-20T12:00:00.123+00:00")
    assert normalise.cache_info().hits == before + 1
