"""The comparisons of figures, and the goals of the recorder. Goals decide nothing in a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench_suite.figures import Spread
from bench_suite.run import Case
from bench_suite.systems import BASELINE

PAIRS = (
    ("recorder", BASELINE),
    ("recorder", "node-ws"),
    ("recorder", "socketio"),
    ("recorder", "nats"),
    ("recorder", "nats-jetstream"),
    ("recorder", "mosquitto"),
    ("recorder", "mosquitto-tcp"),
    ("recorder", "bare"),
    ("recorder-commit", "recorder"),
    ("recorder", "redis-everysec"),
    ("recorder-commit", "redis-always"),
)
"""Which systems are set against which: where an answer means the same, as far as that can be."""

WALL, CPU = "value", "per_cpu_s"
"""The figures that ratios are made of: by wall time, and by CPU seconds of the server."""

_AT_MANY = ("100 subscribers", "1000 subscribers")
GOALS: dict[tuple[tuple[str, str], str, str, str], float] = {
    (("recorder", BASELINE), "deliveries", "100 subscribers", WALL): 12.0,
    (("recorder", BASELINE), "ingest", "one delta a frame", WALL): 10.0,
    (("recorder", BASELINE), "ingest", "arrays of 100", WALL): 10.0,
    (("recorder", "redis-everysec"), "ingest", "arrays of 100", WALL): 1.0,
    (("recorder-commit", "redis-always"), "ingest", "arrays of 100", WALL): 1.0,
    **{(("recorder", "nats"), "deliveries", case, CPU): 2.5 for case in _AT_MANY},
    **{(("recorder", "nats"), "deliveries", case, WALL): 1.4 for case in _AT_MANY},
    **{(("recorder", "bare"), "deliveries", case, WALL): 0.9 for case in _AT_MANY},
}
"""As multiples of the other's figure: by the two systems, measure, case and figure; for deltas of GOAL_SIZE."""

GOAL_SIZE = 500


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ratio of one system's figure to another's, and its goal."""

    of: str
    over: str
    # WALL or CPU.
    figure: str
    times: Spread
    goal: float | None

    @property
    def met(self) -> bool | None:
        """Return whether the median reaches the goal; None without one."""
        return None if self.goal is None else self.times.mid >= self.goal


def comparisons(case: Case, size: int) -> Iterator[Comparison]:
    """Return what can be compared in a case: every pair that took part in it, by wall time and by CPU time.

    Args:
        case: the rounds.
        size: bytes of a delta; the goals hold for GOAL_SIZE alone.
    """
    for pair in PAIRS:
        for figure in (WALL, CPU):
            if times := case.ratio(*pair, figure):
                goal = GOALS.get((pair, case.measure, case.case, figure)) if size == GOAL_SIZE else None
                yield Comparison(*pair, figure, times, goal)
