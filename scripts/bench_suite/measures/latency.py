"""Publish-to-deliver latency at a fixed rate, to a few readers: quiet, and while the server has other work.

An open loop: deltas have a timetable, latency counts from the planned moment, and what comes late delays
nothing but itself. Busy means snapshots, exports and resumes from the beginning, one after the other and all
at once, and three prunes, over a history recorded beforehand. A system that can do none of these is measured
quiet only, and without a history.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from bench_suite.measures.plan import Plan, await_recorded, of_size, on_stage, publisher_to
from bench_suite.processes import Worker, cpu_seconds
from bench_suite.systems.base import Running, System

# From the moment in which everybody is told to the first delta's.
LEAD_S = 0.1
PARTS = 4
WARM_S = 0.5


class Latency:
    """One rate."""

    name = "latency"
    unit = "ms"

    def __init__(self, plan: Plan) -> None:
        """Takes the plan."""
        self._plan = plan
        self.case = of_size(f"{plan.rate} deltas/s", plan)

    def round(self, system: System) -> dict[str, Any]:
        """Measures once.

        Returns:
            `quiet` and, where the system can, `busy`: a phase's numbers each; and `chores`, with what was
            done.
        Raises:
            BenchError: something was refused, or took far too long. A lost or doubled delta is told by its
            phase.
        """
        with (
            on_stage(system) as running,
            publisher_to(running) as publisher,
            Worker("bench_suite.workers.listeners") as listeners,
            Worker("bench_suite.workers.chores") as chores,
        ):
            course = _Course(system, running, publisher, listeners, self._plan)
            times = course.preload() if running.chores else []
            listeners.ask("open", opening=running.subscribe.to_json(), count=self._plan.readers)
            course.phase(WARM_S)
            result: dict[str, Any] = {"quiet": course.phase(self._plan.quiet_s)}
            if running.chores:
                result |= course.busy(chores, times)
            else:
                await_recorded(running, course.published)
        return result


class _Course:
    """Phases, one after the other, from one publisher to the listeners of one server."""

    def __init__(
        self, system: System, running: Running, publisher: Worker, listeners: Worker, plan: Plan
    ) -> None:
        self._system = system
        self._running = running
        self._publisher = publisher
        self._listeners = listeners
        self._plan = plan
        # Deltas published so far.
        self.published = 0

    def preload(self) -> list[str]:
        """Records a history, in parts; the time at which each part was recorded."""
        times = []
        for _ in range(PARTS):
            self._prepare(self._plan.preload // PARTS, per_frame=100)
            self._publisher.ask("flood", within_s=70, timeout_s=60)
            await_recorded(self._running, self.published)
            times.append(datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))
        return times

    def phase(self, seconds: float, beside: Callable[[int], None] | None = None) -> dict[str, Any]:
        """Publishes at the plan's rate for so long.

        Args:
            seconds: how long.
            beside: told when it begins (monotonic clock, ns), a moment before.
        """
        count, period_ns = int(self._plan.rate * seconds), 1_000_000_000 // self._plan.rate
        start, timeout_s = self.published, 4 * seconds + 20
        self._prepare(count, per_frame=1)
        t0_ns = time.monotonic_ns() + int(LEAD_S * 1e9)
        if beside:
            beside(t0_ns)
        cpu = cpu_seconds(self._running.server.pid)
        timetable = {"t0_ns": t0_ns, "period_ns": period_ns, "timeout_s": timeout_s}
        self._listeners.ask("listen", start=start, count=count, **timetable)
        self._publisher.tell("pace", **timetable)
        heard = self._listeners.answer(timeout_s + 10)
        sent = self._publisher.answer(timeout_s + 10)
        return {**heard, **sent, "deltas": count, "cpu_s": cpu_seconds(self._running.server.pid) - cpu}

    def busy(self, chores: Worker, times: list[str]) -> dict[str, Any]:
        """A phase with chores beside it; the last part of the history is never pruned."""
        seconds = self._plan.busy_s
        prunes = [(seconds * (0.1 + 0.3 * part), older_than) for part, older_than in enumerate(times[:-1])]

        def begin(t0_ns: int) -> None:
            chores.tell("run", server=self._running.chores, seconds=seconds, prunes=prunes, begin_ns=t0_ns)

        numbers = self.phase(seconds, begin)
        return {"busy": numbers, "chores": chores.answer(200)}

    def _prepare(self, count: int, per_frame: int) -> None:
        self._publisher.ask(
            "prepare", system=self._system.name, start=self.published, count=count, per_frame=per_frame,
            size=self._plan.size,
        )  # fmt: skip
        self.published += count
