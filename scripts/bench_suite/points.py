"""Figures at several sizes: the curves of a round, and how much a figure grows from the smallest to the largest.

A measure of this kind runs all its sizes in one round, one after the other, so that what is compared was measured
within the same minute on the same machine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Point:
    """A figure at one size."""

    size: int
    value: float
    # What was measured beside it, by name.
    beside: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure at several sizes, ascending."""

    name: str
    # What the sizes count, such as "rows recorded".
    by: str
    unit: str
    points: tuple[Point, ...]
    # The slope is shown for so many more.
    per: int = 1000


def round_of(curves: list[Curve], value: float) -> dict[str, Any]:
    """Return what a round came to, as JSON values.

    Args:
        curves: all of them.
        value: the one figure that stands for the round, to be set against other systems and other runs.
    """
    return {"value": value, "curves": [asdict(curve) for curve in curves]}


def slope(sizes: list[int], values: list[float]) -> float:
    """The slope of the straight line that fits best (least squares): value per one of size.

    Raises:
        ValueError: less than two different sizes.
    """
    middle, level = sum(sizes) / len(sizes), sum(values) / len(values)
    spread = sum((size - middle) ** 2 for size in sizes)
    if not spread:
        raise ValueError("no slope of a single size")
    pairs = zip(sizes, values, strict=True)
    return sum((size - middle) * (value - level) for size, value in pairs) / spread
