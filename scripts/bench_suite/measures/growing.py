"""The measures of several sizes: what they are called, of which systems they can be taken, and how they are made."""

from __future__ import annotations

from bench_suite.measures.catch_up import CatchUp
from bench_suite.measures.growth import Growth
from bench_suite.measures.load import Load
from bench_suite.measures.memory import IdleConnections, RecordedDeltas
from bench_suite.measures.plan import Plan
from bench_suite.measures.query import Query
from bench_suite.measures.snapshot import Snapshot
from bench_suite.recordings import Shelf
from bench_suite.run import Measure

NAMES = ("catch-up", "snapshot", "load", "query", "memory", "growth")
# Others keep nothing that they could load, copy, or be asked about.
OF = {
    "catch-up": ("recorder", "redis-everysec", "nats-jetstream"),
    **{name: ("recorder",) for name in ("snapshot", "load", "query", "growth")},
}


def growing(plan: Plan, shelf: Shelf) -> dict[str, list[Measure]]:
    """The measures, by name; those that need a recording take it from the shelf."""
    return {
        "catch-up": [CatchUp(plan, shelf)],
        "snapshot": [Snapshot(plan, shelf)],
        "load": [Load(plan, shelf)],
        "query": [Query(plan, shelf)],
        "memory": [IdleConnections(plan), RecordedDeltas(plan)],
        "growth": [Growth(plan, shelf)],
    }
