"""Growth with the amount of data: ingest and deliveries, with so many rows recorded and so many sessions known.

Ingest and deliveries are measured as everywhere: from the first byte sent (from the first delivery) until everything
is recorded. Each size is a fresh server with a copy of a recording, warmed up by a first burst of a tenth.

Deltas come of all sessions in turn. Of few, many of a group change the same session's entry in the cache of states; of
many, each its own: from few to many there is a step, and what grows shows behind it.
"""

from __future__ import annotations

from typing import Any

from bench_suite.measures.plan import Plan, await_recorded, publisher_to
from bench_suite.payload import SESSIONS
from bench_suite.points import Curve, Point, round_of
from bench_suite.processes import Worker, cpu_seconds
from bench_suite.recordings import Shelf, publish
from bench_suite.systems.base import Running, System

READERS = 100
TIMEOUT_S = 120.0


class Growth:
    """Rates at several sizes."""

    name = "growth"
    case = "with what is there"
    unit = "×"

    def __init__(self, plan: Plan, shelf: Shelf) -> None:
        """Takes the plan, and the recordings."""
        self._plan = plan
        self._shelf = shelf

    def round(self, system: System) -> dict[str, Any]:
        """Measures once at each size.

        Returns:
            Curves of ingest, one delta a frame and in arrays, and of deliveries, by rows; and of ingest in arrays,
            by sessions; each by CPU seconds of the server, too. The figure is the rate of ingest in arrays with the
            most rows, as a share of that with none.
        Raises:
            BenchError: something was refused, lost or recorded twice, or took far too long.
        """
        at = {rows: self._rates(system, rows) for rows in (0, *self._plan.rows)}
        curves = [
            Curve(name, "rows recorded", unit, tuple(Point(rows, *rates[name]) for rows, rates in at.items()))
            for name, unit in (
                ("arrays of 100", "deltas/s"),
                ("one delta a frame", "deltas/s"),
                (f"{READERS} subscribers", "deliveries/s"),
            )
        ]
        rows = self._plan.rows[0]
        few = Point(SESSIONS, *at[rows]["arrays of 100"])
        many = tuple(self._with_sessions(system, rows, count) for count in self._plan.sessions)
        curves.append(Curve("arrays of 100", "sessions", "deltas/s", (few, *many)))
        share = curves[0].points[-1].value / curves[0].points[0].value
        return round_of([each for curve in curves for each in (curve, _by_cpu(curve))], share)

    def _with_sessions(self, system: System, rows: int, sessions: int) -> Point:
        with self._shelf.stage(system, rows, sessions) as running, publisher_to(running) as publisher:
            course = _Course(system, running, publisher, self._plan, rows, sessions)
            course.ingest(100, self._plan.burst // 10)
            return Point(sessions, *course.ingest(100, self._plan.burst))

    def _rates(self, system: System, rows: int) -> dict[str, tuple[float, dict[str, float]]]:
        burst = self._plan.burst
        with self._shelf.stage(system, rows) as running, publisher_to(running) as publisher:
            course = _Course(system, running, publisher, self._plan, rows, SESSIONS)
            course.ingest(100, burst // 10)
            rates = {"arrays of 100": course.ingest(100, burst), "one delta a frame": course.ingest(1, burst)}
            with Worker("bench_suite.workers.readers") as readers:
                readers.ask(
                    "open",
                    within_s=60,
                    opening=running.subscribe.to_json(),
                    marker=running.delivery_marker.decode(),
                    count=READERS,
                )
                course.deliveries(readers, burst // 50)
                rates[f"{READERS} subscribers"] = course.deliveries(readers, burst // 5)
        return rates


def _by_cpu(curve: Curve) -> Curve:
    """Return the same by CPU seconds of the server, which a busy machine changes least."""
    points = tuple(Point(point.size, point.beside["per_cpu_s"]) for point in curve.points)
    return Curve(f"{curve.name}, CPU", curve.by, curve.unit.replace("/s", "/CPU s"), points)


class _Course:
    """Bursts from one publisher to one server."""

    def __init__(
        self, system: System, running: Running, publisher: Worker, plan: Plan, rows: int, sessions: int
    ) -> None:
        self._system = system
        self._running = running
        self._publisher = publisher
        self._plan = plan
        self._sessions = sessions
        # Deltas recorded so far.
        self._recorded = rows

    def ingest(self, per_frame: int, count: int) -> tuple[float, dict[str, float]]:
        """Publishes: deltas/s, and what was measured beside it."""
        cpu = cpu_seconds(self._running.server.pid)
        seconds = publish(
            self._system, self._running, self._publisher, self._plan, self._recorded, count,
            per_frame=per_frame, sessions=self._sessions,
        )  # fmt: skip
        self._recorded += count
        cpu = cpu_seconds(self._running.server.pid) - cpu
        return count / seconds, {"per_cpu_s": count / max(cpu, 0.01), "cpu_s": cpu}

    def deliveries(self, readers: Worker, count: int) -> tuple[float, dict[str, float]]:
        """Publishes to the readers: deliveries/s, and what was measured beside it."""
        self._publisher.ask(
            "prepare", system=self._system.name, start=self._recorded, count=count, per_frame=1,
            size=self._plan.size, sessions=self._sessions,
        )  # fmt: skip
        self._recorded += count
        cpu = cpu_seconds(self._running.server.pid)
        readers.ask("expect", count=count, timeout_s=TIMEOUT_S)
        self._publisher.tell("flood", timeout_s=TIMEOUT_S)
        seen = readers.answer(TIMEOUT_S + 5)
        self._publisher.answer(TIMEOUT_S + 5)
        end_ns = await_recorded(self._running, self._recorded) or seen["last_ns"]
        cpu = cpu_seconds(self._running.server.pid) - cpu
        made = count * READERS
        seconds = (max(end_ns, seen["last_ns"]) - seen["first_ns"]) / 1e9
        return made / seconds, {"per_cpu_s": made / max(cpu, 0.01), "cpu_s": cpu}
