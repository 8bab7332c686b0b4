"""The size of a run, and the common parts of all measures: a started system, and the wait for its record."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench_suite.errors import BenchError
from bench_suite.processes import Worker
from bench_suite.systems.base import Running, System

RECORDED_TIMEOUT_S = 60.0
# Bytes of a delta where nothing else is said.
USUAL_SIZE = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes of a run."""

    # Bytes of a delta.
    size: int = USUAL_SIZE
    # How long a throughput measurement should take, in seconds; the number of deltas follows from it.
    seconds: float = 1.5
    # Most deltas in a throughput measurement, whatever the speed.
    most: int = 200_000
    # Latency: deltas/s, readers, deltas recorded beforehand, and seconds of either phase.
    rate: int = 5000
    readers: int = 3
    preload: int = 200_000
    quiet_s: float = 4.0
    busy_s: float = 6.0
    # What grows: how many rows are there already, ascending.
    rows: tuple[int, ...] = (10_000, 100_000)
    # Snapshots: how many rows are new. Growth: deltas in a burst. Queries: how many of each kind.
    new: tuple[int, ...] = (1000, 10_000)
    burst: int = 50_000
    queries: int = 300
    # Memory: idle connections, and rows recorded.
    idle: tuple[int, ...] = (500, 1500)
    kept: tuple[int, ...] = (50_000, 100_000)
    # Growth: how many sessions a recording of the first size of `rows` has, beside that of all other measures.
    sessions: tuple[int, ...] = (10_000,)


def of_size(case: str, plan: Plan) -> str:
    """The name of a case, with the size of its deltas unless it is the usual one."""
    return case if plan.size == USUAL_SIZE else f"{case}, {plan.size} bytes"


@contextmanager
def on_stage(system: System) -> Iterator[Running]:
    """Starts a system in a temporary directory; stops it and removes that afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="recorder-bench-") as workdir,
        system.start(Path(workdir)) as running,
    ):
        yield running


@contextmanager
def publisher_to(running: Running) -> Iterator[Worker]:
    """A publisher that is connected."""
    with Worker("bench_suite.workers.publisher") as publisher:
        publisher.ask(
            "open",
            opening=running.publish.to_json(),
            ack_marker=running.ack_marker.decode(),
            error_marker=running.error_marker.decode(),
        )
        yield publisher


def await_recorded(running: Running, expected: int) -> int | None:
    """Waits until `expected` deltas are recorded.

    Returns:
        When the answer that said so had come (monotonic clock, ns); None where nothing is recorded.
    Raises:
        BenchError: there are more, or not as many in time.
    """
    deadline = time.monotonic() + RECORDED_TIMEOUT_S
    while (count := running.recorded_count()) is not None:
        if count == expected:
            return time.monotonic_ns()
        if count > expected:
            raise BenchError(f"{count} deltas are recorded, though only {expected} were published")
        if time.monotonic() > deadline:
            raise BenchError(f"{count} of {expected} deltas are recorded after {RECORDED_TIMEOUT_S:.0f} s")
        time.sleep(0.005)
    return None


def enough(rate: float, plan: Plan) -> int:
    """Return how many deltas take about the plan's seconds at `rate` deltas/s."""
    return max(64, min(plan.most, int(rate * plan.seconds)))
