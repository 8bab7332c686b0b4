"""Runs measures over systems in turn, and keeps what came of them. Prints nothing but progress, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench_suite.errors import BenchError
from bench_suite.figures import Spread, ratio
from bench_suite.systems.base import System


class Measure(Protocol):
    """Something that can be measured of any system, once or several times."""

    name: str
    case: str
    unit: str

    def round(self, system: System) -> dict[str, Any]:
        """Measures once; `value` is the figure, where there is a single one."""


@dataclass(slots=True)
class Case:
    """One measure in one size, and every system's rounds."""

    measure: str
    case: str
    unit: str
    # What each round came to, by system.
    rounds: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def values(self, system: str, key: str) -> list[float]:
        """One number of each of a system's rounds."""
        return [float(numbers[key]) for numbers in self.rounds.get(system, [])]

    def ratio(self, ours: str, theirs: str, key: str = "value") -> Spread | None:
        """Return how many times the one's figure is the other's; None unless both have it, of all their rounds."""
        if any(key not in numbers for name in (ours, theirs) for numbers in self.rounds.get(name, [])):
            return None
        left, right = self.values(ours, key), self.values(theirs, key)
        return ratio(left, right) if left and len(left) == len(right) else None


@dataclass(slots=True)
class Results:
    """A whole run."""

    cases: list[Case] = field(default_factory=list)
    # What was wrong: each makes the run fail.
    problems: list[str] = field(default_factory=list)
    # Systems that could not be measured here, and what they lack: no failure.
    skipped: dict[str, str] = field(default_factory=dict)


def run(
    measures: Sequence[Measure],
    systems: Sequence[System],
    rounds: int,
    only: Mapping[str, Collection[str]] | None = None,
    of: Mapping[str, Collection[str]] | None = None,
) -> Results:
    """Runs every measure `rounds` times over all systems, in turn.

    Systems named in `only` take part in those measures alone (`ingest`), or in those cases of one (`memory, idle
    connections`); measures named in `of` are taken of those systems
    alone.

    A system that fails in a case is left out of the rest of that case, and what happened is a problem of the
    run.
    """
    results = Results()
    for measure in measures:
        names = {measure.name, f"{measure.name}, {measure.case}"}
        alive = [each for each in systems if names & set((only or {}).get(each.name, names))]
        alive = [each for each in alive if each.name in (of or {}).get(measure.name, (each.name,))]
        if not alive:
            continue
        case = Case(measure.name, measure.case, measure.unit, {system.name: [] for system in alive})
        results.cases.append(case)
        for number in range(1, rounds + 1):
            for system in list(alive):
                where = f"{case.measure}, {case.case}, {system.name}, round {number}"
                sys.stderr.write(f"  {where} of {rounds}\n")
                if not _once(measure, system, case, where, results.problems):
                    alive.remove(system)
    return results


def _once(measure: Measure, system: System, case: Case, where: str, problems: list[str]) -> bool:
    try:
        numbers = measure.round(system)
    except (BenchError, OSError) as error:
        problems.append(f"{where}: {error}")
        # A system that lacks rounds has no median worth comparing.
        case.rounds[system.name].clear()
        return False
    case.rounds[system.name].append(numbers)
    problems.extend(f"{where}: {problem}" for problem in told(numbers))
    return True


def told(numbers: dict[str, Any]) -> list[str]:
    """Return what a round of latency tells of lost, doubled or misordered deltas, closed readers, failed chores."""
    found = []
    for phase in ("quiet", "busy"):
        heard = numbers.get(phase, {})
        found += [
            f"{phase}: {heard[what]} deltas {what.replace('_', ' ')}"
            for what in ("missing", "twice", "out_of_order")
            if heard.get(what)
        ]
        found += [f"{phase}: a reader was closed: {why}" for why in heard.get("closed", [])]
    found += numbers.get("chores", {}).get("problems", [])
    return found
