"""The description of the HTTP interface (OpenAPI 3.1), served at `/api/openapi.json`.

Made from what the code itself goes by: parameter names and bounds from `params`, statuses and codes from the tree in
`recorder.core.errors`, shapes from `schemas`. Left out: `/ws` and `/publish`, which OpenAPI has no words for.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache

from recorder import __version__
from recorder.api import docs, params
from recorder.api.context import RULES
from recorder.api.middleware import JSON, NDJSON
from recorder.api.openapi_parameters import parameters
from recorder.api.schemas import Json, components, ref
from recorder.api.sessions import PATCH_TYPES
from recorder.api.stream import MEDIA_TYPE as STREAM_TYPE
from recorder.core.errors import (
    BadSubscription,
    ClockDoubtful,
    Closed,
    Conflict,
    DeltaTooLarge,
    InternalError,
    InvalidCursor,
    InvalidDelta,
    InvalidJson,
    InvalidQuery,
    InvalidRequest,
    MessageTooLarge,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    NotReady,
    NotRecording,
    Pruned,
    RecorderError,
    StoreError,
    TooManyDeltas,
    Unavailable,
    UnsupportedMediaType,
    UpgradeRequired,
)
from recorder.core.metrics import CONTENT_TYPE
from recorder.wire.export import MEDIA_TYPES
from recorder.wire.problems import MEDIA_TYPE as PROBLEM_TYPE

ABOUT = """The HTTP side of a flight recorder for agent sessions.

Live deltas come over WebSockets at `/ws` and are published at `/publish`, which OpenAPI cannot describe; everything
else is here. States are passed on byte for byte as they were published.

* Every route that answers GET answers HEAD.
* A parameter that a route does not take, or one given twice that may be given once, is an error.
* Errors are `application/problem+json` with a `code`. After a 503 with `Retry-After` the same request may go through.
* An answer holds everything that was broadcast before its request came.
* A request whose `Host` or `Origin` is neither the recorder's own nor allowed by its settings gets 403.
"""


EVERYWHERE: tuple[type[RecorderError], ...] = (InvalidRequest, NotAllowed, InternalError)
LOADED = (Unavailable,)
RECORDED = (*LOADED, NotRecording)


@cache
def description() -> Json:
    """Return the whole document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Recorder", "version": __version__, "description": ABOUT},
        # From where this document is: a proxy may serve the recorder under a path of its own.
        "servers": [{"url": ".."}],
        "paths": secured(paths()),
        "components": {
            "schemas": components(),
            "parameters": parameters(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": TOKENS}},
        },
    }


TOKENS = """Needed where the recorder has tokens. `x-role` names the role; `admin` has all. A token that is for some
sessions sees and writes these alone, and gets 403 from what tells of all of them."""


def secured(described: dict[str, Json]) -> dict[str, Json]:
    """Add the role that each operation requires, from the table of rules, and return the operations."""
    for (method, route), rule in RULES.items():
        operation = described[shown_path(route)][method.lower()]
        operation["security"] = [{"token": []}] if rule.role else []
        if rule.role:
            operation["responses"] |= failures(NotAuthenticated, only=True)
            operation["x-role"] = rule.role
    return described


def shown_path(route: str) -> str:
    """Return a route's path in the form used in the documentation."""
    return route.replace(":path}", "}").replace("session_id", "sessionId")


def paths() -> dict[str, Json]:
    """Return the operations by path."""
    return {
        "/": {"get": page()},
        "/assets/{file}": {"get": asset()},
        "/client.js": {"get": client()},
        "/client/{part}": {"get": client_part()},
        "/docs": {"get": docs_redirect()},
        "/docs/": {"get": docs_index()},
        "/docs/{name}": {"get": docs_page()},
        "/ws": {"get": websocket("subscribe", "Subscribe by WebSocket.")},
        "/publish": {"get": websocket("publish", "Publish by WebSocket.")},
        "/api/deltas": {"get": read_deltas(), "post": publish_deltas()},
        "/api/deltas/{sessionId}": {"get": read_session_deltas()},
        "/api/sessions": {"get": list_sessions()},
        "/api/sessions/{sessionId}": {"get": read_state()},
        "/api/sessions/{sessionId}/diff": {"get": read_diff()},
        "/api/sessions/{sessionId}/blame": {"get": read_blame()},
        "/api/export": {"get": export()},
        "/api/stream": {"get": stream()},
        "/api/stats": {"get": stats()},
        "/api/head": {"get": head()},
        "/api/receipts": {"get": receipts()},
        "/api/jobs": {"get": jobs()},
        "/api/admin/snapshot": {"post": snapshot()},
        "/api/admin/prune": {"post": prune()},
        "/api/admin/erase": {"post": erase()},
        "/api/openapi.json": {"get": openapi()},
        "/healthz": {"get": healthz()},
        "/readyz": {"get": readyz()},
        "/metrics": {"get": metrics()},
    }


