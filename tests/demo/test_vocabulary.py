"""The demonstration's data: every brace in it can be filled in."""

from __future__ import annotations

from random import Random
from string import Formatter

from recorder.demo.sessions import _words
from recorder.demo.vocabulary import JOBS, VALUES, Job


def texts(job: Job) -> list[str]:
    """Everything of a job in which braces may stand."""
    found = [job.task, job.result]
    for _, calls in job.steps:
        for call in calls:
            found += [*call.input.values(), call.output, call.error, call.approval]
    return found


def test_every_brace_has_a_word() -> None:
    known = _words(Random(1)).keys()
    wanted = {
        name for job in JOBS for text in texts(job) for _, name, _, _ in Formatter().parse(text) if name
    }
    assert wanted - known == set()
    assert VALUES.keys() - wanted == set()


def test_there_are_jobs_with_and_without_an_approval() -> None:
    asking = [any(call.approval for _, calls in job.steps for call in calls) for job in JOBS]
    assert {True, False} >= set(asking)
    assert any(asking)
    assert all(calls for job in JOBS for _, calls in job.steps)
