"""Times as one types them: RFC 3339, or how long ago (`30d`, `15m`)."""

from __future__ import annotations

import re

from recorder.core.clock import Clock, SystemClock
from recorder.core.errors import InvalidQuery
from recorder.core.timestamps import format_ms, normalise

HELP = "a time (2026-11-20T12:00:00Z) or how long ago (90s, 15m, 2h, 30d, 4w)"

_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_AGO = re.compile(r"([0-9]{1,9})([smhdw])")


def is_ago(text: str) -> bool:
    """Whether it says how long ago."""
    return _AGO.fullmatch(text.strip()) is not None


def moment(text: str, option: str, clock: Clock | None = None) -> str:
    """The time that was meant, in the fixed-width form.

    Args:
        text: What was typed.
        option: The option it was typed behind, for the message.
        clock: What "ago" counts from; the machine's clock by default.

    Raises:
        InvalidQuery: It is no time.
    """
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is None:
            return normalise(text.strip())
        return format_ms((clock or SystemClock()).now_ms() - int(ago[1]) * _UNIT_MS[ago[2]])
    except (ValueError, OverflowError):
        raise InvalidQuery(f"{option}: {text!r} is neither {HELP.replace(' or ', ' nor ', 1)}") from None
