"""Catching up: how fast a subscriber gets everything that is recorded, with nothing else going on.

The clock starts at the first delta and ends at `live`, or where nothing says so at the last delta. Each size is a fresh
server: the recorder with a copy of a recording; others are published to, and keep what they have in memory or in the
system's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench_suite.errors import BenchError
from bench_suite.measures.plan import Plan, on_stage, publisher_to
from bench_suite.points import Curve, Point, round_of
from bench_suite.processes import Worker, cpu_seconds
from bench_suite.recordings import Shelf, publish
from bench_suite.systems.base import Replays, Running, System

TIMEOUT_S = 120.0


class CatchUp:
    """Resumes from the beginning."""

    name = "catch-up"
    case = "since=earliest"
    unit = "rows/s"

    def __init__(self, plan: Plan, shelf: Shelf) -> None:
        """Takes the plan, and the recordings."""
        self._plan = plan
        self._shelf = shelf

    def round(self, system: System) -> dict[str, Any]:
        """Measures once at each size.

        Raises:
            BenchError: a row was lost or came twice, or it took far too long.
        """
        points = tuple(self._point(system, rows) for rows in self._plan.rows)
        by_cpu = tuple(Point(point.size, point.beside["per_cpu_s"]) for point in points)
        curves = [
            Curve("resume", "rows recorded", self.unit, points),
            Curve("resume, CPU", "rows recorded", "rows/CPU s", by_cpu),
        ]
        return round_of(curves, points[-1].value)

    def _point(self, system: System, rows: int) -> Point:
        with self._stage(system, rows) as running, Worker("bench_suite.workers.resuming") as worker:
            cpu = cpu_seconds(running.server.pid)
            came = worker.ask(
                "resume", within_s=TIMEOUT_S + 10, timeout_s=TIMEOUT_S, rows_due=rows, **_resuming(running)
            )
            cpu = cpu_seconds(running.server.pid) - cpu
        if came["rows"] != rows:
            raise BenchError(f"{came['rows']} rows came of {rows}")
        beside = {"seconds": came["seconds"], "cpu_s": cpu, "per_cpu_s": rows / max(cpu, 0.01)}
        return Point(rows, rows / came["seconds"], beside)

    @contextmanager
    def _stage(self, system: System, rows: int) -> Iterator[Running]:
        if system.name == "recorder":
            with self._shelf.stage(system, rows) as running:
                yield running
            return
        with on_stage(system) as running:
            with publisher_to(running) as publisher:
                publish(system, running, publisher, self._plan, 0, rows)
            yield running


def _resuming(running: Running) -> dict[str, Any]:
    if running.chores is not None:
        return {
            "opening": running.chores["resume"],
            "marker": running.chores["marker"],
            "live_marker": running.chores["live_marker"],
        }
    if not isinstance(running, Replays):
        raise BenchError("it gives nothing that was before")
    opening = running.history().to_json()
    return {"opening": opening, "marker": running.history_marker.decode(), "live_marker": ""}
