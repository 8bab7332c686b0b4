"""This run beside an earlier one: every figure that both have, as a ratio.

Rounds of two runs are no pairs, so a ratio's lowest and highest are those that any two rounds could give: this run's
lowest over the other's highest, and the other way round. A spread that has 1 in it says nothing either way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from bench_suite.figures import Spread, number
from bench_suite.saved_runs import LESS_IS_BETTER, Figure, figures

# Options without which the same name would mean another figure. Sizes are in the cases' names.
_NOTED = ("rounds", "recorder_settings", "baseline_uvloop")
_FREE = ("sizes", "load_at_start")
_MACHINE = ("cpus", "cpu", "system", "python", "sqlite", "packages")


def as_text(run: dict[str, Any], earlier: dict[str, Any]) -> str:
    """The comparison as a table; or, where the two can't be compared, the options in which they differ.

    Args:
        run, earlier: as `--json` keeps them.
    """
    lines = [f"beside the run of {earlier['at']}:"]
    # As JSON would have it: tuples are lists there.
    run = json.loads(json.dumps(run))
    if differing := list(_differing(run, earlier, "options", set(run["options"]) - {*_NOTED, *_FREE})):
        lines += ["  NOT COMPARED, these options differ:", *differing]
        return "\n".join(lines) + "\n"
    for what, notes in (
        ("measured with other settings", _differing(run, earlier, "options", _NOTED)),
        ("measured on ANOTHER MACHINE", _differing(run, earlier, "machine", _MACHINE)),
    ):
        if told := list(notes):
            lines += [f"  {what}:", *told]
    return "\n".join([*lines, *_table(run, earlier)]) + "\n"


def ratios(run: dict[str, Any], earlier: dict[str, Any]) -> Iterator[tuple[Figure, Spread]]:
    """Each figure of the run that the earlier one has, too, and how many times that one it is."""
    before = {figure.key: figure.spread for figure in figures(earlier)}
    for figure in figures(run):
        now, then = figure.spread, before.get(figure.key)
        # What was 0 has no ratio.
        if then is not None and then.low > 0:
            yield figure, Spread(now.low / then.high, now.mid / then.mid, now.high / then.low)


def _differing(
    run: dict[str, Any], earlier: dict[str, Any], part: str, names: Iterable[str]
) -> Iterator[str]:
    for name in sorted(set(names) & set(run[part]) & set(earlier[part])):
        now, then = run[part][name], earlier[part][name]
        if now != then:
            yield f"    {name}: {_short(now)} now, {_short(then)} then"


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _table(run: dict[str, Any], earlier: dict[str, Any]) -> Iterator[str]:
    case = None
    for figure, times in ratios(run, earlier):
        if case != (case := (figure.measure, figure.case)):
            yield _row(f"{figure.measure}, {figure.case}", "now", "now / then", "lowest", "highest")
        what = f"{figure.system}, {figure.what}" if figure.what else figure.system
        less = "  (less is better)" if figure.unit in LESS_IS_BETTER else ""
        cells = (f"{times.mid:.2f}×", f"{times.low:.2f}×", f"{times.high:.2f}×")
        yield _row(what, number(figure.spread.mid), *cells) + less
    if case is None:
        yield "  no figure is in both"


def _row(label: str, *cells: str) -> str:
    return f"  {label:60}" + "".join(f"{cell:>12}" for cell in cells)
