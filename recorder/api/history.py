"""Routes that answer what was recorded: pages of deltas, sessions, states, and whole exports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from recorder.api import params
from recorder.api.problems import json_response
from recorder.app import Recorder
from recorder.errors import InvalidQuery, NotFound
from recorder.protocol import export
from recorder.protocol.subscribe import check_sessions
from recorder.store.base import Query
from recorder.store.sqlite.store import SqliteStore

EXPORT_ROWS = 1000


def recorder_of(request: Request) -> Recorder:
    """The recorder behind a request."""
    recorder = request.app.state.recorder
    assert isinstance(recorder, Recorder)
    return recorder


async def deltas(request: Request) -> Response:
    """`GET /api/deltas`, and for one session `GET /api/deltas/{sessionId}`."""
    recorder = recorder_of(request)
    session_id: str | None = request.path_params.get("session_id")
    page = params.parse_page(request.query_params, session_id)
    store = recorder.recording
    if session_id is not None and not await store.states.known(session_id):
        raise NotFound(f"nothing of session {session_id[:80]!r} is recorded")
    items, more = await _collect(store, page.query, page.limit)
    cursor = page.cursor(_seq_of(items[-1])) if more else None
    head = orjson.dumps({"epoch": recorder.hub.epoch})[:-1]
    body = b"".join((head, b',"deltas":[', b",".join(items), b'],"next":', orjson.dumps(cursor), b"}"))
    return Response(body, media_type="application/json")


async def sessions(request: Request) -> Response:
    """`GET /api/sessions`."""
    recorder = recorder_of(request)
    given = params.check_names(request.query_params, ("limit", "cursor"))
    limit = params.parse_limit(given.get("limit"))
    before = params.parse_seq(given["cursor"][0], "cursor") if "cursor" in given else None
    rows = await recorder.recording.states.sessions(before, limit + 1)
    listed = [
        {
            "sessionId": row.session_id,
            "seq": row.seq,
            "recordedAt": row.recorded_at,
            "count": row.count,
            "deleted": row.deleted,
        }
        for row in rows[:limit]
    ]
    cursor = str(rows[limit - 1].seq) if len(rows) > limit else None
    return json_response({"epoch": recorder.hub.epoch, "sessions": listed, "next": cursor})


async def session(request: Request) -> Response:
    """`GET /api/sessions/{sessionId}`: its state now, or `?at=` a seq or a time."""
    recorder, session_id = recorder_of(request), request.path_params["session_id"]
    given = params.check_names(request.query_params, ("at",))
    store = recorder.recording
    at = await _point(recorder, store, given["at"][0]) if "at" in given else None
    row = await store.states.state(next(iter(check_sessions([session_id]))), at)
    if row is None:
        then = "" if at is None else f" at seq {at}"
        raise NotFound(f"session {session_id[:80]!r} is not known{then}")
    head = orjson.dumps({"sessionId": session_id, "seq": row.seq})[:-1]
    state = b"null" if row.state is None else row.state.encode()
    tail = b',"deleted":true}' if row.deleted else b',"deleted":false}'
    return Response(b"".join((head, b',"state":', state, tail)), media_type="application/json")


async def export_all(request: Request) -> Response:
    """`GET /api/export`: every match, oldest first, streamed."""
    given = params.check_names(request.query_params, (*params.FILTERS, "format"))
    format_ = given.pop("format", ["ndjson"])[0]
    if format_ not in export.MEDIA_TYPES:
        raise InvalidQuery(f"format: {format_[:20]!r} is not one of {', '.join(export.MEDIA_TYPES)}", place="format")
    query = params.parse_filters(given)
    store = recorder_of(request).recording
    writer = {"ndjson": _as_ndjson, "json": _as_json, "csv": _as_csv}[format_]
    # The end is fixed now, so that an export ends although deltas keep coming.
    end = store.recorded + 1
    bounded = replace(query, before=end if query.before is None else min(end, query.before))
    name = f'attachment; filename="deltas.{format_}"'
    return StreamingResponse(
        writer(store, bounded), media_type=export.MEDIA_TYPES[format_], headers={"Content-Disposition": name}
    )


async def _point(recorder: Recorder, store: SqliteStore, text: str) -> int:
    """The seq that `at` names."""
    if text.isascii() and text.isdigit():
        seq = min(params.parse_seq(text, "at"), recorder.hub.head)
        # A live subscriber may ask about a delta that is recorded a moment later.
        await recorder.intake.until_recorded(seq)
        return seq
    # Before the first that is kept: as of what was pruned, which the store answers or refuses.
    return await store.last_at(params.parse_time(text, "at")) or store.oldest - 2


async def _collect(store: SqliteStore, query: Query, limit: int) -> tuple[list[bytes], bool]:
    """The first `limit` matches, and whether there are more."""
    items: list[bytes] = []
    while len(items) <= limit:
        piece = await store.read(query, limit + 1 - len(items))
        items += piece.items
        if piece.done:
            break
        query = _on(query, piece.through)
    return items[:limit], len(items) > limit


async def _pieces(store: SqliteStore, query: Query) -> AsyncIterator[list[bytes]]:
    while True:
        piece = await store.read(query, EXPORT_ROWS)
        if piece.items:
            yield list(piece.items)
        if piece.done:
            return
        query = _on(query, piece.through)


def _on(query: Query, through: int) -> Query:
    return replace(query, before=through) if query.descending else replace(query, after=through)


def _seq_of(item: bytes) -> int:
    """The seq of an item: it stands first."""
    return int(item[len(b'{"seq":') : item.index(b",")])


async def _as_ndjson(store: SqliteStore, query: Query) -> AsyncIterator[bytes]:
    async for items in _pieces(store, query):
        text = b"\n".join(items) + b"\n"
        # Only a state with line breaks inside needs the slower way.
        if text.count(b"\n") == len(items) and b"\r" not in text:
            yield text
        else:
            yield _joined(items, export.ndjson_of_item)


async def _as_csv(store: SqliteStore, query: Query) -> AsyncIterator[bytes]:
    yield export.CSV_HEADER
    async for items in _pieces(store, query):
        yield _joined(items, export.csv_of_item)


async def _as_json(store: SqliteStore, query: Query) -> AsyncIterator[bytes]:
    before = export.JSON_OPEN
    async for items in _pieces(store, query):
        yield before + export.JSON_BETWEEN.join(items)
        before = export.JSON_BETWEEN
    yield export.JSON_EMPTY if before == export.JSON_OPEN else export.JSON_CLOSE


def _joined(items: list[bytes], encode: Callable[[bytes], bytes]) -> bytes:
    return b"".join([encode(item) for item in items])
