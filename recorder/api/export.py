"""`GET /api/export`: every match, oldest first, streamed slice by slice at the reader's pace.

What was recorded when it began is in it, whole: its end is fixed then, so it ends although deltas keep coming. Where
retention removes what it has not read yet, it breaks off instead of leaving a hole that nobody would notice.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from recorder.api import params
from recorder.api.context import narrowed, recording_of, shown
from recorder.api.deltas import following
from recorder.api.responses import head_response
from recorder.core.errors import Pruned
from recorder.store.contract import Query
from recorder.store.sqlite.store import SqliteStore
from recorder.wire import export

EXPORT_ROWS = 1000
MAX_NAME = 80
"""The most characters that a file's name has of its session's id."""

_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")


async def export_all(request: Request) -> Response:
    """Every match, in one of three formats."""
    given = params.check_names(request.query_params, params.EXPORT)
    format_ = params.parse_format(given.pop("format", None), export.MEDIA_TYPES)
    query = narrowed(request, params.parse_filters(given))
    store = await recording_of(request)
    end = store.recorded + 1
    bounded = replace(query, before=end if query.before is None else min(end, query.before))
    headers = {"Content-Disposition": f'attachment; filename="{_name(given.get("session"))}.{format_}"'}
    media_type = export.MEDIA_TYPES[format_]
    if request.method == "HEAD":
        return head_response(headers, media_type)
    writer = {"ndjson": _as_ndjson, "json": _as_json, "csv": _as_csv}[format_]
    return StreamingResponse(
        writer(_shown(request, pieces(store, bounded))), headers=headers, media_type=media_type
    )


def _name(sessions: list[str] | None) -> str:
    """What a file of it is called: by its session, where that is one, in letters that every disk takes."""
    if sessions is None or len(sessions) != 1:
        return "deltas"
    return _UNFIT.sub("_", sessions[0])[:MAX_NAME].lstrip(".") or "deltas"


async def pieces(store: SqliteStore, query: Query) -> AsyncIterator[list[bytes]]:
    """All matches of an ascending query, in pieces of up to 1000 item texts.

    Raises:
        Pruned: Retention has overtaken the reader, and a match may be missing.
    """
    begun = False
    while True:
        piece = await store.read(query, EXPORT_ROWS)
        # Looked at after the read: only what was gone before it can be missing from it.
        if begun and store.oldest > query.after + 1:
            raise Pruned(
                f"what follows seq {query.after} was pruned while it was read", hint="begin the export again"
            )
        begun = True
        if piece.items:
            yield list(piece.items)
        if piece.done:
            return
        query = following(query, piece.through)


Pieces = AsyncIterator[list[bytes]]


async def _shown(request: Request, found: Pieces) -> Pieces:
    async for items in found:
        yield shown(request, items)


async def _as_ndjson(found: Pieces) -> AsyncIterator[bytes]:
    async for items in found:
        text = b"\n".join(items) + b"\n"
        # Only a state with line breaks inside needs the slower way.
        if text.count(b"\n") == len(items) and b"\r" not in text:
            yield text
        else:
            yield _joined(items, export.ndjson_of_item)


async def _as_csv(found: Pieces) -> AsyncIterator[bytes]:
    yield export.CSV_HEADER
    async for items in found:
        yield _joined(items, export.csv_of_item)


async def _as_json(found: Pieces) -> AsyncIterator[bytes]:
    before = export.JSON_OPEN
    async for items in found:
        yield before + export.JSON_BETWEEN.join(items)
        before = export.JSON_BETWEEN
    yield export.JSON_EMPTY if before == export.JSON_OPEN else export.JSON_CLOSE


def _joined(items: list[bytes], encode: Callable[[bytes], bytes]) -> bytes:
    return b"".join([encode(item) for item in items])
