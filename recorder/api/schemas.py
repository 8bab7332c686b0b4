"""The shapes that travel over HTTP, as JSON Schema (2020-12): one small function each, bounds from the code's constants.

Answers may gain members; clients ignore those that they do not know. What is sent to the recorder is closed.
"""

from __future__ import annotations

from typing import Any

from recorder.api.health import OF_NO_SESSION
from recorder.api.params import MAX_LIMIT, MAX_REASON, MAX_SEQ
from recorder.core.delta import CREATED, DELETED, DELTA_TYPES, MAX_DEPTH, MAX_ID, MAX_SESSION_ID, UPDATED
from recorder.core.errors import BY_CODE

Json = dict[str, Any]

# What a session's id may not hold. Not as a whole pattern with "$", which some take to match before a line's end.
_CONTROL = "[\\u0000-\\u001f\\u007f]"
_FIXED_TIME = "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$"


def components() -> dict[str, Json]:
    """Return every schema, by name."""
    return {
        "SessionId": session_id(),
        "State": {"description": "Any JSON value, byte for byte as it was published."},
        "Epoch": text("The name of an epoch. A seq is never given twice within one.", "^[0-9A-Za-z]{1,32}$"),
        "Time": {**text("UTC, milliseconds, always of this form.", _FIXED_TIME), "format": "date-time"},
        "NewDelta": new_delta(),
        "Delta": delta(),
        "Entry": entry(),
        "DeltaPage": page("deltas", "Entry", "Entries in the order that was asked for."),
        "Session": session(),
        "SessionPage": page("sessions", "Session", "Sessions, the one that moved last first."),
        "SessionState": session_state(),
        "JsonPatch": json_patch(),
        "Blame": blame(),
        "Ack": ack(),
        "Stats": {"anyOf": [ref("RecordingStats"), ref("IdleStats"), ref("ScopedStats")]},
        "RecordingStats": recording_stats(),
        "IdleStats": idle_stats(),
        "ScopedStats": scoped_stats(),
        "Loss": loss(),
        "Job": job(),
        "JobList": record({"jobs": {"type": "array", "items": ref("Job"), "maxItems": MAX_LIMIT}}),
        "Head": head(),
        "Receipts": receipts(),
        "Snapshot": snapshot(),
        "Prune": prune(),
        "Pruned": pruned(),
        "Erase": erase(),
        "Erased": erased(),
        "ErasureReceipt": erasure_receipt(),
        "Ready": record(
            {
                "ready": {"const": True},
                "recording": {
                    "type": "boolean",
                    "description": "Whether what is published is recorded; false without PERSIST=1.",
                },
            }
        ),
        "Problem": problem(),
    }


