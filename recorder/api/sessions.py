"""Routes about one session through time: what changed between two points, and who changed one place in its state.

States as of a point come from the delta next before it, by the session's index. Blame walks back in slices, and ends a
request after so many deltas or bytes with `next` to go on from: neither ever reads a whole session at once. What has to
be parsed is parsed on a thread, so that a large state holds up nobody's deltas.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

import orjson
from starlette.requests import Request
from starlette.responses import Response

from recorder.api import params
from recorder.api.context import grant_of, recorder_of, recording_of
from recorder.api.deltas import following, point, session
from recorder.core.errors import InvalidQuery, NotFound, Pruned
from recorder.core.json_blame import Blame, Touch
from recorder.core.json_patch import Inexpressible, json_patch, merge_patch
from recorder.store.contract import Query, StateRow, Store
from recorder.wire.export import ExportRow, row_of_item

PATCH_TYPES = {"patch": "application/json-patch+json", "merge": "application/merge-patch+json"}
"""How a difference may be written, and what HTTP calls that."""

SLICE_ROWS = 200
LOOK_ROWS = 5_000
LOOK_BYTES = 16 << 20
"""How far one request walks back, in deltas and in bytes of them; it always gets on by one."""

Handler = Callable[[Request], Awaitable[Response]]


def about_session(name: str, handler: Handler) -> Handler:
    """Return the route `/api/sessions/{sessionId}/name`.

    A session's id may end in the same letters, as `a/diff` does. Then the slash in it is percent-encoded, and the route
    is that of the session.

    Args:
        name: The last step of its path.
        handler: Answers it.
    """

    async def route(request: Request) -> Response:
        if request.scope["raw_path"].endswith(f"/{name}".encode()):
            params.check_session_id(request.path_params["session_id"])
            grant_of(request).check_session(request.path_params["session_id"])
            return await handler(request)
        request.path_params["session_id"] += f"/{name}"
        return await session(request)

    return route


async def diff(request: Request) -> Response:
    """Answer `GET /api/sessions/{sessionId}/diff`: what makes its state at `from` into its state at `to`, as a patch."""
    session_id: str = request.path_params["session_id"]
    given = params.check_names(request.query_params, params.DIFF)
    form = params.one_of(given.get("as"), "as", tuple(PATCH_TYPES)) or "patch"
    store = await recording_of(request)
    to = given.get("to")
    after = await store.states.state(session_id, None if to is None else await point(store, to[0], "to"))
    start = given.get("from")
    if start is not None:
        before = await store.states.state(session_id, await point(store, start[0], "from"))
    else:
        # With nothing said: what the last delta until then changed.
        before = None if after is None else await store.states.state(session_id, after.seq - 1)
    if before is None and after is None:
        raise NotFound(f"session {session_id[:80]!r} is not known then")
    make = json_patch if form == "patch" else merge_patch
    try:
        text = await asyncio.to_thread(make, _document(before), _document(after))
    except Inexpressible as error:
        raise InvalidQuery(f"as: {error}", hint="as=patch can", place="as") from None
    return Response(text, media_type=PATCH_TYPES[form])


async def blame(request: Request) -> Response:
    """Answer `GET /api/sessions/{sessionId}/blame`: the deltas that touched the value at `path`, newest first."""
    session_id: str = request.path_params["session_id"]
    given = params.check_names(request.query_params, params.BLAME)
    path, steps = params.parse_path(given.get("path"))
    limit = params.parse_limit(given.get("limit"))
    before = given.get("before")
    start = None if before is None else params.parse_seq(before[0], "before")
    store = await recording_of(request)
    if not await store.states.known(session_id):
        raise NotFound(f"nothing of session {session_id[:80]!r} is recorded")
    walk = Blame[ExportRow](steps)
    touches, following_seq = await _walk_back(store, walk, session_id, start, limit)
    end = None
    if following_seq is None:
        end, first = await _end(store, walk, session_id)
        touches += first
    head = {"epoch": recorder_of(request).hub.epoch, "sessionId": session_id, "path": path}
    tail = {"next": following_seq, "end": end}
    body = (orjson.dumps(head)[:-1], b',"touches":[', b",".join(touches), b"],", orjson.dumps(tail)[1:])
    return Response(b"".join(body), media_type="application/json")


async def _walk_back(
    store: Store, walk: Blame[ExportRow], session_id: str, before: int | None, limit: int
) -> tuple[list[bytes], int | None]:
    """Return touches as JSON, at most `limit`, and the `before` to go on with; None at the end."""
    query = Query(sessions=frozenset({session_id}), before=before, descending=True)
    touches: list[bytes] = []
    rows = size = 0
    while True:
        piece = await store.read(query, SLICE_ROWS)
        found = await asyncio.to_thread(_touches, walk, piece.items, limit - len(touches))
        touches += [touch.text for touch in found]
        if len(touches) == limit and found:
            return touches, found[-1].row.seq
        if piece.done or walk.erased:
            return touches, None
        rows += len(piece.items)
        size += sum(map(len, piece.items)) + sum(map(len, touches))
        if rows > 1 and (rows >= LOOK_ROWS or size >= LOOK_BYTES) and walk.pending is not None:
            # The oldest one is judged by what lies before it: the next request begins with it.
            return touches, walk.pending + 1
        query = following(query, piece.last_seq)


def _touches(walk: Blame[ExportRow], items: Sequence[bytes], limit: int) -> list[Touch[ExportRow]]:
    return list(islice(walk.back(map(row_of_item, items)), limit))


async def _end(store: Store, walk: Blame[ExportRow], session_id: str) -> tuple[str, list[bytes]]:
    """Return where the walk ended (`begun`, `pruned`, `erased`), and the first delta's touch."""
    if walk.erased or walk.pending is None:
        return ("erased" if walk.erased else "begun"), []
    try:
        kept = await store.states.state(session_id, walk.pending - 1)
    except Pruned:
        # Retention has overtaken the walk: what the first one changed is unknown.
        return "pruned", []
    if kept is not None and _is_erased(kept):
        return "erased", []
    touch = walk.begun(None if kept is None else kept.state)
    return ("begun" if kept is None else "pruned"), [] if touch is None else [touch.text]


def _is_erased(row: StateRow) -> bool:
    return row.state is None and not row.deleted


def _document(row: StateRow | None) -> bytes:
    """Return a state as a document: `null` before the session began and after it was deleted."""
    if row is None or row.deleted:
        return b"null"
    if row.state is None:
        raise NotFound(f"the state that delta {row.seq} made was erased")
    return row.state.encode()