# Operations


def read_deltas() -> Json:
    """GET /api/deltas."""
    return operation(
        "readDeltas",
        "Entries, newest first unless asked otherwise.",
        "Filters are combined with `and`, values of a repeated one with `or`. `next` of an answer goes back as"
        " `cursor`; the rest of the question need not be repeated, and may not be changed but for `limit`. A walk"
        " meets each entry once, whatever is recorded meanwhile; what retention removes meanwhile is passed over. A"
        " page may hold fewer than `limit` entries where they are large: only `next` tells whether there are more.",
        answers(ref("DeltaPage"), InvalidQuery, InvalidCursor, *RECORDED),
        params.DELTAS,
    )


def read_session_deltas() -> Json:
    """GET /api/deltas/{sessionId}."""
    return operation(
        "readSessionDeltas",
        "Entries of one session.",
        "As `/api/deltas`. 404 where nothing of the session is recorded. A session whose deltas were pruned while it"
        " lives is still known by its last state, so its page is empty; one that was deleted is forgotten then.",
        answers(ref("DeltaPage"), InvalidQuery, InvalidCursor, NotFound, *RECORDED),
        params.SESSION_DELTAS,
        path=("sessionId",),
    )


def list_sessions() -> Json:
    """GET /api/sessions."""
    return operation(
        "listSessions",
        "Sessions, the one that moved last first.",
        "A walk by `next` lists every session at least once. One that moves to the front meanwhile is listed again"
        " with its new figures, at the end.",
        answers(ref("SessionPage"), InvalidQuery, InvalidCursor, *RECORDED),
        params.SESSIONS,
    )


def read_state() -> Json:
    """GET /api/sessions/{sessionId}."""
    return operation(
        "readState",
        "A session's state, now or at any point.",
        "404 `not_found` where the session is unknown or had not begun then; 404 `pruned` where that is so long ago"
        " that retention has removed it. A deleted session has the state null, until its deltas are pruned.",
        answers(ref("SessionState"), InvalidQuery, NotFound, Pruned, *RECORDED),
        params.SESSION,
        path=("sessionId",),
    )


def read_diff() -> Json:
    """GET /api/sessions/{sessionId}/diff."""
    types: dict[str, Json] = {
        PATCH_TYPES["patch"]: {"schema": ref("JsonPatch")},
        PATCH_TYPES["merge"]: {"schema": {"description": "A merge patch (RFC 7396)."}},
    }
    return operation(
        "readDiff",
        "What makes a session's state at one point into its state at another.",
        "A JSON Patch (RFC 6902), or a merge patch (RFC 7396). Without `from`: what the last delta until `to` changed."
        " A session that had not begun, or was deleted, has the state null. Numbers keep the digits that were published"
        " and are the same where they are spelled the same. A merge patch cannot set a member to null: where that would"
        " be needed it is refused.",
        {"200": success(types), **failures(InvalidQuery, NotFound, Pruned, *RECORDED)},
        params.DIFF,
        path=("sessionId",),
    )


def read_blame() -> Json:
    """GET /api/sessions/{sessionId}/blame."""
    return operation(
        "readBlame",
        "The deltas of a session that touched one place in its state, newest first.",
        "A delta touched it where the value there is not the one that the delta before left. A request walks back a"
        " bounded way: `next` goes back as `before`, whether or not there were touches, until it is null; then `end`"
        " says why: `begun` (the session's first delta), `pruned` (what lies before was removed), `erased` (its content"
        " was).",
        answers(ref("Blame"), InvalidQuery, NotFound, *RECORDED),
        params.BLAME,
        path=("sessionId",),
    )


def export() -> Json:
    """GET /api/export."""
    types: dict[str, Json] = {
        media_type: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES.values()
    }
    types[MEDIA_TYPES["json"]] = {"schema": {"type": "array", "items": ref("Entry")}}
    responses = {"200": success(types), **failures(InvalidQuery, *RECORDED)}
    responses["200"]["headers"] = {"Content-Disposition": {"schema": {"type": "string"}}}
    return operation(
        "export",
        "Every match, oldest first, whole.",
        "Streamed at the reader's pace; what is recorded after it began is not in it. It is aborted, without the"
        " end that HTTP asks for, where retention removes what it has not read yet. A line of NDJSON is an `Entry`;"
        " where a state has line breaks between its tokens these became spaces, and `exact` beside `delta` holds the"
        " state's true text. CSV is that of RFC 4180, with a header;"
        " ids that begin like a formula have a `'` in front unless CSV_ESCAPE_FORMULAS is off.",
        responses,
        params.EXPORT,
    )


