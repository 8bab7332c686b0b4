"""The history of job runs: what ran, when, for how long, with what outcome. Kept in the database like the rest."""

from __future__ import annotations

import sqlite3

import orjson

from recorder.store.contract import JobRun
from recorder.store.sqlite.connection import Database

KEPT = 1000
"""How many runs of each job are kept; the oldest are forgotten. Of each, or a snapshot a minute would crowd out the
daily prunes."""


class JobRuns:
    """The table of runs.

    Args:
        database: Where it is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, run: JobRun) -> None:
        """Keep a run."""
        values = (
            run.name,
            run.started_at,
            run.duration_ms,
            run.outcome,
            orjson.dumps(run.counts).decode(),
            run.error,
        )

        def work(conn: sqlite3.Connection) -> None:
            conn.execute(
                "INSERT INTO job_runs(name, started_at, duration_ms, outcome, counts, error)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
            trim_runs(conn, run.name)

        await self._database.run(work)

    async def latest(self, limit: int, name: str | None = None) -> list[JobRun]:
        """Return the last runs, latest first.

        Args:
            limit: How many at most.
            name: Only those of this job.
        """
        rows = await self._database.run(
            lambda conn: conn.execute(
                "SELECT id, name, started_at, duration_ms, outcome, counts, error FROM job_runs"
                " WHERE ? IS NULL OR name = ? ORDER BY id DESC LIMIT ?",
                (name, name, limit),
            ).fetchall()
        )
        return [
            JobRun(name, at, duration, outcome, orjson.loads(counts), error, number)
            for number, name, at, duration, outcome, counts, error in rows
        ]


def trim_runs(conn: sqlite3.Connection, name: str) -> None:
    """Forget the oldest runs of a job beyond `KEPT`."""
    conn.execute(
        "DELETE FROM job_runs WHERE name = :name AND id <="
        " (SELECT id FROM job_runs WHERE name = :name ORDER BY id DESC LIMIT 1 OFFSET :kept)",
        {"name": name, "kept": KEPT},
    )