def ref(name: str) -> Json:
    """Return a reference to one of `components`."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(members: Json, optional: Json | None = None, description: str = "") -> Json:
    """Return the schema of an object.

    Args:
        members: Schemas of what is always there, by name.
        optional: Schemas of what may be left out.
        description: What it is.
    """
    schema: Json = {
        "type": "object",
        "required": list(members),
        "properties": {**members, **(optional or {})},
    }
    return {"description": description, **schema} if description else schema


def text(description: str, pattern: str | None = None) -> Json:
    """Return the schema of a string."""
    schema: Json = {"type": "string", "description": description}
    return schema if pattern is None else {**schema, "pattern": pattern}


def whole(description: str, minimum: int = 0) -> Json:
    """Return the schema of a non-negative integer, such as a count."""
    return {"type": "integer", "minimum": minimum, "description": description}


def nullable(schema: Json, description: str) -> Json:
    """Return a schema that also allows null."""
    return {"anyOf": [schema, {"type": "null"}], "description": description}


def seq(minimum: int = 0) -> Json:
    """Return the schema of a sequence number."""
    return {
        "type": "integer",
        "minimum": minimum,
        "maximum": MAX_SEQ,
        "description": "A number in the one order of all deltas: from 1, rising by one. 0 is before the first.",
    }


def session_id() -> Json:
    """Return the schema of a session id."""
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_SESSION_ID,
        "not": {"pattern": _CONTROL},
        "description": "Any characters but control characters; slashes, spaces and `?` too.",
    }


def new_delta() -> Json:
    """Return the schema of a delta as it is published."""
    none: Json = {"type": "null"}
    some: Json = {"not": none}
    shape = record(
        {"type": {"enum": list(DELTA_TYPES)}, "sessionId": ref("SessionId")},
        {
            "before": {
                "description": "The state before. Left out of an updated or deleted delta, the recorder fills in"
                " the last one it knows. `null` is the same as left out."
            },
            "after": {"description": "The state after. `null` is the same as left out."},
            "timestamp": nullable(
                {"type": "string", "format": "date-time"},
                "When it happened; the time of receipt where left out. Kept as UTC with milliseconds.",
            ),
            "id": nullable(
                {"type": "string", "minLength": 1, "maxLength": MAX_ID},
                "Makes a repetition harmless: the same id with the same content is answered with its first seq, with"
                " other content it is a `conflict`.",
            ),
        },
        "A change of a session. Its JSON text is at most MAX_DELTA_BYTES long; states nest at most"
        f" {MAX_DEPTH} levels deep.",
    )
    rules = [
        {"properties": {"type": {"const": CREATED}, "before": none, "after": some}, "required": ["after"]},
        {"properties": {"type": {"const": UPDATED}, "after": some}, "required": ["after"]},
        {"properties": {"type": {"const": DELETED}, "after": none}},
    ]
    return {**shape, "additionalProperties": False, "oneOf": rules}


def delta() -> Json:
    """Return the schema of a delta as it is recorded."""
    return record(
        {"type": {"enum": list(DELTA_TYPES)}, "sessionId": ref("SessionId"), "timestamp": ref("Time")},
        {
            "before": ref("State"),
            "after": ref("State"),
            "id": {"type": "string", "minLength": 1, "maxLength": MAX_ID},
        },
        "A delta with `before` filled in and its `timestamp` in the one form.",
    )


def entry() -> Json:
    """Return the schema of a recorded entry."""
    return record(
        {"seq": seq(1), "recordedAt": ref("Time"), "delta": ref("Delta")},
        {
            "hash": text(
                "The chain's SHA-256 at this place; left out where HASH_CHAIN is off.", "^[0-9a-f]{64}$"
            ),
            "lineage": {
                "const": "broken",
                "description": "There where `before` is not the state last recorded.",
            },
            "beforeFilled": {
                "const": True,
                "description": "There where the publisher left `before` out and the recorder filled it in.",
            },
            "idDigest": text(
                "With an id: the digest of the content as it was sent, which a repetition is compared with.",
                "^[0-9a-f]{64}$",
            ),
            "erased": record(
                {},
                {name: text(f"SHA-256 of {name}.", "^[0-9a-f]{64}$") for name in ("before", "after")},
                "There where the states' content was erased: what is left of them.",
            ),
        },
        "A delta at its place in the order. `recordedAt` never goes back.",
    )


def page(name: str, item: str, description: str) -> Json:
    """Return the schema of one page of a list, with the cursor of the next page."""
    listed = {"type": "array", "items": ref(item), "maxItems": MAX_LIMIT, "description": description}
    following = nullable({"type": "string"}, "Goes back as `cursor`; null where there is no more.")
    return record({"epoch": ref("Epoch"), name: listed, "next": following})


def session() -> Json:
    """Return the schema of a session in a list."""
    return record(
        {
            "sessionId": ref("SessionId"),
            "seq": seq(1),
            "recordedAt": ref("Time"),
            "count": whole("How many of its deltas are kept; 0 where only its last state is."),
            "deleted": {"type": "boolean"},
        },
        description="A session, with the seq and the time of its last delta.",
    )


def session_state() -> Json:
    """Return the schema of a session's state at a point."""
    return record(
        {
            "sessionId": ref("SessionId"),
            "seq": {**seq(1), "description": "The delta that made it so."},
            "state": {
                "description": "The state, byte for byte as published; null where it is deleted or was erased."
            },
            "deleted": {"type": "boolean"},
        },
        {"erased": {"const": True, "description": "There where what the session's state said was erased."}},
    )


def json_patch() -> Json:
    """Return the schema of the difference between two states."""
    path = {"type": "string", "format": "json-pointer"}
    setting = record({"op": {"enum": ["add", "replace"]}, "path": path, "value": ref("State")})
    removing = record({"op": {"const": "remove"}, "path": path})
    return {
        "type": "array",
        "items": {"oneOf": [setting, removing]},
        "description": "A JSON Patch (RFC 6902).",
    }


def blame() -> Json:
    """Return the schema of the changes to one place in a session's state."""
    touch = record(
        {
            "seq": seq(1),
            "recordedAt": ref("Time"),
            "timestamp": ref("Time"),
            "type": {"enum": list(DELTA_TYPES)},
        },
        {
            "lineage": {"const": "broken"},
            "before": {"description": "The value there until then; left out where there was none."},
            "after": {"description": "The value there from then on; left out where there is none."},
        },
    )
    return record(
        {
            "epoch": ref("Epoch"),
            "sessionId": ref("SessionId"),
            "path": {"type": "string", "format": "json-pointer"},
            "touches": {"type": "array", "items": touch, "maxItems": MAX_LIMIT},
            "next": nullable(seq(1), "Goes back as `before`; null where there is nothing to go on to."),
            "end": {
                "enum": ["begun", "pruned", "erased", None],
                "description": "Why there is nothing to go on to; null where there is.",
            },
        }
    )


