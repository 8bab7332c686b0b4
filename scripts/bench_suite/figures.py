"""Numbers made of numbers: percentiles, spreads and ratios. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `percent` % of the values don't exceed.

    Never interpolates, so that a p99.9 is a latency that some delta really had.

    Args:
        ordered: values in ascending order, at least one.
        percent: above 0, up to 100.
    Raises:
        ValueError: no values, or a percentage out of range.
    """
    if not ordered:
        raise ValueError("percentile of no values")
    if not 0 < percent <= 100:
        raise ValueError(f"percent must be above 0 and at most 100, not {percent}")
    # Rounded first: 99.9 / 100 * 1000 is 999.0000000000001, which would take the rank after the right one.
    return ordered[math.ceil(round(percent * len(ordered) / 100, 9)) - 1]


@dataclass(frozen=True, slots=True)
class Spread:
    """Lowest, median and highest of the rounds of one figure."""

    low: float
    mid: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value.

        Raises:
            ValueError: no values.
        """
        if not values:
            raise ValueError("spread of no values")
        return cls(min(values), median(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return how many times `theirs` `ours` is, round by round, as a spread.

    Rounds are paired (each ran right after the other), so that a machine that slows down for a while slows
    both sides of a pair; the spread shows what is left of the noise.

    Raises:
        ValueError: no rounds, or not as many on one side as on the other.
    """
    return Spread.of([a / b if b else math.inf for a, b in zip(ours, theirs, strict=True)])


def number(value: float) -> str:
    """A figure with the three digits that count, in a form that is short: `2,230,000` or `0.0123`."""
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    return f"{rounded:,.0f}" if digits <= 0 else f"{rounded:.{digits}f}".rstrip("0").rstrip(".")
