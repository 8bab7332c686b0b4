"""The results of measures at several sizes: a line a curve, how much it grows, and the goals it is held against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Any

from bench_suite.figures import Spread
from bench_suite.points import slope
from bench_suite.run import Case

LAST, GROWTH, SLOPE = "at the largest", "largest / smallest", "per one more"


@dataclass(frozen=True, slots=True)
class Goal:
    """The goal of a curve; it decides nothing."""

    # Of which figure: LAST, GROWTH or SLOPE.
    figure: str
    bound: float
    at_least: bool
    # The largest size that it is for; None for any.
    at: int | None = None

    def met(self, value: float) -> bool:
        """Return whether a figure is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{self.figure} {'≥' if self.at_least else '≤'} {self.bound:,g}"


# For deltas of 500 bytes. Rates that lose less than a tenth from the smallest to the largest count as not falling.
_NOT_FALLING = Goal(GROWTH, 0.9, True)
GOALS = {
    ("catch-up", "resume"): Goal(LAST, 300_000, True),
    ("snapshot", "1,000 new / full copy"): Goal(LAST, 1 / 20, False, 1_000_000),
    ("memory", "idle connections"): Goal(SLOPE, 8000, False),
    ("growth", "arrays of 100"): _NOT_FALLING,
    ("growth", "one delta a frame"): _NOT_FALLING,
    ("growth", "100 subscribers"): _NOT_FALLING,
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """One curve of one system, all rounds of it."""

    measure: str
    system: str
    name: str
    by: str
    unit: str
    per: int
    sizes: tuple[int, ...]
    # At each size of `sizes`.
    values: tuple[Spread, ...]
    # Largest over smallest, and value per one of size; round by round.
    growth: Spread
    slope: Spread
    goal: Goal | None

    @property
    def met(self) -> bool | None:
        """Return whether the goal is met, by the median; None where there is none."""
        return None if self.goal is None else self.goal.met(self._reached(self.goal).mid)

    @property
    def reached(self) -> str | None:
        """The figure that the goal is for, to read; None where there is none."""
        if self.goal is None:
            return None
        unit = "×" if self.goal.figure == GROWTH else self.unit
        return f"{_all(self._reached(self.goal))} {unit}"

    def _reached(self, goal: Goal) -> Spread:
        return {LAST: self.values[-1], GROWTH: self.growth, SLOPE: self.slope}[goal.figure]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "system": self.system,
            "curve": self.name,
            "by": self.by,
            "unit": self.unit,
            "per": self.per,
            "sizes": self.sizes,
            "values": [_spread(value) for value in self.values],
            "growth": _spread(self.growth),
            "slope": _spread(self.slope),
            "goal": None if self.goal is None else str(self.goal),
            "reached": self.reached,
            "met": self.met,
        }


def _spread(of: Spread) -> dict[str, float]:
    return {"low": of.low, "median": of.mid, "high": of.high}


def has_curves(case: Case) -> bool:
    """Return whether the case is one of several sizes."""
    return any("curves" in numbers for rounds in case.rounds.values() for numbers in rounds)


def drawn(case: Case, size: int) -> Iterator[Drawn]:
    """The curves of a case, each system's.

    Args:
        case: one of several sizes.
        size: bytes of a delta: goals are for 500.
    """
    for system, rounds in case.rounds.items():
        for same in zip(*(numbers["curves"] for numbers in rounds), strict=True):
            yield _drawn(case, system, same, size)


def _drawn(case: Case, system: str, rounds: tuple[dict[str, Any], ...], size: int) -> Drawn:
    first = rounds[0]
    sizes = [point["size"] for point in first["points"]]
    lines = [[float(point["value"]) for point in curve["points"]] for curve in rounds]
    goal = GOALS.get((case.measure, first["name"]), GOALS.get((case.measure, case.case)))
    if goal is not None and goal.at not in (None, sizes[-1]):
        goal = None
    return Drawn(
        case.measure, system, first["name"], first["by"], first["unit"], first["per"], tuple(sizes),
        tuple(Spread.of(at) for at in zip(*lines, strict=True)),
        Spread.of([line[-1] / line[0] if line[0] else 0.0 for line in lines]),
        Spread.of([slope(sizes, line) for line in lines]),
        goal if system == "recorder" and size == 500 else None,
    )  # fmt: skip


def as_lines(case: Case, size: int) -> Iterator[str]:
    """A case as a table: curves by the same sizes together."""
    yield f"  {case.measure}, {case.case}: median (lowest to highest)"

    def axis(curve: Drawn) -> tuple[str, tuple[int, ...], int]:
        return curve.by, curve.sizes, curve.per

    for (by, sizes, per), curves in groupby(sorted(drawn(case, size), key=axis), key=axis):
        yield _line(f"by {by}:", *(f"{size:,}" for size in sizes), "largest / smallest", f"per {per:,} more")
        for curve in curves:
            yield _line(
                f"{curve.system}, {curve.name}",
                *(f"{_all(value)} {curve.unit}" for value in curve.values),
                f"{_all(curve.growth)} ×",
                f"{number(per * curve.slope.mid, signed=True)} {curve.unit}",
            ) + ("" if curve.goal is None else f"  goal {curve.goal}: {'met' if curve.met else 'not met'}")
    for name, rounds in case.rounds.items():
        if not rounds:
            yield _line(name, "failed")
        elif beside := _beside(rounds):
            yield f"    {name}, beside it: {beside}"


def _line(label: str, *cells: str) -> str:
    return f"  {label:36}" + "".join(f"{cell:>30}" for cell in cells)


def _all(spread: Spread) -> str:
    if spread.low == spread.high:
        return number(spread.mid)
    return f"{number(spread.mid)} ({number(spread.low)} to {number(spread.high)})"


def number(value: float, *, signed: bool = False) -> str:
    """A number to read: three digits that count, or all of those before the point."""
    sign = "+" if signed else ""
    return f"{value:{sign},.0f}" if abs(value) >= 100 else f"{value:{sign}.3g}"


def _beside(rounds: list[dict[str, Any]]) -> str:
    """Return what else was measured at the largest size of the first curve, such as CPU seconds of the server."""
    last = [numbers["curves"][0]["points"][-1] for numbers in rounds]
    names = last[0]["beside"]
    found = ", ".join(f"{name} {number(median(point['beside'][name] for point in last))}" for name in names)
    return found and f"{found} (the first curve's last size)"
