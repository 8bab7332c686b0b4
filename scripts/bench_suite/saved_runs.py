"""A run that was kept as JSON: read again, and taken apart into single figures, each with its rounds.

What comes after a run (comparing, drawing, a table for the docs) works on this form alone, so that it can be done with
a file from another day as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_suite.errors import BenchError
from bench_suite.figures import Spread

FORMAT = 1
# More is better, of all but these units.
LESS_IS_BETTER = ("ms", "s", "bytes", "MB")


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of one system in one case, of every round."""

    measure: str
    case: str
    system: str
    # What of the case: empty for its one figure, else such as "per CPU s" or "quiet p99".
    what: str
    unit: str
    values: tuple[float, ...]

    @property
    def spread(self) -> Spread:
        """Lowest, median and highest of the rounds."""
        return Spread.of(self.values)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return what makes it the same figure in another run."""
        return self.measure, self.case, self.system, self.what


def load(path: Path) -> dict[str, Any]:
    """Reads what `--json` wrote.

    Raises:
        BenchError: it isn't there, can't be read, or is of another form.
    """
    try:
        run = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} can't be read as a run of the benchmark: {error}") from error
    if not isinstance(run, dict) or run.get("format") != FORMAT:
        raise BenchError(f"{path} is no run of the benchmark in format {FORMAT}")
    return run


def figures(run: dict[str, Any]) -> Iterator[Figure]:
    """All figures of a run, in its order; a system that failed in a case has none there."""
    for found in run["figures"]:
        rounds: list[dict[str, Any]] = found["rounds"]
        where = (found["measure"], found["case"], found["system"])
        if not rounds:
            continue
        for what, unit, values in _of(rounds, found["unit"]):
            yield Figure(*where, what, unit, tuple(values))


def _of(rounds: list[dict[str, Any]], unit: str) -> Iterator[tuple[str, str, list[float]]]:
    if all("value" in numbers for numbers in rounds):
        yield "", unit, [numbers["value"] for numbers in rounds]
    if all("per_cpu_s" in numbers for numbers in rounds):
        yield "per CPU s", unit, [numbers["per_cpu_s"] for numbers in rounds]
    for phase in ("quiet", "busy"):
        if all(phase in numbers for numbers in rounds):
            for name, key in (("p50", "p50_ms"), ("p99", "p99_ms"), ("p99.9", "p999_ms")):
                yield f"{phase} {name}", "ms", [numbers[phase][key] for numbers in rounds]
    yield from _curves(rounds)


def _curves(rounds: list[dict[str, Any]]) -> Iterator[tuple[str, str, list[float]]]:
    for same in zip(*(numbers.get("curves", ()) for numbers in rounds), strict=True):
        for points in zip(*(curve["points"] for curve in same), strict=True):
            where = f"{same[0]['name']} at {points[0]['size']:,} {same[0]['by']}"
            yield where, same[0]["unit"], [point["value"] for point in points]