def ack() -> Json:
    """Return the schema of an ack."""
    return record(
        {
            "epoch": ref("Epoch"),
            "firstSeq": seq(1),
            "seq": {**seq(1), "description": "Of the last delta in the body."},
            "count": whole("How many deltas there were.", 1),
            "durable": {"type": "boolean", "description": "Whether all of them are on disk already."},
        },
        {"duplicates": whole("How many of them were known by their id, and kept their first seq.", 1)},
        "What was taken: it is recorded in memory, and on disk where `durable`.",
    )


def _live_stats() -> Json:
    return {
        "epoch": ref("Epoch"),
        "head": {**seq(), "description": "The highest seq given."},
        "subscribers": whole("Connections that subscribe."),
        "publishers": whole("Connections that publish."),
        "clockBehindMs": whole(
            "How far the clock is behind the newest delta: until it has caught up, every delta gets that"
            " `recordedAt`. 0 where it is not."
        ),
    }


def recording_stats() -> Json:
    """Return the schema of the figures of a recorder that records."""
    return record(
        {
            "enabled": {"const": True},
            "recording": {"const": True},
            "dbPath": text("The database file."),
            "fileSize": nullable(whole("Bytes."), "Its size; null where there is no file yet."),
            "deltaCount": whole("Deltas kept."),
            "sessionCount": whole("Sessions known."),
            **_live_stats(),
            "recorded": {**seq(), "description": "The highest seq recorded in memory."},
            "durable": {**seq(), "description": "The highest seq on disk."},
            "oldest": {
                **seq(1),
                "description": "The first seq kept; one more than `recorded` where none is.",
            },
            "durability": {"enum": ["snapshot", "commit"]},
            "lossWindowMs": whole("How much acked time a crash can cost, at most."),
            "lastSnapshotAt": nullable(ref("Time"), "Null before the first."),
            "lastSnapshotError": nullable(
                {"type": "string"}, "Why the last one failed; null where it did not."
            ),
            "lastPruneAt": nullable(ref("Time"), "Null before the first."),
            "pruneWithheld": nullable(
                {"type": "string"}, "Why pruning by age waits for a person's word; null where it does not."
            ),
            "lastLoss": nullable(
                ref("Loss"), "What was lost at a start with --allow-data-loss, the last time."
            ),
            "lineageBreaks": whole("Deltas since the start whose `before` was not the state last recorded."),
            "pid": whole("The recorder's process.", 1),
        }
    )


def loss() -> Json:
    """Return the schema of what was lost when starting on a damaged file."""
    span = record({"first": seq(1), "last": seq(1)})
    return record(
        {
            "at": ref("Time"),
            "reason": text("What was wrong with the file."),
            "file": text("Where it is now."),
            "saved": whole("Entries that could be saved."),
            "lost": {"type": "array", "items": span, "description": "Seqs that are gone, as far as known."},
            "lostCount": whole("How many these are."),
            "readable": whole("How many of them can still be read in the renamed file."),
            "incomplete": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Other tables of which rows may be missing.",
            },
        }
    )


def idle_stats() -> Json:
    """Return the schema of the figures of a recorder with recording off."""
    return record(
        {"enabled": {"const": False}, "recording": {"const": False}, **_live_stats()},
        description="Recording is off (PERSIST).",
    )


def scoped_stats() -> Json:
    """Return the schema of the figures shown to a token that is restricted to some sessions."""
    everything = recording_stats()["properties"]
    names = [name for name in everything if name in (*OF_NO_SESSION, "sessionCount", "deltaCount")]
    always = ("enabled", "recording", "epoch", "head")
    flags = ("enabled", "recording")
    return record(
        {name: {"type": "boolean"} if name in flags else everything[name] for name in always},
        {name: everything[name] for name in names if name not in always},
        "For a token that is for some sessions: the counts are of these.",
    )


def job() -> Json:
    """Return the schema of one run of a job."""
    return record(
        {
            "id": whole("Its number.", 1),
            "name": text("`snapshot`, `prune`, `erase` or `salvage`."),
            "startedAt": ref("Time"),
            "durationMs": whole("How long it took."),
            "outcome": {"enum": ["ok", "failed"]},
            "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
            "error": nullable({"type": "string"}, "Why it failed."),
        }
    )


def head() -> Json:
    """Return the schema of a signed head."""
    return record(
        {
            "epoch": ref("Epoch"),
            "seq": {**seq(), "description": "The last entry's number; 0 before the first."},
            "count": whole("Entries kept: those up to `seq - count` had been pruned."),
            "hash": nullable(_hex(32, "A hash of the chain."), "At `seq`; null where the chain was off."),
            "time": ref("Time"),
            "durable": {**seq(), "description": "Everything up to this seq was on disk."},
            **_signed("recorder/head/1"),
        },
        description="Where the recording ended at that time.",
    )


