"""The parameters of the HTTP interface, for its description: names and bounds come from `params`."""

from __future__ import annotations

from recorder.api import params
from recorder.api.schemas import Json, ref, seq
from recorder.api.sessions import PATCH_TYPES
from recorder.core.delta import DELTA_TYPES
from recorder.wire.export import MEDIA_TYPES
from recorder.wire.subscribe import MAX_SESSIONS

POINT: Json = {"anyOf": [seq(), {"type": "string", "format": "date-time"}]}


def parameters() -> dict[str, Json]:
    """Return every query and path parameter, by name."""
    return {
        "sessionId": {
            "name": "sessionId",
            "in": "path",
            "required": True,
            "schema": ref("SessionId"),
            "description": "The session's id, percent-encoded.",
        },
        "page": {
            "name": "name",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "description": "A page, as the navigation of `/docs/` links it; with `.md` its Markdown; or a picture.",
        },
        "file": {
            "name": "file",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "description": "A file's name.",
        },
        "part": {
            "name": "part",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "description": "A module's file name.",
        },
        "lastEventId": {
            "name": "Last-Event-ID",
            "in": "header",
            "schema": {"type": "string", "pattern": "^[0-9A-Za-z]{1,32}:[0-9]{1,19}$"},
            "description": "The `id` of the last message read: go on from there, whatever `since` says.",
        },
        "lastEventIdQuery": {
            "name": "lastEventId",
            "in": "query",
            **plain({"type": "string"}, "As the header `Last-Event-ID`, for readers that cannot set it."),
        },
        "start": {
            "name": "since",
            "in": "query",
            **plain(
                {"type": "string", "default": "latest"},
                "Where to begin: `latest`, `earliest`, `state`, `epoch:seq`, a seq, or an RFC 3339 time.",
            ),
        },
        "slow": {
            "name": "slow",
            "in": "query",
            **plain(
                {"type": "string", "enum": ["close", "conflate"], "default": "close"},
                "What to do with a reader that is too slow: end the stream, or leave deltas out (`conflated`).",
            ),
        },
        **{name: {"name": name, "in": "query", **rest} for name, rest in query_parameters().items()},
    }


def query_parameters() -> dict[str, Json]:
    """Return the schema and the description of every query parameter."""
    return {
        "session": several(ref("SessionId"), "Only these sessions.", MAX_SESSIONS),
        "type": several({"enum": list(DELTA_TYPES)}, "Only deltas of these types.", None),
        "since": time("Only what was recorded at or after this time."),
        "until": time("Only what was recorded at or before this time."),
        "happenedSince": time("Only what happened (`timestamp`) at or after this time."),
        "happenedUntil": time("Only what happened (`timestamp`) at or before this time."),
        "after": plain(seq(), "Only seqs greater than this."),
        "before": plain(seq(), "Only seqs less than this."),
        "lineage": plain({"enum": ["broken"]}, "Only deltas whose `before` was not the state last recorded."),
        "order": plain({"enum": ["desc", "asc"], "default": "desc"}, "Newest or oldest first."),
        "limit": plain(
            {
                "type": "integer",
                "minimum": 1,
                "maximum": params.MAX_LIMIT,
                "default": params.DEFAULT_LIMIT,
            },
            "How many at most.",
        ),
        "cursor": plain(
            {"type": "string", "pattern": "^[0-9A-Za-z_-]+$"},
            "`next` of the page before. Opaque; good for its question and epoch alone.",
        ),
        "format": plain(
            {"enum": list(MEDIA_TYPES), "default": next(iter(MEDIA_TYPES))}, "How it is written."
        ),
        "q": plain({"type": "string"}, "Search: only sections that contain all of these words."),
        "at": plain(
            POINT,
            "As of this seq or time of recording; what lies in the future is the same as now.",
        ),
        "from": plain(POINT, "As of this seq or time of recording, the one state."),
        "to": plain(POINT, "As of this seq or time of recording, the other state; now by default."),
        "as": plain({"enum": list(PATCH_TYPES), "default": "patch"}, "As a JSON Patch or as a merge patch."),
        "path": plain(
            {"type": "string", "format": "json-pointer", "default": ""}, "A place in the state (RFC 6901)."
        ),
        "name": plain({"type": "string"}, "Only runs of this job: `snapshot`, `prune` or `erase`."),
    }


def plain(schema: Json, text: str) -> Json:
    """Return a parameter that may be given once."""
    return {"schema": schema, "description": text}


def several(schema: Json, text: str, most: int | None) -> Json:
    """Return a parameter that may be repeated."""
    listed: Json = {"type": "array", "items": schema, "minItems": 1}
    if most is not None:
        listed["maxItems"] = most
    return {"schema": listed, "style": "form", "explode": True, "description": f"{text} May be repeated."}


def time(text: str) -> Json:
    """Return a parameter that is a time."""
    return plain({"type": "string", "format": "date-time"}, f"{text} RFC 3339 with an offset.")
