"""Recordings of many rows, made once a run by the recorder itself, and copied for each measurement.

Kept true: a recording is what a recorder wrote and closed in order; nobody writes to the one that is kept. A larger
one is made from a smaller one of as many sessions, so that a million rows are published once.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench_suite.measures.plan import Plan, await_recorded, publisher_to
from bench_suite.payload import SESSIONS
from bench_suite.processes import Worker
from bench_suite.systems.base import Running, System
from bench_suite.workers.chores import Chores

PART = 100_000
"""Deltas that a publisher prepares at once: their frames are in its memory."""


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """The size of a recording: how many sessions, and how many rows in all."""

    sessions: int
    rows: int


class Shelf:
    """The recordings of a run."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        """Takes an empty directory of its own, and the plan for the bytes of a delta."""
        self._directory = directory
        self._plan = plan
        self._made: dict[Kind, Path] = {}

    @contextmanager
    def stage(self, system: System, rows: int, sessions: int = SESSIONS) -> Iterator[Running]:
        """A system that has a copy of the recording of so many rows; in a directory that is removed afterwards.

        Raises:
            BenchError: it did not load what it was given.
        """
        with self.workdir(system, rows, sessions) as workdir, system.start(workdir) as running:
            await_recorded(running, rows)
            yield running

    @contextmanager
    def workdir(self, system: System, rows: int, sessions: int = SESSIONS) -> Iterator[Path]:
        """A directory with a copy of the recording, for a system to start in."""
        made = self._make(system, Kind(sessions, rows)) if rows else None
        with tempfile.TemporaryDirectory(prefix="recorder-bench-") as name:
            if made is not None:
                shutil.copytree(made, name, dirs_exist_ok=True)
            yield Path(name)

    def _make(self, system: System, kind: Kind) -> Path:
        if kind in self._made:
            return self._made[kind]
        sys.stderr.write(f"  making a recording of {kind.rows:,} rows\n")
        fewer = [each for each in self._made if each.sessions == kind.sessions and each.rows < kind.rows]
        smaller = max(fewer, default=None)
        path = self._directory / f"{kind.sessions}-{kind.rows}"
        try:
            if smaller is None:
                path.mkdir()
            else:
                shutil.copytree(self._made[smaller], path)
            self._fill(system, path, kind, 0 if smaller is None else smaller.rows)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        self._made[kind] = path
        return path

    def _fill(self, system: System, path: Path, kind: Kind, begin: int) -> None:
        with system.start(path) as running, publisher_to(running) as publisher:
            assert running.chores is not None
            chores = Chores(**running.chores)
            for start in range(begin, kind.rows, PART):
                count = min(PART, kind.rows - start)
                publish(system, running, publisher, self._plan, start, count, sessions=kind.sessions)
                # Piece by piece: all at once when it stops would take longer than it is waited for.
                chores.post("/api/admin/snapshot", {})


def publish(
    system: System,
    running: Running,
    publisher: Worker,
    plan: Plan,
    start: int,
    count: int,
    *,
    per_frame: int = 100,
    sessions: int = SESSIONS,
) -> float:
    """Publishes deltas `start` to `start + count - 1`, and waits until all of them are recorded.

    Returns:
        Seconds from the first byte sent to the last ack and the last record, without the time of making frames.
    """
    seconds = 0.0
    for begin in range(start, start + count, PART):
        part = min(PART, start + count - begin)
        publisher.ask(
            "prepare", within_s=120, system=system.name, start=begin, count=part, per_frame=per_frame,
            size=plan.size, sessions=sessions,
        )  # fmt: skip
        sent = publisher.ask("flood", within_s=130, timeout_s=120)
        recorded_ns = await_recorded(running, begin + part) or sent["acked_ns"]
        seconds += (max(recorded_ns, sent["acked_ns"]) - sent["first_ns"]) / 1e9
    return seconds
