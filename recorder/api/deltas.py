"""Routes that answer what was recorded: pages of deltas, sessions, and a session's state at any point.

Entries never move and are removed only from the oldest end, so a walk by cursor meets each entry that stays exactly
once, whatever is recorded or pruned meanwhile. Sessions do move, to the front; a walk through them meets each at
least once (`sessions`).
"""

from __future__ import annotations

from dataclasses import replace

import orjson
from starlette.requests import Request
from starlette.responses import Response

from recorder.api import params
from recorder.api.context import grant_of, narrowed, recorder_of, recording_of, shown
from recorder.api.params import SessionsCursor
from recorder.api.responses import json_response
from recorder.core.clock import Clock
from recorder.core.errors import NotFound
from recorder.store.contract import Query, SessionRow, Store

PAGE_BYTES = 32 << 20
"""A page ends before its limit where its entries take more than this: an answer must fit into memory."""


async def deltas(request: Request) -> Response:
    """Answer `GET /api/deltas`, and for one session `GET /api/deltas/{sessionId}`."""
    epoch = recorder_of(request).hub.epoch
    session_id: str | None = request.path_params.get("session_id")
    page = params.parse_page(request.query_params, epoch, session_id)
    query = narrowed(request, page.query)
    store = await recording_of(request)
    if session_id is not None and not await store.states.known(session_id):
        raise NotFound(f"nothing of session {session_id[:80]!r} is recorded")
    limits, clock = recorder_of(request).settings, recorder_of(request).clock
    items, through = await collect(store, query, page.limit, clock=clock, seconds=limits.query_timeout / 1000)
    cursor = None if through is None else page.cursor(through)
    head = orjson.dumps({"epoch": epoch})[:-1]
    body = b"".join(
        (head, b',"deltas":[', b",".join(shown(request, items)), b'],"next":', orjson.dumps(cursor), b"}")
    )
    return Response(body, media_type="application/json")


async def sessions(request: Request) -> Response:
    """Answer `GET /api/sessions`: in rounds, so that no session is missed because it moved to the front meanwhile.

    A round lists what lies below the head of its beginning; the next one lists what has moved above that since. The
    walk is over with a round that nothing moved in, or that one answer held.
    """
    epoch = recorder_of(request).hub.epoch
    given = params.check_names(request.query_params, params.SESSIONS)
    limit = params.parse_limit(given.get("limit"))
    text = given.get("cursor")
    here = SessionsCursor(epoch) if text is None else params.decode_cursor(text[0], SessionsCursor, epoch)
    store = await recording_of(request)
    head = store.recorded if here.below is None else here.head
    rows = await store.states.sessions(here.below, limit + 1, here.above, grant_of(request).sessions)
    following = None
    if len(rows) > limit:
        following = SessionsCursor(epoch, here.above, rows[limit - 1].seq, head)
    elif here.below is not None and store.recorded > head:
        following = SessionsCursor(epoch, above=head)
    return json_response(
        {
            "epoch": epoch,
            "sessions": [_session_fields(row) for row in rows[:limit]],
            "next": None if following is None else params.encode_cursor(following),
        }
    )


async def session(request: Request) -> Response:
    """Answer `GET /api/sessions/{sessionId}`: its state now, or `?at=` a seq or a time."""
    session_id: str = request.path_params["session_id"]
    given = params.check_names(request.query_params, params.SESSION)
    params.check_session_id(session_id)
    grant_of(request).check_session(session_id)
    at = given.get("at")
    store = await recording_of(request)
    row = await store.states.state(session_id, None if at is None else await point(store, at[0], "at"))
    if row is None:
        then = "" if at is None else f" at {at[0][:40]!r}"
        raise NotFound(f"session {session_id[:80]!r} is not known{then}")
    head = orjson.dumps({"sessionId": session_id, "seq": row.seq})[:-1]
    state = b"null" if row.state is None else row.state.encode()
    # Neither a state nor deleted: what it said was erased.
    erased = b',"erased":true' if row.state is None and not row.deleted else b""
    tail = b',"deleted":%b%b}' % (b"true" if row.deleted else b"false", erased)
    return Response(b"".join((head, b',"state":', state, tail)), media_type="application/json")


async def collect(
    store: Store,
    query: Query,
    limit: int,
    *,
    clock: Clock,
    seconds: float,
    max_bytes: int = PAGE_BYTES,
) -> tuple[list[bytes], int | None]:
    """Return the first matches of a query.

    Args:
        store: Where.
        query: Which.
        limit: How many at most.
        clock: For `seconds`.
        seconds: Fewer where it takes longer than about this to find them: at worst none, and where to look on.
        max_bytes: Fewer where they take more than about this.

    Returns:
        Item texts, and the seq behind which the rest lies; None where that was all.
    """
    items: list[bytes] = []
    size, deadline = 0, clock.monotonic() + seconds
    while True:
        piece = await store.read(query, limit + 1 - len(items))
        items += piece.items
        size += sum([len(item) for item in piece.items])
        if len(items) > limit:
            return items[:limit], _seq_of(items[limit - 1])
        if piece.done:
            return items, None
        if size > max_bytes or clock.monotonic() >= deadline:
            return items, piece.last_seq
        query = following(query, piece.last_seq)


def following(query: Query, through: int) -> Query:
    """Return the rest of a query behind a seq that everything has been read up to, in its direction."""
    return replace(query, before=through) if query.descending else replace(query, after=through)


async def point(store: Store, text: str, name: str) -> int:
    """Return the seq that a parameter of this name names, by itself or by a time. Raises InvalidQuery."""
    if text.isascii() and text.isdigit():
        return params.parse_seq(text, name)
    return await store.last_at(params.parse_time(text, name, hint="a seq does, too"))


def _session_fields(row: SessionRow) -> dict[str, object]:
    return {
        "sessionId": row.session_id,
        "seq": row.seq,
        "recordedAt": row.recorded_at,
        "count": row.count,
        "deleted": row.deleted,
    }


def _seq_of(item: bytes) -> int:
    """Return the seq of an item: it stands first."""
    return int(item[len(b'{"seq":') : item.index(b",")])
