"""The clock: monotonic time and time of day, for the machine and for tests.

Everything that needs the time gets a `Clock`, so that tests can advance it instead of sleeping. Wall-clock
time is an integer of milliseconds since 1970-01-01T00:00:00Z and may be set back; intervals come from
`monotonic()`, which never goes back. Time zones and text are left to `core/timestamps.py`.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The interface of a clock: monotonic time and time of day."""

    def now_ms(self) -> int:
        """Return the milliseconds since the Unix epoch, UTC. May go back when the machine's clock is set."""
        ...

    def monotonic(self) -> float:
        """Return the seconds from an arbitrary point; never goes back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return the milliseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return the seconds from an arbitrary point; never goes back."""
        return time.monotonic()


class FakeClock:
    """A clock that moves only when told. For tests and simulations.

    Args:
        start_ms: The time it shows at first, in milliseconds since the Unix epoch.
    """

    def __init__(self, start_ms: int = 1_763_640_000_000) -> None:
        self._now_ms = start_ms  # wall-clock time shown
        self._monotonic = 0.0  # seconds advanced so far

    def now_ms(self) -> int:
        """Return the time shown, in milliseconds."""
        return self._now_ms

    def monotonic(self) -> float:
        """Return the seconds advanced so far."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Advance both clocks."""
        self._now_ms += round(seconds * 1000)
        self._monotonic += seconds

    def set_wall_ms(self, now_ms: int) -> None:
        """Set the wall clock alone, as an operator or NTP would; the monotonic clock does not notice."""
        self._now_ms = now_ms
