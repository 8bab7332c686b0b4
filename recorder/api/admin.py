"""Routes for the operator: jobs that have run, a snapshot now, pruning now, erasing a session's content."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from recorder.api.context import recorder_of
from recorder.api.params import JOBS, MAX_REASON, check_names, check_session_id, parse_limit, parse_time
from recorder.api.publish import read_body
from recorder.api.responses import json_response
from recorder.core.errors import InvalidJson, InvalidQuery
from recorder.jobs.erasure import REMAINS
from recorder.store.contract import JobRun
from recorder.wire.statements import signed_members

PRUNE_BYTES = ERASE_BYTES = 10_000
"""The longest body of such a request."""


async def jobs(request: Request) -> Response:
    """Answer `GET /api/jobs`: the last runs, latest first."""
    given = check_names(request.query_params, JOBS)
    limit = parse_limit(given.get("limit"))
    name = given["name"][0] if "name" in given else None
    runs = await recorder_of(request).recording.runs.latest(limit, name)
    return json_response({"jobs": [_run_fields(run) for run in runs]})


async def snapshot(request: Request) -> Response:
    """Answer `POST /api/admin/snapshot`."""
    check_names(request.query_params, ())
    recorder = recorder_of(request)
    result = await recorder.maintenance.snapshot(even_if_clean=True)
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
    """Answer `POST /api/admin/prune`: by the settings, or `{"olderThan": time}`.

    `"trustClock": true` believes the clock.
    """
    check_names(request.query_params, ())
    maintenance, store = recorder_of(request).maintenance, recorder_of(request).recording
    older_than, trust_clock = parse_prune(await read_body(request, PRUNE_BYTES))
    deleted = await maintenance.prune_asked(older_than, trust_clock=trust_clock)
    return json_response({"deleted": deleted, "oldest": store.oldest, "olderThan": older_than})


async def erase(request: Request) -> Response:
    """Answer `POST /api/admin/erase`: `{"sessionId": …, "reason": …}`."""
    check_names(request.query_params, ())
    eraser = recorder_of(request).eraser
    session_id, reason = parse_erase(await read_body(request, ERASE_BYTES))
    done = await eraser.erase(session_id, reason)
    return json_response(
        {
            "sessionId": session_id,
            "count": 0 if done.receipt is None else done.receipt.payload.count,
            "receipt": None if done.receipt is None else signed_members(done.receipt),
            "copies": done.copies,
            "remains": REMAINS,
        }
    )


def parse_erase(body: bytes) -> tuple[str, str]:
    """Return the session and the reason in an erasure's body.

    Raises:
        InvalidJson: It is not JSON.
        InvalidQuery: It is anything but `{"sessionId": …}`, with a `reason` perhaps.
    """
    hint = '{"sessionId": …, "reason": …}'
    try:
        asked: Any = orjson.loads(body)
    except ValueError as error:
        raise InvalidJson(f"not JSON: {error}", hint=hint) from None
    if not isinstance(asked, dict) or set(asked) - {"sessionId", "reason"}:
        raise InvalidQuery("the body must be an object with sessionId and, optionally, reason", hint=hint)
    session_id, reason = asked.get("sessionId"), asked.get("reason")
    if not isinstance(session_id, str):
        raise InvalidQuery("sessionId: required, a string", hint=hint, place="sessionId")
    check_session_id(session_id)
    if reason is not None and not (isinstance(reason, str) and len(reason) <= MAX_REASON):
        raise InvalidQuery(f"reason: must be a string of at most {MAX_REASON} characters", place="reason")
    return session_id, reason or ""


def parse_prune(body: bytes) -> tuple[str | None, bool]:
    """Return the time in a prune's body, None where it names none, and whether the clock is to be believed.

    Raises:
        InvalidJson: It is not JSON.
        InvalidQuery: It is anything but an object with `olderThan` and `trustClock`, or empty.
    """
    if not body.strip():
        return None, False
    hint = '{"olderThan": time, "trustClock": true}'
    try:
        asked: Any = orjson.loads(body)
    except ValueError as error:
        raise InvalidJson(f"not JSON: {error}", hint=hint) from None
    if not isinstance(asked, dict) or set(asked) - {"olderThan", "trustClock"}:
        raise InvalidQuery("the body must be an object with olderThan and trustClock only", hint=hint)
    older_than, trust_clock = asked.get("olderThan"), asked.get("trustClock", False)
    if not isinstance(trust_clock, bool):
        raise InvalidQuery("trustClock: must be true or false", place="trustClock")
    if older_than is None:
        return None, trust_clock
    if not isinstance(older_than, str):
        raise InvalidQuery("olderThan: must be an RFC 3339 time", place="olderThan")
    return parse_time(older_than, "olderThan"), trust_clock


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
