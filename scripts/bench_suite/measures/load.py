"""Loading: from starting the process to the first answer 200 of /readyz, with so many rows in its file.

What is loaded is checked, too. Each size is a fresh process; an empty one is among them, so that what grows is told
apart from what does not.
"""

from __future__ import annotations

import time
from typing import Any

from bench_suite.measures.plan import Plan, await_recorded
from bench_suite.points import Curve, Point, round_of
from bench_suite.processes import cpu_seconds, peak_memory_mb
from bench_suite.recordings import Shelf
from bench_suite.systems.base import System


class Load:
    """Starts."""

    name = "load"
    case = "start to ready"
    unit = "s"

    def __init__(self, plan: Plan, shelf: Shelf) -> None:
        """Takes the plan, and the recordings."""
        self._plan = plan
        self._shelf = shelf

    def round(self, system: System) -> dict[str, Any]:
        """Measures once at each size.

        Raises:
            BenchError: it did not start, or did not load what was there.
        """
        points = tuple(self._point(system, rows) for rows in (0, *self._plan.rows))
        return round_of([Curve("start", "rows recorded", self.unit, points)], points[-1].value)

    def _point(self, system: System, rows: int) -> Point:
        with self._shelf.workdir(system, rows) as workdir:
            begin_ns = time.monotonic_ns()
            with system.start(workdir) as running:
                seconds = (time.monotonic_ns() - begin_ns) / 1e9
                pid = running.server.pid
                beside = {"cpu_s": cpu_seconds(pid), "peak_mb": peak_memory_mb(pid)}
                await_recorded(running, rows)
        return Point(rows, seconds, beside)
