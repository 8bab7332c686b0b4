"""Questions about history: one after the other on one connection, with so many rows recorded and nothing going on.

Each kind asks for places spread evenly over the whole history, the same share of it at each size; 20 of each kind come
before the clock. Each size is a fresh server with a copy of a recording.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from bench_suite.errors import BenchError
from bench_suite.measures.plan import Plan
from bench_suite.payload import session_id
from bench_suite.points import Curve, Point, round_of
from bench_suite.processes import Worker, cpu_seconds
from bench_suite.recordings import Shelf
from bench_suite.systems.base import Running, System
from bench_suite.workers.asking import NEXT

WARM = 20
LIMIT = 100
SMALL = 10_000
"""Rows of a recording that is measured beside those of the plan: growth shows from here on."""
ITEM = '"recordedAt":'


@dataclass(frozen=True, slots=True)
class _History:
    """The history that is queried."""

    rows: int
    # When the first and the last were recorded: seconds since 1970.
    first_s: float
    last_s: float

    def seq(self, share: float) -> int:
        """The row at this share of all; there are at least LIMIT on its other side."""
        return LIMIT + 1 + int(share * (self.rows - LIMIT - 1))

    def time(self, share: float) -> str:
        """The moment at this share of the time of recording."""
        at = datetime.fromtimestamp(self.first_s + share * (self.last_s - self.first_s)).astimezone()
        return quote(at.isoformat(timespec="milliseconds"))


Targets = Callable[[_History, int], list[str]]


def _each(target: Callable[[_History, float, int], str]) -> Targets:
    """One target for each of so many shares, in an order that jumps about."""

    def made(history: _History, count: int) -> list[str]:
        # 0.618…: what follows lies far from what came before, and all of it is covered evenly.
        return [target(history, (number * 0.6180339887498949) % 1, number) for number in range(count)]

    return made


KINDS: dict[str, tuple[Targets, int | None]] = {
    "newest page": (_each(lambda history, share, number: f"/api/deltas?limit={LIMIT}"), LIMIT),
    "page before a seq": (
        _each(lambda history, share, number: f"/api/deltas?before={history.seq(share)}&limit={LIMIT}"),
        LIMIT,
    ),
    "page by cursor": (
        lambda history, count: [f"/api/deltas?limit={LIMIT}&order=desc", *[NEXT] * (count - 1)],
        None,
    ),
    "by session": (
        _each(
            lambda history, share, number: (
                f"/api/deltas?session={session_id(number)}&before={history.seq(share)}&limit={LIMIT}"
            )
        ),
        None,
    ),
    "by type, all": (
        _each(
            lambda history, share, number: (
                f"/api/deltas?type=updated&before={history.seq(share)}&limit={LIMIT}"
            )
        ),
        LIMIT,
    ),
    "by type, none": (_each(lambda history, share, number: f"/api/deltas?type=deleted&limit={LIMIT}"), 0),
    "since a time": (
        _each(
            lambda history, share, number: (
                f"/api/deltas?since={history.time(share * 0.9)}&order=asc&limit={LIMIT}"
            )
        ),
        LIMIT,
    ),
    "state at a seq": (
        _each(lambda history, share, number: f"/api/sessions/{session_id(number)}?at={history.seq(share)}"),
        None,
    ),
    "state now": (_each(lambda history, share, number: f"/api/sessions/{session_id(number)}"), None),
}
"""What is asked, and how many items each answer must have, where that is known."""


class Query:
    """All kinds of questions."""

    name = "query"
    case = f"pages of {LIMIT}"
    unit = "ms"

    def __init__(self, plan: Plan, shelf: Shelf) -> None:
        """Takes the plan, and the recordings."""
        self._plan = plan
        self._shelf = shelf

    def round(self, system: System) -> dict[str, Any]:
        """Measures once at each size.

        Returns:
            A curve of p50 and one of p99 for each kind. The figure is the worst p99 of a kind that has something to
            find, with the most rows.
        Raises:
            BenchError: a question was refused, or answered with less than there is.
        """
        sizes = sorted({min(SMALL, *self._plan.rows), *self._plan.rows})
        answers = {rows: self._answers(system, rows) for rows in sizes}
        curves = [
            Curve(f"{kind}, {name}", "rows recorded", "ms", _points(answers, kind, key))
            for kind in KINDS
            for name, key in (("p50", "p50_ms"), ("p99", "p99_ms"))
        ]
        worst = max(answers[sizes[-1]][kind]["p99_ms"] for kind, (_, items) in KINDS.items() if items != 0)
        return round_of(curves, worst)

    def _answers(self, system: System, rows: int) -> dict[str, dict[str, float]]:
        with self._shelf.stage(system, rows) as running, Worker("bench_suite.workers.asking") as worker:
            history = _history(running, rows)
            most = {kind: self._plan.queries + WARM for kind in KINDS}
            # There are no more pages than that.
            most["page by cursor"] = min(self._plan.queries, rows // LIMIT - 1)
            return {
                kind: self._asked(running, worker, targets(history, most[kind]), items)
                for kind, (targets, items) in KINDS.items()
            }

    def _asked(
        self, running: Running, worker: Worker, targets: list[str], items: int | None
    ) -> dict[str, float]:
        assert running.chores is not None
        where = {"host": running.chores["host"], "port": running.chores["port"], "marker": ITEM}
        if NEXT not in targets:
            worker.ask("ask", within_s=120, targets=targets[:WARM], **where)
            targets = targets[WARM:]
        cpu = cpu_seconds(running.server.pid)
        came = worker.ask("ask", within_s=600, targets=targets, **where)
        came["cpu_ms"] = (cpu_seconds(running.server.pid) - cpu) * 1000 / len(targets)
        if items is not None and came["found"] != items * len(targets):
            raise BenchError(f"{came['found']} deltas in {len(targets)} answers to such as GET {targets[0]}")
        return came


def _points(answers: dict[int, dict[str, dict[str, float]]], kind: str, key: str) -> tuple[Point, ...]:
    return tuple(
        Point(rows, of[kind][key], {"cpu_ms": of[kind]["cpu_ms"], "max_ms": of[kind]["max_ms"]})
        for rows, of in answers.items()
    )


def _history(running: Running, rows: int) -> _History:
    ends = []
    for order in ("asc", "desc"):
        assert running.chores is not None
        url = f"http://{running.chores['host']}:{running.chores['port']}/api/deltas?limit=1&order={order}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            item = json.load(answer)["deltas"][0]
        ends.append(datetime.fromisoformat(item["recordedAt"]).timestamp())
    return _History(rows, *ends)
