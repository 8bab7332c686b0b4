"""The measures of several sizes: what they are called, of which systems they can be taken, and how they are made."""

from __future__ import annotations

from benchlib.measures.catch_up import CatchUp
from benchlib.measures.growth import Growth
from benchlib.measures.load import Load
from benchlib.measures.memory import IdleConnections, RecordedDeltas
from benchlib.measures.plan import Plan
from benchlib.measures.query import Query
from benchlib.measures.snapshot import Snapshot
from benchlib.recordings import Shelf
from benchlib.run import Measure

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
