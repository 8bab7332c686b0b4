"""`GET /api/export`: every match, oldest first, streamed slice by slice at the reader's pace.

What was recorded when it began is in it, whole: its end is fixed then, so it ends although deltas keep coming. Where
retention removes what it has not read yet, it is aborted, so that no gap goes unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from recorder.api import params
from recorder.api.context import narrowed, recorder_of, recording_of, shown
from recorder.api.deltas import following
from recorder.api.responses import head_response
from recorder.core.errors import Pruned
from recorder.store.contract import Query, Store
from recorder.wire import export

Pieces = AsyncIterator[list[bytes]]

EXPORT_ROWS = 1000
MAX_NAME = 80
"""The most characters that a file's name has of its session's id."""

_UNFIT = re.compile(r"[^\w.-]+")
_UNFIT_IN_ASCII = re.compile(r"[^A-Za-z0-9_.-]+")


async def export_all(request: Request) -> Response:
    """Answer `GET /api/export`: every match, in one of three formats."""
    given = params.check_names(request.query_params, params.EXPORT)
    format_ = params.parse_format(given.pop("format", None), export.MEDIA_TYPES)
    query = narrowed(request, params.parse_filters(given))
    store = await recording_of(request)
    end = store.recorded + 1
    bounded = replace(query, before=end if query.before is None else min(end, query.before))
    headers = {"Content-Disposition": attachment(given.get("session"), format_)}
    media_type = export.MEDIA_TYPES[format_]
    if request.method == "HEAD":
        return head_response(headers, media_type)
    escapes = recorder_of(request).settings.csv_escape_formulas
    writers: dict[str, Callable[[Pieces], AsyncIterator[bytes]]] = {
        "ndjson": _as_ndjson,
        "json": _as_json,
        "csv": partial(_as_csv, escape_formulas=escapes),
    }
    return StreamingResponse(
        writers[format_](_shown(request, pieces(store, bounded))), headers=headers, media_type=media_type
    )


def attachment(sessions: list[str] | None, extension: str) -> str:
    """Return the `Content-Disposition` of an export: called after its session, where that is one.

    Where the id has letters beyond ASCII, `filename*` has them (RFC 6266), and `filename` is for clients that do not
    read it.

    Args:
        sessions: Ids that were asked for.
        extension: Of the file.
    """
    only = sessions[0] if sessions is not None and len(sessions) == 1 else "deltas"
    plain = _file_name(_UNFIT_IN_ASCII, only)
    header = f'attachment; filename="{plain}.{extension}"'
    full = _file_name(_UNFIT, only)
    # A lone surrogate has no bytes, and names no session.
    encoded = quote(f"{full}.{extension}", safe="", errors="replace")
    return header if full == plain else f"{header}; filename*=UTF-8''{encoded}"


def _file_name(unfit: re.Pattern[str], session_id: str) -> str:
    """Return an id in letters that every disk takes, none of which hides the file."""
    return unfit.sub("_", session_id)[:MAX_NAME].lstrip(".") or "deltas"


async def pieces(store: Store, query: Query) -> AsyncIterator[list[bytes]]:
    """Yield all matches of an ascending query, in pieces of up to 1000 item texts.

    Raises:
        Pruned: Retention has overtaken the reader, and a match may be missing.
    """
    begun = False
    while True:
        piece = await store.read(query, EXPORT_ROWS)
        # Checked after the read: only entries removed before it can be missing.
        if begun and store.oldest > query.after + 1:
            raise Pruned(
                f"what follows seq {query.after} was pruned while it was read", hint="begin the export again"
            )
        begun = True
        if piece.items:
            yield list(piece.items)
        if piece.done:
            return
        query = following(query, piece.last_seq)


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


async def _as_csv(found: Pieces, *, escape_formulas: bool) -> AsyncIterator[bytes]:
    yield export.CSV_HEADER
    encode = partial(export.csv_of_item, escape_formulas=escape_formulas)
    async for items in found:
        yield _joined(items, encode)


async def _as_json(found: Pieces) -> AsyncIterator[bytes]:
    before = export.JSON_OPEN
    async for items in found:
        yield before + export.JSON_BETWEEN.join(items)
        before = export.JSON_BETWEEN
    yield export.JSON_EMPTY if before == export.JSON_OPEN else export.JSON_CLOSE


def _joined(items: list[bytes], encode: Callable[[bytes], bytes]) -> bytes:
    return b"".join([encode(item) for item in items])
