"""Memory of the server: per idle connection, and per recorded delta.

What counts is what the process holds of the machine's memory (PSS), once it has come to rest; what the kernel holds
for a socket does not. Bytes per connection are those of connections beyond the first, smaller number, so that what
is made once counts for nobody; the same holds for bytes per delta.
"""

from __future__ import annotations

import time
from typing import Any

from bench_suite.measures.plan import Plan, on_stage, publisher_to
from bench_suite.points import Curve, Point, round_of, slope
from bench_suite.processes import Worker, memory_bytes
from bench_suite.recordings import publish
from bench_suite.systems.base import System

SETTLE_S = 0.2
MOST_SETTLES = 15
STILL_BYTES = 16_384


class IdleConnections:
    """Subscribers to whom nothing is sent."""

    name = "memory"
    case = "idle connections"
    unit = "bytes"

    def __init__(self, plan: Plan) -> None:
        """Takes the plan."""
        self._plan = plan

    def round(self, system: System) -> dict[str, Any]:
        """Measures once: the figure is what one more connection takes.

        Raises:
            BenchError: a connection was refused.
        """
        sizes = self._plan.idle
        with on_stage(system) as running, Worker("bench_suite.workers.readers") as readers:
            held = []
            for size, before in zip(sizes, (0, *sizes), strict=False):
                readers.ask(
                    "open",
                    within_s=120,
                    opening=running.subscribe.to_json(),
                    marker=running.delivery_marker.decode(),
                    count=size - before,
                )
                held.append(settled(running.server.pid))
        points = tuple(Point(size, bytes_) for size, bytes_ in zip(sizes, held, strict=True))
        return round_of([Curve("server", "connections", "bytes", points, per=1)], slope(list(sizes), held))


class RecordedDeltas:
    """Deltas that are kept."""

    name = "memory"
    case = "recorded deltas"
    unit = "bytes"

    def __init__(self, plan: Plan) -> None:
        """Takes the plan."""
        self._plan = plan

    def round(self, system: System) -> dict[str, Any]:
        """Measures once: the figure is what one more delta takes.

        Raises:
            BenchError: something was refused, or not recorded.
        """
        sizes, held, published = self._plan.kept, [], 0
        with on_stage(system) as running, publisher_to(running) as publisher:
            for size in sizes:
                publish(system, running, publisher, self._plan, published, size - published)
                published = size
                held.append(settled(running.server.pid))
        points = tuple(Point(size, bytes_) for size, bytes_ in zip(sizes, held, strict=True))
        return round_of([Curve("server", "rows recorded", "bytes", points, per=1)], slope(list(sizes), held))


def settled(pid: int) -> float:
    """Bytes that a process holds, once that has stopped to change, or after a few seconds."""
    before = memory_bytes(pid)
    for _ in range(MOST_SETTLES):
        time.sleep(SETTLE_S)
        now = memory_bytes(pid)
        if abs(now - before) <= STILL_BYTES:
            return float(now)
        before = now
    return float(before)
