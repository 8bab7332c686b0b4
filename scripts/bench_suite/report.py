"""The result of a run, as a table to read and as JSON to keep. Goals stand beside it and decide nothing."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from bench_suite.curves import as_lines, drawn, has_curves
from bench_suite.figures import Spread
from bench_suite.goals import CPU, Comparison, comparisons
from bench_suite.needs import versions
from bench_suite.run import Case, Results
from bench_suite.systems.base import System

# The last delta of a phase later than this: the latencies are those of a queue that only grew.
BEHIND_S = 0.5
PACKAGES = ("websockets", "aiosqlite", "orjson", "uvicorn", "uvloop", "msgspec")


def machine() -> dict[str, Any]:
    """Return where the figures were measured."""
    return {
        "cpus": os.cpu_count(),
        "cpu": _cpu_model(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def as_json(results: Results, systems: Sequence[System], options: dict[str, Any]) -> dict[str, Any]:
    """The run as JSON values; `figures` has every round, so that later runs can be compared with it."""
    return {
        "format": 1,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "options": options,
        "systems": {system.name: _about(system) | {"versions": versions(system.needs)} for system in systems},
        "skipped": results.skipped,
        "figures": [
            {"measure": case.measure, "case": case.case, "unit": case.unit, "system": name, "rounds": rounds}
            for case in results.cases
            for name, rounds in case.rounds.items()
        ],
        "ratios": [ratio for case in results.cases for ratio in _ratios(case, options["size"])],
        "curves": [
            {"measure": case.measure, "case": case.case, **curve.as_json()}
            for case in results.cases
            if has_curves(case)
            for curve in drawn(case, options["size"])
        ],
        "problems": results.problems,
    }


def _about(system: System) -> dict[str, Any]:
    return {
        name: getattr(system.about, name) for name in ("records", "durable", "ordered", "resumes", "note")
    }


def _ratios(case: Case, size: int) -> Iterator[dict[str, Any]]:
    where = {"measure": case.measure, "case": case.case}
    for found in comparisons(case, size):
        pair = {"of": found.of, "over": found.over, "figure": found.figure}
        yield {**where, **pair, **_spread(found.times), "goal": found.goal, "met": found.met}
    for name, rounds in case.rounds.items():
        if busy := [numbers for numbers in rounds if "busy" in numbers]:
            yield {**where, "of": f"{name}, busy", "over": f"{name}, quiet", **_spread(_busy_to_quiet(busy))}


def _spread(times: Spread) -> dict[str, float]:
    return {"low": times.low, "median": times.mid, "high": times.high}


def _busy_to_quiet(rounds: list[dict[str, Any]]) -> Spread:
    return Spread.of([numbers["busy"]["p99_ms"] / numbers["quiet"]["p99_ms"] for numbers in rounds])


def as_text(results: Results, systems: Sequence[System], options: dict[str, Any]) -> str:
    """The run as a table."""
    here = machine()
    lines = [
        f"{here['cpus']} × {here['cpu']}, {here['system']}, Python {here['python']}",
        f"deltas of {options['size']} bytes unless a case says otherwise; {options['rounds']} round(s), systems "
        f"in turn; loopback; load {options.get('load_at_start', 'unknown')} at the start",
        *(f"  {system.name:16}{_described(system)}" for system in systems),
        *(f"  {name:16}SKIPPED: lacks {lacking}" for name, lacking in results.skipped.items()),
    ]
    for case in results.cases:
        lines += ["", *_case(case, options["size"])]
    if results.problems:
        lines += ["", "WRONG:", *(f"  {problem}" for problem in results.problems)]
    return "\n".join(lines) + "\n"


def _case(case: Case, size: int) -> Iterator[str]:
    if case.measure == "latency":
        return _latency(case)
    return (
        chain(as_lines(case, size), _compared_all(case, size))
        if has_curves(case)
        else _throughput(case, size)
    )


def _described(system: System) -> str:
    about = _about(system)
    note = about.pop("note")
    return "; ".join(f"{what}: {said}" for what, said in about.items()) + (f" ({note})" if note else "")


def _row(label: str, *cells: str) -> str:
    return f"  {label:38}" + "".join(f"{cell:>12}" for cell in cells)


def _throughput(case: Case, size: int) -> Iterator[str]:
    yield _row(
        f"{case.measure}, {case.case}", "min", "median", "max", "per CPU s", "deltas", "seconds", "peak MB"
    )
    for name, rounds in case.rounds.items():
        if not rounds:
            yield _row(name, "failed")
            continue
        spread = Spread.of(case.values(name, "value"))
        beside = [median(case.values(name, key)) for key in ("per_cpu_s", "deltas")]
        yield _row(
            name, *(f"{value:,.0f}" for value in (spread.low, spread.mid, spread.high, *beside)),
            f"{median(case.values(name, 'seconds')):.2f}", f"{median(case.values(name, 'peak_mb')):.0f}",
        )  # fmt: skip
    yield from _compared_all(case, size)


def _compared_all(case: Case, size: int) -> Iterator[str]:
    return map(_compared, comparisons(case, size))


def _compared(found: Comparison) -> str:
    said = "" if found.goal is None else f"  goal ≥ {found.goal:g}×: {'met' if found.met else 'not met'}"
    by = ", per CPU s" if found.figure == CPU else ""
    return _row(f"{found.of} / {found.over}{by}", *_times(found.times), said)


def _times(times: Spread) -> list[str]:
    return [f"{value:.2f}×" for value in (times.low, times.mid, times.high)]


def _latency(case: Case) -> Iterator[str]:
    yield _row(
        f"{case.measure}, {case.case}", "p99 min", "p99", "p99 max", "p50", "p99.9", "max", "sent late"
    )
    for name, rounds in case.rounds.items():
        if not rounds:
            yield _row(name, "failed")
        for phase in ("quiet", "busy"):
            if phases := [numbers[phase] for numbers in rounds if phase in numbers]:
                yield _phase(f"{name}, {phase}", phases)
        busy = [numbers for numbers in rounds if "busy" in numbers]
        if busy:
            yield _row("p99 busy / quiet", *_times(_busy_to_quiet(busy)))
            yield from _chores([run for numbers in busy for run in numbers["chores"]["done"]])
        if rounds:
            phases = [numbers[phase] for numbers in rounds for phase in ("quiet", "busy") if phase in numbers]
            yield f"  {name}: {_kept(phases)}"


def _phase(label: str, phases: list[dict[str, Any]]) -> str:
    spread = Spread.of([numbers["p99_ms"] for numbers in phases])
    beside = [
        median(numbers[key] for numbers in phases) for key in ("p50_ms", "p999_ms", "max_ms", "lag_p99_ms")
    ]
    return _row(label, *(f"{value:,.2f} ms" for value in (spread.low, spread.mid, spread.high, *beside)))


def _chores(done: list[dict[str, Any]]) -> Iterator[str]:
    for kind in ("snapshot", "prune", "export", "resume"):
        if runs := [run for run in done if run["kind"] == kind]:
            seconds = Spread.of([run["seconds"] for run in runs])
            rows = [run["rows"] for run in runs if "rows" in run]
            said = f", {min(rows):,} to {max(rows):,} rows" if rows else ""
            took = f"{seconds.low:.2f} / {seconds.mid:.2f} / {seconds.high:.2f} s"
            yield f"    beside it: {kind} × {len(runs)}, {took} (min / median / max){said}"


def _kept(phases: list[dict[str, Any]]) -> str:
    closed = sum(len(numbers["closed"]) for numbers in phases)
    wrong = {what: sum(numbers[what] for numbers in phases) for what in ("missing", "twice", "out_of_order")}
    if any(wrong.values()):
        lost = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in wrong.items())
    else:
        lost = "every delta came once, in order"
    behind = max(numbers["end_ms"] for numbers in phases) / 1000
    slow = f"; did NOT hold the rate: {behind:.1f} s behind at the end" if behind > BEHIND_S else ""
    return f"{closed or 'no'} reader{'s' if closed > 1 else ''} closed; {lost}{slow}"
