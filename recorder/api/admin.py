"""Routes for the operator: jobs that have run, a snapshot now, pruning now."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from recorder.api.context import recorder_of
from recorder.api.params import JOBS, check_names, parse_limit, parse_time
from recorder.api.problems import json_response
from recorder.api.publish import read_body
from recorder.errors import InvalidJson, InvalidQuery
from recorder.store.sqlite.runs import JobRun

PRUNE_BYTES = 10_000
"""The longest body of a prune request."""


async def jobs(request: Request) -> Response:
    """`GET /api/jobs`: the last runs, latest first."""
    given = check_names(request.query_params, JOBS)
    limit = parse_limit(given.get("limit"))
    name = given["name"][0] if "name" in given else None
    runs = await recorder_of(request).recording.runs.latest(limit, name)
    return json_response({"jobs": [_run_fields(run) for run in runs]})


async def snapshot(request: Request) -> Response:
    """`POST /api/admin/snapshot`."""
    check_names(request.query_params, ())
    recorder = recorder_of(request)
    result = await recorder.upkeep.snapshot(even_if_clean=True)
    assert result is not None
    return json_response(
        {
            "rows": result.rows,
            "durable": result.head,
            "fileSize": result.size,
            "lastSnapshotAt": recorder.recording.last_snapshot_at,
        }
    )


async def prune(request: Request) -> Response:
    """`POST /api/admin/prune`: by the settings, or `{"olderThan": time}`."""
    check_names(request.query_params, ())
    upkeep, store = recorder_of(request).upkeep, recorder_of(request).recording
    older_than = parse_prune(await read_body(request, PRUNE_BYTES))
    deleted = await upkeep.prune(older_than)
    return json_response({"deleted": deleted, "oldest": store.oldest, "olderThan": older_than})


def parse_prune(body: bytes) -> str | None:
    """The time in a prune's body, or None where it names none.

    Raises:
        InvalidJson: It is not JSON.
        InvalidQuery: It is anything but `{"olderThan": time}`, `{}` or empty.
    """
    if not body.strip():
        return None
    try:
        asked: Any = orjson.loads(body)
    except ValueError as error:
        raise InvalidJson(f"not JSON: {error}", hint='{"olderThan": time}') from None
    if not isinstance(asked, dict) or set(asked) - {"olderThan"}:
        raise InvalidQuery("an object with olderThan alone is taken", hint='{"olderThan": time}')
    older_than = asked.get("olderThan")
    if older_than is None:
        return None
    if not isinstance(older_than, str):
        raise InvalidQuery("olderThan: must be an RFC 3339 time", place="olderThan")
    return parse_time(older_than, "olderThan")


def _run_fields(run: JobRun) -> dict[str, object]:
    return {
        "id": run.id,
        "name": run.name,
        "startedAt": run.started_at,
        "durationMs": run.duration_ms,
        "outcome": run.outcome,
        "counts": run.counts,
        "error": run.error,
    }
