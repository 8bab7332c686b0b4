"""`POST /api/deltas`: deltas over HTTP, through the same ingest as those of WebSockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from recorder.api.context import gateway_of, grant_of, recorder_of
from recorder.api.middleware import JSON, NDJSON
from recorder.api.params import check_names
from recorder.api.responses import json_response
from recorder.core.errors import MessageTooLarge, RecorderError, TooMany, UnsupportedMediaType
from recorder.engine.rate_limit import Pace
from recorder.net.connection_limits import network_of
from recorder.net.partial_messages import PartialMessages


async def publish(request: Request) -> Response:
    """Take one delta, an array or lines of them, all or none; 201 once they are recorded."""
    check_names(request.query_params, ())
    ingest, upgrades = recorder_of(request).ingest, gateway_of(request).upgrades
    are_lines = _are_lines(request.headers)
    pace = upgrades.paces.shared(network_of(request.state.caller.address))
    # Also wait before reading the body: delayed data stays at the publisher, not in our memory.
    await ingest.until_capacity()
    await _keep(pace)
    # It also counts as incomplete while it waits for capacity.
    with Body(upgrades.partial_messages) as body:
        await body.read(request, ingest.max_message_bytes)
        await ingest.until_capacity()
        # In a thread where it is long: it stays counted until it has its place.
        prepared = await ingest.prepare(body.take(), grant_of(request).sessions, lines=are_lines)
        try:
            accepted = await ingest.take(prepared, None if pace is None else pace.take)
        except RecorderError:
            if pace is not None:
                pace.charge()
            raise
    await ingest.until_recorded(accepted.highest_seq)
    return json_response(accepted.fields(ingest.durable), 201)


async def _keep(pace: Pace | None) -> None:
    """Delay a publisher that exceeds its rate limit."""
    if pace is not None and (delay := pace.delay()):
        await asyncio.sleep(delay)


class Body:
    """The body of a request while it comes, counted as a partial message until the block is left.

    Args:
        partial_messages: Bounds what all of them hold.
    """

    def __init__(self, partial_messages: PartialMessages) -> None:
        self._partial_messages = partial_messages
        self._parts: list[bytes] = []  # what has come
        self._refusal: TooMany | None = None  # why it was given up

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._partial_messages.hold(self, 0)

    async def read(self, request: Request, max_bytes: int) -> None:
        """Read the whole body. Raises as `read_body`, and TooMany if it was dropped to free memory."""
        self._parts[:] = [await read_body(request, max_bytes, self._parts, self._note)]

    def take(self) -> bytes:
        """Return what has come. Raises TooMany where it had to give way while it waited."""
        self._check()
        return self._parts.pop()

    def give_up(self, error: TooMany) -> None:
        """Drop the received part to free memory; the sender gets the error with its next piece."""
        self._refusal = error
        self._parts.clear()

    def _note(self, size: int) -> None:
        self._check()
        self._partial_messages.hold(self, size)
        self._check()

    def _check(self) -> None:
        if self._refusal is not None:
            raise self._refusal


async def read_body(
    request: Request,
    max_bytes: int,
    parts: list[bytes] | None = None,
    note: Callable[[int], None] = lambda size: None,
) -> bytes:
    """Return a request's body.

    Args:
        request: Whose.
        max_bytes: How long it may be.
        parts: Where what has come is kept meanwhile.
        note: Gets the size of that before each piece is put there.

    Raises:
        MessageTooLarge: It is longer than `max_bytes`; no more than that was held.
        UnsupportedMediaType: It is compressed.
    """
    coding = request.headers.get("content-encoding", "identity")
    if coding.strip().lower() != "identity":
        raise UnsupportedMediaType(
            f"Content-Encoding {coding[:80]!r} is not supported", hint="send it as it is"
        )
    said = request.headers.get("content-length", "")
    parts = [] if parts is None else parts
    size = int(said) if said.isascii() and said.isdigit() else 0
    if size <= max_bytes:
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > max_bytes:
                break
            note(size)
            parts.append(part)
    if size > max_bytes:
        raise MessageTooLarge(
            f"the body is longer than {max_bytes} bytes",
            hint="send it in pieces; MAX_MESSAGE_BYTES sets the limit",
        )
    return b"".join(parts)


def _are_lines(headers: Headers) -> bool:
    """Return whether a body is NDJSON, by its Content-Type; the middleware lets through nothing but this and JSON."""
    return headers.get("content-type", JSON).partition(";")[0].strip().lower() in NDJSON
