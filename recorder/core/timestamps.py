"""Timestamps: RFC 3339 in, one fixed-width form out.

The one form everywhere (wire, columns, file names apart) is `2026-11-20T12:00:00.000Z`: UTC, milliseconds, `Z`.
Its text order is its time order, so that SQLite may compare it as text. No clock is read here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIXED = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z", re.ASCII)
# RFC 3339 section 5.6: date-time with a mandatory offset; "T" and "Z" may be lower case.
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt]((?:[01]\d|2[0-3]):[0-5]\d):([0-5]\d|60)(?:\.(\d+))?"
    r"([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)


def format_ms(ms: int) -> str:
    """Return the fixed-width text of a time.

    Args:
        ms: Milliseconds since the Unix epoch, UTC.

    Returns:
        24 characters, e.g. `2026-11-20T12:00:00.000Z`.
    """
    # Not strftime: its %Y does not fill up a year before 1000.
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")[:23] + "Z"


def parse_ms(text: str) -> int:
    """Return the milliseconds since the Unix epoch of an RFC 3339 time with an offset.

    Fractions finer than a millisecond are cut off. A leap second (`:60`, in any minute: tables of leap seconds
    grow old) counts as the second after it.

    Raises:
        ValueError: It is not such a time, or lies outside the years 0001 to 9999.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time with an offset, such as 2026-11-20T12:00:00.000Z")
    date, hour_minute, second, fraction, offset = match.groups()
    leap = second == "60"
    offset = "+00:00" if offset in "Zz" else offset
    try:
        moment = datetime.fromisoformat(f"{date}T{hour_minute}:{'59' if leap else second}{offset}")
        whole = moment - _EPOCH + timedelta(seconds=1 if leap else 0)
        (_EPOCH + whole).year  # noqa: B018 - an offset may carry it out of the range that can be written
    except (ValueError, OverflowError) as error:
        raise ValueError(f"no such time: {error}") from None
    millis = int((fraction or "0")[:3].ljust(3, "0"))
    return (whole // timedelta(seconds=1)) * 1000 + millis


# Who publishes fast publishes many deltas in one millisecond.
@lru_cache(maxsize=256)
def normalise(text: str) -> str:
    """Return the fixed-width UTC form of an RFC 3339 time.

    Raises:
        ValueError: It is not such a time.
    """
    if _FIXED.fullmatch(text) is not None:
        # The common case by far: already in form, only the calendar is left to check.
        try:
            datetime.fromisoformat(text)
        except ValueError:
            pass  # second 60, or no such day: the long way says which
        else:
            return text
    return format_ms(parse_ms(text))


def is_fixed(text: str) -> bool:
    """Return whether a text is a time in the fixed-width form."""
    try:
        return normalise(text) == text
    except ValueError:
        return False
