"""Recorded ingest through one connection, nobody subscribed: one delta a frame, or arrays.

The clock starts at the first byte sent, all frames having been made before, and ends when the last ack is
there and everything is recorded, whichever comes later.
"""

from __future__ import annotations

from bench_suite.measures.plan import Plan, await_recorded, enough, of_size, on_stage, publisher_to
from bench_suite.processes import Worker, cpu_seconds, peak_memory_mb
from bench_suite.systems.base import Running, System

WARM_S = 0.2


class Ingest:
    """One size of frames."""

    name = "ingest"
    unit = "deltas/s"

    def __init__(self, plan: Plan, per_frame: int) -> None:
        """Takes the plan, and how many deltas a frame has."""
        self._plan = plan
        self._per_frame = per_frame
        self.case = of_size("one delta a frame" if per_frame == 1 else f"arrays of {per_frame}", plan)
        # How many deltas each system gets, by name: set in its first round.
        self._counts: dict[str, int] = {}

    def round(self, system: System) -> dict[str, float]:
        """Measures once.

        Raises:
            BenchError: something was refused, lost or recorded twice, or took far too long.
        """
        with on_stage(system) as running, publisher_to(running) as publisher:
            published, rate = self._warm_up(system, running, publisher)
            count = self._counts.setdefault(system.name, enough(rate, self._plan))
            cpu = cpu_seconds(running.server.pid)
            seconds = self._burst(system, running, publisher, published, count)
            cpu = cpu_seconds(running.server.pid) - cpu
            peak_mb = peak_memory_mb(running.server.pid)
        return {
            "value": count / seconds,
            "per_cpu_s": count / max(cpu, 0.01),
            "deltas": count,
            "seconds": seconds,
            "cpu_s": cpu,
            "peak_mb": peak_mb,
        }

    def _warm_up(self, system: System, running: Running, publisher: Worker) -> tuple[int, float]:
        """Sends growing bursts until one takes a moment: deltas sent in all, the last burst's deltas/s."""
        published, count = 0, 1000
        while True:
            seconds = self._burst(system, running, publisher, published, count)
            published += count
            if seconds >= min(WARM_S, self._plan.seconds) or count * 4 > self._plan.most:
                return published, count / seconds
            count *= 4

    def _burst(self, system: System, running: Running, publisher: Worker, start: int, count: int) -> float:
        """Publishes `count` deltas from number `start`: seconds from the first byte to the last record."""
        timeout_s = 30 + 10 * self._plan.seconds
        publisher.ask(
            "prepare",
            system=system.name,
            start=start,
            count=count,
            per_frame=self._per_frame,
            size=self._plan.size,
        )
        publisher.tell("flood", timeout_s=timeout_s)
        sent = publisher.answer(timeout_s + 5)
        recorded_ns = await_recorded(running, start + count) or sent["acked_ns"]
        return float(max(recorded_ns, sent["acked_ns"]) - sent["first_ns"]) / 1e9
