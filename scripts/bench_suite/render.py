"""A run as the documentation's section on speed: what was measured on what and when, as Markdown, for a person to read.

Everything between the markers is made here, so that no figure there is anything but one of a run. Names of systems are
their names on the command line. Figures have three digits; in parentheses stands how many times that the recorder does
(for latency, how many times faster it is), which is what a reader wants to know.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from bench_suite.errors import BenchError
from bench_suite.figures import number
from bench_suite.goals import CPU, WALL
from bench_suite.saved_runs import Figure, figures

T = TypeVar("T")
BEGIN, END = "<!-- speed -->", "<!-- /speed -->"
COLUMNS = 120
OURS = "recorder"
UNRECORDED = ", records nothing"
DELIVERIES = "Deliveries per second, until everything is recorded where anything is"
PER_CPU = "Deliveries per CPU second of the server"
INGEST = "Deltas recorded per second, on one connection"
LATENCY = "From publish to delivery, ms"
GROWTH = "With what is already there"
GOALS = "Goals"
SYSTEMS = "What each does for its figures"
HEADINGS = (DELIVERIES, PER_CPU, INGEST, LATENCY, GROWTH, GOALS, SYSTEMS)


def as_markdown(run: dict[str, Any]) -> str:
    """The section, without its markers.

    Args:
        run: as `--json` keeps it.
    """
    every = list(figures(run))
    tables = {
        DELIVERIES: _by_case(run, every, "deliveries", ""),
        PER_CPU: _by_case(run, every, "deliveries", "per CPU s"),
        INGEST: _by_case(run, every, "ingest", ""),
        LATENCY: _latency(every),
        GROWTH: _growth(run),
        GOALS: _goals(run),
        SYSTEMS: _systems(run),
    }
    parts = [_measured(run)]
    for heading, rows in tables.items():
        # A head alone is no table.
        if len(rows) > 1:
            parts.append(f"{heading}:\n\n{_table(rows)}")
    return "\n\n".join(parts) + "\n"


def put_into(text: str, section: str) -> str:
    """`text` with what stands between its markers replaced.

    Raises:
        BenchError: it hasn't got them.
    """
    before, begin, rest = text.partition(BEGIN + "\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchError(f"there is no {BEGIN} … {END} to write between")
    return f"{before}{begin}{section}{end}{after}"


def write_into(path: Path, section: str) -> None:
    """Puts the section into a file, between the markers there.

    Raises:
        BenchError: it hasn't got them.
    """
    path.write_text(put_into(path.read_text(), section))


def _measured(run: dict[str, Any]) -> str:
    here, options = run["machine"], run["options"]
    rounds = "one round" if options["rounds"] == 1 else f"medians of {options['rounds']} rounds"
    said = (
        f"Measured on {run['at'][:10]} by `scripts/bench` on {here['cpus']} × {here['cpu']}, Python "
        f"{here['python']}, over loopback: {rounds}, systems in turn; deltas of {options['size']} bytes unless said "
        "otherwise. In parentheses: how many times that the recorder does."
    )
    if (load := options.get("load_at_start", 0)) > here["cpus"] / 2:
        said += f" The machine was busy with other things: a load of {load} when it began."
    if options["quick"]:
        said += " A quick run: its figures mean little."
    if run["skipped"]:
        said += f" Not measured, as not installed there: {', '.join(run['skipped'])}."
    return textwrap.fill(said, COLUMNS, break_long_words=False, break_on_hyphens=False)


def _by_case(run: dict[str, Any], every: list[Figure], measure: str, what: str) -> list[list[str]]:
    """A row a system, a column a case."""
    recording = {name for name, about in run["systems"].items() if not about["records"].startswith("no")}
    found = {
        (each.case, each.system): each for each in every if each.measure == measure and each.what == what
    }
    figure = CPU if what else WALL
    # Those of rounds that ran one after the other, as far as there are any: they are what goals are held against.
    paired = {
        (ratio["case"], ratio["over"]): ratio["median"]
        for ratio in run["ratios"]
        if (ratio["measure"], ratio["of"], ratio.get("figure")) == (measure, OURS, figure)
    }
    cases, systems = _unique(case for case, _ in found), _unique(system for _, system in found)
    rows = [["", *cases]]
    for name in systems:
        cells = [_cell(found, paired, case, name) for case in cases]
        rows.append([name if name in recording else name + UNRECORDED, *cells])
    return rows


def _cell(
    found: dict[tuple[str, str], Figure], paired: dict[tuple[str, str], float], case: str, system: str
) -> str:
    if (figure := found.get((case, system))) is None:
        return "–"
    ours, theirs = found.get((case, OURS)), figure.spread.mid
    if ours is None or system.startswith(OURS) or not theirs:
        return number(theirs)
    return f"{number(theirs)} ({_roughly(paired.get((case, system), ours.spread.mid / theirs))})"


def _latency(every: list[Figure]) -> list[list[str]]:
    rows = [["", "p50", "p99", "p99.9", "p99, lowest to highest round"]]
    found = {(each.case, each.system, each.what): each for each in every if each.measure == "latency"}
    for case, system in _unique((case, system) for case, system, _ in found):
        for phase in ("quiet", "busy"):
            of = [found.get((case, system, f"{phase} {name}")) for name in ("p50", "p99", "p99.9")]
            if (p99 := of[1]) is None:
                continue
            cells = [number(each.spread.mid) for each in of if each]
            spread = f"{number(p99.spread.low)} to {number(p99.spread.high)}"
            rows.append([f"{system} at {case}, {phase}", *cells, spread])
    return rows


def _growth(run: dict[str, Any]) -> list[list[str]]:
    rows = [["", "at the smallest", "at the largest", "what it grows by"]]
    for curve in run.get("curves", ()):
        if curve["system"] != OURS:
            continue
        ends = [
            f"{number(curve['values'][end]['median'])} {curve['unit']} at {curve['sizes'][end]:,}"
            for end in (0, -1)
        ]
        name = f"{curve['measure']}, {curve['curve']}, by {curve['by']}"
        # Of what is there once and what each takes, only that can be compared.
        each = f"{number(curve['slope']['median'])} {curve['unit']} for each more"
        rows.append([name, *ends, each if curve["per"] == 1 else _times(curve["growth"]["median"])])
    return rows


def _goals(run: dict[str, Any]) -> list[list[str]]:
    rows = [["", "reached", "goal", ""]]
    for ratio in run["ratios"]:
        if ratio.get("goal") is None:
            continue
        by = ", per CPU second" if ratio["figure"] == "per_cpu_s" else ""
        name = f"{ratio['of']} / {ratio['over']}, {ratio['measure']}, {ratio['case']}{by}"
        spread = f"{_times(ratio['median'])} ({_times(ratio['low'])} to {_times(ratio['high'])})"
        rows.append([name, spread, f"≥ {ratio['goal']:g}×", "met" if ratio["met"] else "not met"])
    for curve in run.get("curves", ()):
        if curve["goal"] is not None:
            name = f"{curve['measure']}, {curve['curve']}"
            rows.append([name, curve["reached"], curve["goal"], "met" if curve["met"] else "not met"])
    return rows


def _systems(run: dict[str, Any]) -> list[list[str]]:
    rows = [["", "records", "durable", "ordered", "resumes", "beside that"]]
    for name, about in run["systems"].items():
        version = ", ".join(f"{package} {found}" for package, found in about["versions"].items())
        beside = "; ".join(part for part in (about["note"], version) if part)
        rows.append([name, *(about[what] for what in ("records", "durable", "ordered", "resumes")), beside])
    return rows


def _table(rows: list[list[str]]) -> str:
    head, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def _times(value: float) -> str:
    return f"{value:.0f}×" if value >= 100 else f"{number(value)}×"


def _roughly(value: float) -> str:
    return f"{value:.0f}×" if value >= 10 else f"{number(float(f'{value:.2g}'))}×"


def _unique(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))


_FIRST = re.compile(
    r"Measured on \d{4}-\d\d-\d\d by `scripts/bench` on \d+ × .+, Python [\d.]+, over loopback: .+"
)
_ROW = re.compile(r"\| .* \|")


def wrong_with(section: str, known: Iterable[str]) -> Iterator[str]:
    """Return what in a section is not as `as_markdown` would have made it, for whoever keeps one.

    Args:
        section: what stands between the markers.
        known: the names that a first cell of a table by system may have.
    """
    first, _, rest = section.partition("\n\n")
    if not _FIRST.fullmatch(" ".join(first.split())):
        yield f"does not begin with what it was measured on and when: {first[:80]!r}"
    names, places = set(known), []
    for part in re.split(r"\n\n(?=[^|])", rest.strip()):
        heading, _, table = part.partition(":\n\n")
        if heading not in HEADINGS:
            yield f"no such heading: {heading[:80]!r}"
            continue
        places.append(HEADINGS.index(heading))
        lines = table.strip().split("\n")
        width = lines[1].count("---|") if len(lines) > 2 else 0
        for line in [lines[0], *lines[2:]]:
            if not _ROW.fullmatch(line) or len(re.split(r"(?<!\\)\|", line)) != width + 2:
                yield f"{heading}: not a row of {width} cells: {line!r}"
        if heading in (DELIVERIES, PER_CPU, INGEST, SYSTEMS):
            cells = {line.split("|")[1].strip().removesuffix(UNRECORDED) for line in lines[2:]}
            yield from (f"{heading}: no system {name!r}" for name in sorted(cells - names))
    if places != sorted(set(places)):
        yield "headings are not in their order"
