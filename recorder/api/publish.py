"""`POST /api/deltas`: deltas over HTTP, through the same intake as those of WebSockets."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from recorder.api.context import grant_of, recorder_of
from recorder.api.gate import JSON, NDJSON
from recorder.api.params import check_names
from recorder.api.problems import json_response
from recorder.errors import MessageTooLarge, RecorderError, UnsupportedMediaType
from recorder.hub.admission import network_of
from recorder.hub.pace import Pace


async def publish(request: Request) -> Response:
    """Take one delta, an array or lines of them, all or none; 201 once they are recorded."""
    check_names(request.query_params, ())
    recorder = recorder_of(request)
    intake = recorder.intake
    are_lines = _are_lines(request.headers)
    pace = recorder.door.paces.shared(network_of(request.state.caller.address))
    # Held back before the body is read too: what has to wait waits at the publisher's, not in our memory.
    await intake.room()
    await _keep(pace)
    body = await read_body(request, intake.max_message_bytes)
    await intake.room()
    accept = intake.accept_lines if are_lines else intake.accept
    try:
        accepted = accept(body, None if pace is None else pace.take, grant_of(request).sessions)
    except RecorderError:
        if pace is not None:
            pace.charge()
        raise
    await intake.until_recorded(accepted.through)
    return json_response(accepted.fields(intake.durable), 201)


async def _keep(pace: Pace | None) -> None:
    """Have a publisher wait that is ahead of its pace."""
    if pace is not None and (delay := pace.delay()):
        await asyncio.sleep(delay)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """A request's body.

    Raises:
        MessageTooLarge: It is longer than `max_bytes`; no more than that was held.
        UnsupportedMediaType: It is compressed.
    """
    coding = request.headers.get("content-encoding", "identity")
    if coding.strip().lower() != "identity":
        raise UnsupportedMediaType(f"Content-Encoding {coding[:80]!r} is not taken", hint="send it as it is")
    said = request.headers.get("content-length", "")
    parts: list[bytes] = []
    size = int(said) if said.isascii() and said.isdigit() else 0
    if size <= max_bytes:
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > max_bytes:
                break
            parts.append(part)
    if size > max_bytes:
        raise MessageTooLarge(
            f"the body is longer than {max_bytes} bytes",
            hint="send it in pieces; MAX_MESSAGE_BYTES sets the limit",
        )
    return b"".join(parts)


def _are_lines(headers: Headers) -> bool:
    """Whether a body is NDJSON, by its Content-Type; the gate has let no other through than this and JSON."""
    return headers.get("content-type", JSON).partition(";")[0].strip().lower() in NDJSON