def receipts() -> Json:
    """Return the schema of the receipts."""
    hash_ = nullable(_hex(32, "A hash of the chain."), "Null where the chain was off.")
    span = {"firstSeq": seq(1), "lastSeq": seq(1), "count": whole("How many entries.")}
    prune_ = record(
        {
            "id": whole("Its number.", 1),
            **span,
            "firstHash": hash_,
            "lastHash": {**hash_, "description": "What the first entry that is kept goes on from."},
            "lastRecordedAt": ref("Time"),
            "policy": text("The rule, with its value: `30 days`."),
            "prunedAt": ref("Time"),
            "basesDigest": nullable(
                _hex(32, "A digest."), "Of the states that were kept; null until it is over."
            ),
            **_signed("recorder/prune/1"),
        }
    )
    epoch = record({"epoch": ref("Epoch"), "firstSeq": seq(1)})
    return record(
        {
            "epochs": {"type": "array", "items": epoch},
            "prunes": {"type": "array", "items": prune_},
            "erasures": {"type": "array", "items": ref("ErasureReceipt")},
        }
    )


def erasure_receipt() -> Json:
    """Return the schema of an erasure receipt."""
    return record(
        {
            "id": whole("Its number.", 1),
            "sessionId": ref("SessionId"),
            "firstSeq": {**seq(), "description": "The first delta whose states were erased."},
            "lastSeq": {**seq(), "description": "The last one."},
            "count": whole("How many deltas; 0 where only the state kept for pruned ones was left."),
            "headSeq": {**seq(), "description": "Where the log ended then: what came later was not erased."},
            "reason": text("In the operator's words."),
            "erasedAt": ref("Time"),
            "digest": _hex(32, "Of the digests of what was erased."),
            **_signed("recorder/erasure/1"),
        }
    )


def _signed(tag: str) -> Json:
    return {
        "key": nullable(_hex(32, "The public key that signed."), "Null where nobody has."),
        "signature": nullable(_hex(64, f"Ed25519 over the statement `{tag}`."), "Null where nobody has."),
    }


def _hex(size: int, description: str) -> Json:
    return text(description, f"^[0-9a-f]{{{2 * size}}}$")


def snapshot() -> Json:
    """Return the schema of the result of a snapshot."""
    return record(
        {
            "rows": whole("Deltas it copied to disk."),
            "durable": {**seq(), "description": "The highest seq on disk now."},
            "fileSize": whole("Bytes of the database file now."),
            "lastSnapshotAt": ref("Time"),
        }
    )


def prune() -> Json:
    """Return the schema of a request to prune."""
    when = nullable(
        {"type": "string", "format": "date-time"},
        "Everything recorded before this time goes. Left out or null: what the settings say need not be kept.",
    )
    trust = {
        "type": "boolean",
        "description": "Says that the recorder's clock is right, where it is in doubt (`pruneWithheld`).",
    }
    return {**record({}, {"olderThan": when, "trustClock": trust}), "additionalProperties": False}


def erase() -> Json:
    """Return the schema of a request to erase."""
    reason = nullable({"type": "string", "maxLength": MAX_REASON}, "Why, for the receipt.")
    return {**record({"sessionId": ref("SessionId")}, {"reason": reason}), "additionalProperties": False}


def erased() -> Json:
    """Return the schema of the result of an erasure."""
    return record(
        {
            "sessionId": ref("SessionId"),
            "count": whole("How many deltas' content was erased now; 0 where nothing was left."),
            "receipt": nullable(ref("ErasureReceipt"), "Null where nothing was left to erase."),
            "copies": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Names of files beside the database that may still hold the content.",
            },
            "remains": {
                "type": "array",
                "items": {"type": "string"},
                "description": "What an erasure leaves in the recorder, in words.",
            },
        }
    )


def pruned() -> Json:
    """Return the schema of the result of a prune."""
    return record(
        {
            "deleted": whole("How many deltas were removed."),
            "oldest": {**seq(1), "description": "The first seq kept now."},
            "olderThan": nullable(ref("Time"), "As asked."),
        }
    )


def problem() -> Json:
    """Return the schema of an error."""
    return record(
        {
            "title": text("The code in words."),
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "code": {"enum": sorted(BY_CODE), "description": "What programs look at. Never reused."},
            "detail": text("What was wrong, for people."),
        },
        {
            "hint": text("What to do about it."),
            "index": whole("Which delta of the body it was, from 0."),
            "place": text("Where in the input: `[2].after`, `line 7`, a parameter's name."),
        },
        "A problem document (RFC 9457).",
    )