def stream() -> Json:
    """GET /api/stream."""
    content: Json = {f"{STREAM_TYPE}; charset=utf-8": {"schema": {"type": "string"}}}
    return operation(
        "stream",
        "Events as they come, as Server-Sent Events.",
        "What the WebSocket `/ws` sends, with its parameters and promises: `hello`, history if asked for, `live`, then"
        " deltas as they happen, `reset` where a position cannot be honoured, `heartbeat`. The `data` of a message is"
        " the JSON of an event, its `id` the position behind it. Where a state has line breaks between its tokens these"
        " became spaces, and `exact` holds the state's true text. A reader too slow gets an `error` and the end.",
        {"200": success(content), **failures(InvalidQuery, BadSubscription, Closed, *LOADED)},
        ("session", "type", "start", "slow", "lastEventIdQuery", "lastEventId"),
    )


def publish_deltas() -> Json:
    """POST /api/deltas."""
    one_or_many = {"anyOf": [ref("NewDelta"), {"type": "array", "items": ref("NewDelta"), "minItems": 1}]}
    content: Json = {JSON: {"schema": one_or_many}}
    content |= {kind: {"schema": {"type": "string"}} for kind in NDJSON}
    refused = (
        InvalidQuery,
        InvalidJson,
        UnsupportedMediaType,
        Conflict,
        DeltaTooLarge,
        MessageTooLarge,
        TooManyDeltas,
        InvalidDelta,
    )
    described = operation(
        "publishDeltas",
        "Record and broadcast deltas, all or none.",
        "One delta, an array, or NDJSON; UTF-8, at most MAX_MESSAGE_BYTES. Answered when they are recorded. While"
        " recording falls behind the request waits: nothing is dropped.",
        answers(ref("Ack"), *refused, *LOADED, Closed, status="201"),
    )
    return {**described, "requestBody": {"required": True, "content": content}}


def stats() -> Json:
    """GET /api/stats."""
    return operation("stats", "Figures of now.", "", answers(ref("Stats"), InvalidQuery, *LOADED))


def head() -> Json:
    """GET /api/head."""
    return operation(
        "readHead",
        "Where the recording ends, signed.",
        "Kept elsewhere, it proves later that nothing up to it was cut off or rewritten. 404 where nothing is signed.",
        answers(ref("Head"), InvalidQuery, NotFound, *RECORDED),
    )


def receipts() -> Json:
    """GET /api/receipts."""
    return operation(
        "readReceipts",
        "What was pruned and what was erased, and the epochs there have been.",
        "A receipt is signed once it is on disk: until the next snapshot its `signature` is null.",
        answers(ref("Receipts"), InvalidQuery, *RECORDED),
    )


def jobs() -> Json:
    """GET /api/jobs."""
    return operation(
        "listJobs",
        "The last runs of jobs, latest first.",
        "Snapshots that had nothing to do are not runs.",
        answers(ref("JobList"), InvalidQuery, *RECORDED),
        params.JOBS,
    )


def snapshot() -> Json:
    """POST /api/admin/snapshot."""
    return operation(
        "snapshot",
        "Bring the file up to what is recorded, now.",
        "",
        answers(ref("Snapshot"), InvalidQuery, *RECORDED, StoreError),
    )


def prune() -> Json:
    """POST /api/admin/prune."""
    described = operation(
        "prune",
        "Remove what need not be kept, now.",
        "What goes is removed from the database in memory and from the file, which shrinks; the process keeps the"
        " memory for what comes. The last state of every session that lives is kept.",
        answers(
            ref("Pruned"),
            InvalidQuery,
            InvalidJson,
            UnsupportedMediaType,
            MessageTooLarge,
            *RECORDED,
            ClockDoubtful,
            StoreError,
        ),
    )
    return {**described, "requestBody": {"content": {JSON: {"schema": ref("Prune")}}}}


def erase() -> Json:
    """POST /api/admin/erase."""
    described = operation(
        "erase",
        "Erase what a session's states say.",
        "Removes it from the database in memory, from the database file and its free pages. Copies in memory that the"
        " process has freed stay until that memory is used again or the recorder is restarted. Digests stay, so that"
        " the chain still verifies, and a receipt. Subscribers are told by the event `erased`. What is recorded later"
        " is not touched.",
        answers(
            ref("Erased"),
            InvalidQuery,
            InvalidJson,
            UnsupportedMediaType,
            MessageTooLarge,
            NotFound,
            *RECORDED,
            StoreError,
        ),
    )
    return {**described, "requestBody": {"required": True, "content": {JSON: {"schema": ref("Erase")}}}}


def openapi() -> Json:
    """GET /api/openapi.json."""
    return operation("describe", "This description.", "", answers({"type": "object"}, InvalidQuery))


