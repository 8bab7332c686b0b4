"""Deliveries: deltas published as fast as they are taken, to many subscribers.

The clock starts at the first delivery and ends when the last reader has everything and everything is
recorded. Each round is a fresh server, warmed up with a first burst, from whose speed the number of deltas is
taken once.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench_suite.measures.plan import Plan, await_recorded, enough, of_size, on_stage, publisher_to
from bench_suite.processes import Worker, cpu_seconds, peak_memory_mb
from bench_suite.systems.base import Running, System

WARM_S = 0.2
# Few enough for one that makes a dozen deliveries in a second, as Mosquitto's WebSockets do with large ones.
WARM_COUNT = 32


class Deliveries:
    """One number of subscribers."""

    name = "deliveries"
    unit = "deliveries/s"

    def __init__(self, plan: Plan, subscribers: int) -> None:
        """Takes the plan, and how many subscribers."""
        self._plan = plan
        self._subscribers = subscribers
        self.case = of_size(f"{subscribers} subscriber{'s' if subscribers != 1 else ''}", plan)
        # How many deltas each system gets, by name: set in its first round.
        self._counts: dict[str, int] = {}

    def round(self, system: System) -> dict[str, float]:
        """Measures once.

        Raises:
            BenchError: a delivery was lost or doubled, a reader closed, or something took far too long.
        """
        with (
            on_stage(system) as running,
            Worker("bench_suite.workers.readers") as readers,
            publisher_to(running) as publisher,
        ):
            readers.ask(
                "open",
                within_s=60,
                opening=running.subscribe.to_json(),
                marker=running.delivery_marker.decode(),
                count=self._subscribers,
            )
            course = _Course(system, running, readers, publisher, self._plan)
            rate = course.warm_up()
            if system.name not in self._counts:
                # A burst of a moment says too little of a long one: some servers take more at once the more there is.
                self._counts[system.name] = enough(course.rehearse(enough(rate, self._plan)), self._plan)
            count = self._counts[system.name]
            figures = course.run(count)
        made = count * self._subscribers
        return {
            "value": made / figures["seconds"],
            "per_cpu_s": made / max(figures["cpu_s"], 0.01),
            # Beside it, for whoever doubts a clock that starts at the first delivery.
            "per_s_from_first_send": made / figures["from_first_send_s"],
            **figures,
        }


@dataclass(frozen=True, slots=True)
class _Burst:
    """The times of a burst: its sending, its first delivery and its last; monotonic clock, ns."""

    sent_ns: int
    first_ns: int
    last_ns: int


class _Course:
    """Bursts from one publisher to all readers of one server."""

    def __init__(
        self, system: System, running: Running, readers: Worker, publisher: Worker, plan: Plan
    ) -> None:
        self._system = system
        self._running = running
        self._readers = readers
        self._publisher = publisher
        self._plan = plan
        # Deltas published so far.
        self._published = 0

    def warm_up(self) -> float:
        """Sends bursts, each larger than the one before, until one takes a moment; its speed in deltas/s."""
        # The first one is not looked at: a cold server is much slower, and too few deltas would follow from that.
        count = WARM_COUNT
        self._burst(count)
        while True:
            rate = self.rehearse(count)
            if count / rate >= min(WARM_S, self._plan.seconds) or count * 4 > self._plan.most:
                return rate
            count *= 4

    def rehearse(self, count: int) -> float:
        """Sends a burst that does not count; its speed in deltas/s."""
        burst = self._burst(count)
        return count * 1e9 / (burst.last_ns - burst.first_ns)

    def run(self, count: int) -> dict[str, float]:
        """Sends the burst that counts."""
        pid = self._running.server.pid
        await_recorded(self._running, self._published)
        cpu = cpu_seconds(pid)
        burst = self._burst(count)
        end_ns = await_recorded(self._running, self._published) or burst.last_ns
        cpu = cpu_seconds(pid) - cpu
        self._readers.ask("settle", wait_s=0.05)
        return {
            "deltas": count,
            "seconds": (end_ns - burst.first_ns) / 1e9,
            "delivered_s": (burst.last_ns - burst.first_ns) / 1e9,
            "from_first_send_s": (end_ns - burst.sent_ns) / 1e9,
            "cpu_s": cpu,
            "peak_mb": peak_memory_mb(pid),
        }

    def _burst(self, count: int) -> _Burst:
        timeout_s = 30 + 10 * self._plan.seconds
        self._publisher.ask(
            "prepare",
            system=self._system.name,
            start=self._published,
            count=count,
            per_frame=1,
            size=self._plan.size,
        )
        self._published += count
        self._readers.tell("expect", count=count, timeout_s=timeout_s)
        # It listens now.
        self._readers.answer(10)
        self._publisher.tell("flood", timeout_s=timeout_s)
        seen = self._readers.answer(timeout_s + 5)
        sent = self._publisher.answer(timeout_s + 5)
        return _Burst(sent["first_ns"], seen["first_ns"], seen["last_ns"])
