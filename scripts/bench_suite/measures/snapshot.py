"""Snapshots: how long one takes, by how much is new and by how much is there already; and a full copy, beside it.

The full copy is SQLite's own, of the same file, into the same directory, while nobody uses it: the faster of `VACUUM
INTO` and `backup`. It is not synced to disk, while a snapshot is: what is unfair is in the copy's favour. The smallest
number of new rows is measured several times, and its median counts.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from bench_suite.measures.plan import Plan, await_recorded, publisher_to
from bench_suite.points import Curve, Point, round_of
from bench_suite.processes import Worker, cpu_seconds
from bench_suite.recordings import Shelf, publish
from bench_suite.systems.base import Running, System
from bench_suite.workers.chores import Chores

TIMES = 5
"""How often the smallest is measured."""


class Snapshot:
    """Snapshots on demand."""

    name = "snapshot"
    case = "on demand"
    unit = "s"

    def __init__(self, plan: Plan, shelf: Shelf) -> None:
        """Takes the plan, and the recordings."""
        self._plan = plan
        self._shelf = shelf

    def round(self, system: System) -> dict[str, Any]:
        """Measures once at each size.

        Returns:
            Curves by the rows that are there, for each number of new ones; by the new ones, for each number that is
            there; of full copies; and of what the smallest snapshot is of a full copy. The figure is the last one's.
        Raises:
            BenchError: a snapshot was refused, or did not bring everything to disk.
        """
        taken = {rows: self._of(system, rows) for rows in self._plan.rows}
        copies = {rows: Point(rows, copy) for rows, (_, copy) in taken.items()}
        curves = [
            Curve(
                f"{new:,} new",
                "rows recorded",
                "s",
                tuple(Point(rows, *at[new]) for rows, (at, _) in taken.items()),
            )
            for new in self._plan.new
        ]
        curves += [
            Curve(f"in {rows:,}", "new rows", "s", tuple(Point(new, *found) for new, found in at.items()))
            for rows, (at, _) in taken.items()
        ]
        least = self._plan.new[0]
        shares = tuple(Point(rows, at[least][0] / copy) for rows, (at, copy) in taken.items())
        curves.append(Curve("full copy", "rows recorded", "s", tuple(copies.values())))
        curves.append(Curve(f"{least:,} new / full copy", "rows recorded", "×", shares))
        return round_of(curves, shares[-1].value)

    def _of(self, system: System, rows: int) -> tuple[dict[int, tuple[float, dict[str, float]]], float]:
        """Seconds of a snapshot and what is beside it, by its new rows; and seconds of a full copy."""
        with self._shelf.workdir(system, rows) as workdir:
            with system.start(workdir) as running, publisher_to(running) as publisher:
                await_recorded(running, rows)
                course = _Course(system, running, publisher, self._plan, rows)
                times = {new: TIMES if new == self._plan.new[0] else 1 for new in self._plan.new}
                at = {new: course.snapshots(new, count) for new, count in times.items()}
            return at, copy_seconds(workdir / "sessions.sqlite")


class _Course:
    """Snapshots of one server, one after the other."""

    def __init__(self, system: System, running: Running, publisher: Worker, plan: Plan, rows: int) -> None:
        assert running.chores is not None
        self._system = system
        self._running = running
        self._publisher = publisher
        self._plan = plan
        self._chores = Chores(**running.chores)
        # Deltas recorded so far.
        self._recorded = rows

    def snapshots(self, new: int, count: int) -> tuple[float, dict[str, float]]:
        """Seconds of a snapshot of so many new rows, the median of `count`; and CPU seconds, of the server."""
        taken = [self._snapshot(new) for _ in range(count)]
        return median(seconds for seconds, _ in taken), {"cpu_s": median(cpu for _, cpu in taken)}

    def _snapshot(self, new: int) -> tuple[float, float]:
        publish(self._system, self._running, self._publisher, self._plan, self._recorded, new)
        self._recorded += new
        cpu, begin = cpu_seconds(self._running.server.pid), time.monotonic()
        self._chores.post("/api/admin/snapshot", {})
        return time.monotonic() - begin, cpu_seconds(self._running.server.pid) - cpu


def copy_seconds(path: Path) -> float:
    """Return how long the faster way of copying a database takes, in seconds."""
    return min(_seconds(path, _vacuum_into), _seconds(path, _backup))


def _seconds(path: Path, copy: Any) -> float:
    target = path.with_name("copy.sqlite")
    with closing(sqlite3.connect(path)) as conn:
        begin = time.monotonic()
        copy(conn, target)
        seconds = time.monotonic() - begin
    target.unlink()
    return seconds


def _vacuum_into(conn: sqlite3.Connection, target: Path) -> None:
    conn.execute("VACUUM INTO ?", (str(target),))


def _backup(conn: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target)) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        conn.backup(copy)