def websocket(name: str, summary: str) -> Json:
    """GET /ws and GET /publish."""
    text = "An upgrade is answered with 101 and the protocol of the recorder, which is described elsewhere."
    responses = {"101": {"description": "It is a WebSocket from here on."}, **failures(UpgradeRequired)}
    return operation(name, summary, text, responses)


def healthz() -> Json:
    """GET /healthz."""
    responses = {"200": success({"text/plain; charset=utf-8": {"schema": {"const": "ok\n"}}}), **failures()}
    return operation("isAlive", "Whether the process answers.", "", responses)


def readyz() -> Json:
    """GET /readyz."""
    return operation(
        "isReady",
        "Whether it can do its work.",
        "503 with the reason while loading, while snapshots keep failing, when recording has failed, while stopping.",
        answers(ref("Ready"), NotReady),
    )


def metrics() -> Json:
    """GET /metrics."""
    responses = {"200": success({CONTENT_TYPE: {"schema": {"type": "string"}}}), **failures()}
    return operation("metrics", "Figures in Prometheus' text format.", "", responses)


def page() -> Json:
    """GET /."""
    return operation("page", "The dashboard, for people.", "", files(["html"]))


SAME = "Its ETag goes back as `If-None-Match`, and gets 304 where the file is still the same."


def asset() -> Json:
    """GET /assets/{file}."""
    responses = files(["js", "css", "svg"], NotFound)
    return operation("asset", "What the dashboard is made of.", SAME, responses, path=("file",))


def client() -> Json:
    """GET /client.js."""
    return operation("client", "The client, as a JavaScript module.", SAME, files(["js"]))


def client_part() -> Json:
    """GET /client/{part}."""
    responses = files(["js"], NotFound)
    return operation("clientPart", "What the client module is made of.", SAME, responses, path=("part",))


def docs_redirect() -> Json:
    """GET /docs."""
    responses = {"308": {"description": "It is at `docs/`."}, **failures()}
    return operation("docs", "Where the documentation begins.", "", responses)


def docs_index() -> Json:
    """GET /docs/."""
    text = f"The first page, or what a search found. {SAME}"
    return operation("docsIndex", "The documentation, for people.", text, files(["html"]), query=("q",))


def docs_page() -> Json:
    """GET /docs/{name}."""
    responses = files(["html", "css", "svg", "md", "png"], NotFound)
    return operation("docsPage", "A page of the documentation.", SAME, responses, path=("page",))


def files(ends: list[str], *errors: type[RecorderError]) -> Json:
    """Return the responses of a route that serves files with these name endings, or answers with one of
    these errors.
    """
    content = {docs.FILES[end]: {"schema": {"type": "string"}} for end in ends}
    return {"200": success(content), "304": {"description": "Still the same."}, **failures(*errors)}


# Building


def operation(
    name: str,
    summary: str,
    text: str,
    responses: Json,
    query: tuple[str, ...] = (),
    *,
    path: tuple[str, ...] = (),
) -> Json:
    """Return one operation.

    Args:
        name: The operation's id.
        summary: One line.
        text: More of it.
        responses: By status.
        query: Names of its parameters.
        path: Names of those in its path.
    """
    described: Json = {"operationId": name, "summary": summary}
    if text:
        described["description"] = text
    if path or query:
        described["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in (*path, *query)]
    return {**described, "responses": responses}


def answers(schema: Json, *errors: type[RecorderError], status: str = "200") -> Json:
    """Return the responses of a route that answers with JSON, or with one of these errors."""
    return {status: success({JSON: {"schema": schema}}), **failures(*errors)}


def success(content: Json) -> Json:
    """Return a successful response."""
    return {"description": "As asked.", "content": content}


def failures(*errors: type[RecorderError], only: bool = False) -> Json:
    """Return the responses by status, for these errors and, without `only`, those that every route may
    answer with.
    """
    by_status: dict[int, list[type[RecorderError]]] = defaultdict(list)
    for error in errors if only else (*EVERYWHERE, *errors):
        by_status[error.http_status].append(error)
    return {str(status): failure(kinds) for status, kinds in sorted(by_status.items())}


def failure(errors: list[type[RecorderError]]) -> Json:
    """Return the response of one error status."""
    lines = [f"`{error.code}`: {_first_line(error)}" for error in errors]
    codes = {"properties": {"code": {"enum": [error.code for error in errors]}}}
    response: Json = {
        "description": "\n\n".join(lines),
        "content": {PROBLEM_TYPE: {"schema": {"allOf": [ref("Problem"), codes]}}},
    }
    if any(error.retry for error in errors):
        response["headers"] = {
            "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."},
        }
    return response


def _first_line(error: type[RecorderError]) -> str:
    return (error.__doc__ or "").splitlines()[0]
