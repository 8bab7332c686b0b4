"""The figures of a run as a picture: a panel a case, a bar a system, the spread of the rounds as a line across its end.

An SVG of our own, without any library: it stands alone, and is readable in light and in dark. Lengths are logarithmic,
from the power of ten below the smallest figure of the measure on: without that, all but the fastest would be lines; so
only figures can be compared, not areas. Panels of one measure and unit share their axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import Any
from xml.sax.saxutils import escape

from bench_suite.figures import number
from bench_suite.saved_runs import LESS_IS_BETTER, Figure, figures

WIDTH, LEFT, RIGHT = 860, 190, 110
ROW, BAR, PANEL_HEAD, PANEL_FOOT = 22, 12, 40, 24
# Of each measure what is drawn: throughput, and how late the latest hundredth was.
DRAWN = ("", "quiet p99", "busy p99")

_STYLE = """
svg { font: 12px system-ui, sans-serif; background: #fff; }
text { fill: #24292f; } .soft { fill: #57606a; } .head { font-weight: 600; font-size: 13px; }
.bar { fill: #8c959f; } .ours { fill: #0969da; } .pale { fill-opacity: .4; }
.spread { stroke: #24292f; } .grid { stroke: #d8dee4; }
@media (prefers-color-scheme: dark) {
  svg { background: #0d1117; }
  text { fill: #e6edf3; } .soft { fill: #9198a1; }
  .bar { fill: #6e7681; } .ours { fill: #4493f8; } .spread { stroke: #e6edf3; } .grid { stroke: #2a313c; }
}
"""


class _Axis:
    """A logarithmic axis, in px."""

    def __init__(self, all_of_it: list[Figure]) -> None:
        lows = [figure.spread.low for figure in all_of_it if figure.spread.low > 0]
        highs = [figure.spread.high for figure in all_of_it]
        # Figures that are 0 have no place on it: they get a bar of no length.
        self.first = math.floor(math.log10(min(lows, default=1)))
        self.last = max(self.first + 1, math.ceil(math.log10(max([1e-9, *highs]))))

    def at(self, value: float) -> float:
        """Its distance from the left end of the picture."""
        share = (math.log10(max(value, 10.0**self.first)) - self.first) / (self.last - self.first)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> list[float]:
        """The powers of ten."""
        return [10.0**power for power in range(self.first, self.last + 1)]


def as_svg(run: dict[str, Any]) -> str:
    """The picture of a run.

    Args:
        run: as `--json` keeps it.
    """
    here, options = run["machine"], run["options"]
    unrecorded = {name for name, about in run["systems"].items() if about["records"].startswith("no")}
    drawn = [figure for figure in figures(run) if figure.what in DRAWN]
    parts, top = [], 58
    for _, group in groupby(drawn, key=lambda figure: (figure.measure, figure.unit)):
        same = list(group)
        axis = _Axis(same)
        for _, panel in groupby(same, key=lambda figure: figure.case):
            bars = list(panel)
            parts.append("\n".join(_panel(bars, axis, top, unrecorded)))
            top += PANEL_HEAD + ROW * len(bars) + PANEL_FOOT
    title = f"{run['at'][:10]}, {here['cpus']} × {here['cpu']}, Python {here['python']}"
    rounds = "one round" if options["rounds"] == 1 else f"medians of {options['rounds']} rounds"
    under = f"{rounds}, the line from the lowest to the highest; pale: records nothing"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" '
        'role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        _text(16, 26, title, "head"),
        _text(16, 44, under, "soft"),
        *parts,
        "</svg>\n",
    ])  # fmt: skip


def _panel(bars: list[Figure], axis: _Axis, top: int, unrecorded: set[str]) -> Iterator[str]:
    first = bars[0]
    better = "less is better" if first.unit in LESS_IS_BETTER else "more is better"
    yield _text(16, top + 22, f"{first.measure}, {first.case}", "head")
    yield _text(WIDTH - 16, top + 22, f"{first.unit}, log scale; {better}", "soft", "end")
    bottom = top + PANEL_HEAD + ROW * len(bars)
    for tick in axis.ticks():
        x = axis.at(tick)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top + PANEL_HEAD - 6}" y2="{bottom}"/>'
        yield _text(x, bottom + 14, number(tick), "soft", "middle")
    for row, figure in enumerate(bars):
        kind = "bar ours" if figure.system.startswith("recorder") else "bar"
        pale = " pale" if figure.system in unrecorded else ""
        yield from _bar(figure, axis, top + PANEL_HEAD + ROW * row, kind + pale)


def _bar(figure: Figure, axis: _Axis, top: int, kind: str) -> Iterator[str]:
    spread, middle = figure.spread, top + BAR / 2
    left, right = axis.at(0), axis.at(spread.mid)
    label = f"{figure.system}, {figure.what}" if figure.what else figure.system
    low, high = axis.at(spread.low), axis.at(spread.high)
    told = f"{label}: {number(spread.mid)} {figure.unit} ({number(spread.low)} to {number(spread.high)})"
    yield f"<g><title>{escape(told)}</title>"
    yield _text(LEFT - 8, middle + 4, label, "", "end")
    yield f'<rect class="{kind}" x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="{BAR}" rx="2"/>'
    yield (
        f'<path class="spread" fill="none" d="M{low:.1f} {middle - 3}v6m0 -3H{high:.1f}m0 -3v6"/>'
        if high > low
        else ""
    )
    yield _text(max(right, high) + 8, middle + 4, number(spread.mid), "") + "</g>"


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
