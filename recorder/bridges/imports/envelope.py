"""The delta's envelope: putting one together, and checking one that comes ready made.

The rules are the protocol's (type, session, which states a type has and how deep, timestamp, id, size). They are
checked here because only here is it known which line of which file breaks one.
"""

from __future__ import annotations

import hashlib
import re

from recorder.bridges.imports import rawjson
from recorder.bridges.imports.records import Unfit
from recorder.core import json_text as jsontext
from recorder.core.delta import CREATED, DELETED, DELTA_TYPES, MAX_DEPTH, MAX_ID, MAX_SESSION_ID, UPDATED
from recorder.core.timestamps import normalise

_FIELDS = ("type", "sessionId", "before", "after", "timestamp", "id")
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def build(
    kind: str,
    session_id: str,
    states: tuple[bytes | None, bytes | None],
    *,
    timestamp: str | None = None,
    delta_id: str | None = None,
    max_bytes: int,
) -> bytes:
    """Return the JSON text of a delta.

    Args:
        kind: `created`, `updated` or `deleted`.
        session_id: The session.
        states: JSON texts of before and after; None or `null` where there is none.
        timestamp: When it happened, RFC 3339 with an offset.
        delta_id: Its idempotency key.
        max_bytes: The most it may take.

    Raises:
        Unfit: It would break a rule of the protocol.
    """
    before, after = (rawjson.present(state) for state in states)
    _check_session(session_id)
    _check_states(kind, before, after)
    text = rawjson.assemble(
        (
            ("type", rawjson.dump(kind)),
            ("sessionId", rawjson.dump(session_id)),
            ("before", before),
            ("after", after),
            ("timestamp", rawjson.dump(timestamp) if timestamp is not None else None),
            ("id", rawjson.dump(delta_id) if delta_id is not None else None),
        )
    )
    check_size(text, max_bytes)
    return text


def check(delta: dict[str, bytes]) -> None:
    """Check a delta that was not made here.

    Args:
        delta: Its fields as texts.

    Raises:
        Unfit: It breaks a rule of the protocol.
    """
    for name in delta:
        if name not in _FIELDS:
            raise Unfit(f"unknown field {name!r}")
    kind = _required(delta, "type")
    if kind not in DELTA_TYPES:
        raise Unfit(f"type: must be 'created', 'updated' or 'deleted', is {kind[:40]!r}")
    _check_session(_required(delta, "sessionId"))
    _check_states(kind, rawjson.present(delta.get("before")), rawjson.present(delta.get("after")))
    timestamp, delta_id = _optional(delta, "timestamp"), _optional(delta, "id")
    if timestamp is not None:
        _check_timestamp(timestamp)
    if delta_id is not None and (not 0 < len(delta_id) <= MAX_ID or _SURROGATE.search(delta_id)):
        raise Unfit(f"id: must have 1 to {MAX_ID} characters and no lone surrogates")


def check_size(text: bytes, max_bytes: int) -> None:
    """Raise Unfit where the JSON text of a delta is longer than allowed."""
    if len(text) > max_bytes:
        raise Unfit(
            f"the delta would have {len(text)} bytes, at most {max_bytes} are allowed",
            hint="MAX_DELTA_BYTES sets the limit",
        )


def is_session_id(text: str) -> bool:
    """Return whether a text is a valid session id."""
    return 0 < len(text) <= MAX_SESSION_ID and not _UNSENDABLE.search(text)


def content_id(label: str, *parts: bytes) -> str:
    """Return an idempotency key that is the same for the same content and different for any other content.

    Args:
        label: What is put in front, ASCII.
        parts: The content.
    """
    digest = hashlib.sha256()
    for part in parts:
        # Lengths in front: without them ("ab", "c") and ("a", "bc") would be one.
        digest.update(b"%d:" % len(part) + part)
    return f"{label}:{digest.hexdigest()[:40]}"


class Chain:
    """Tells records of one file apart that are alike: each by all that stands before it.

    A log that has grown, or is imported again, gives the same digests for what was there.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, record: bytes) -> bytes:
        """Take in the next record; return the digest of everything up to it."""
        self._digest.update(b"%d:" % len(record) + record)
        return self._digest.digest()


def _check_session(session_id: str) -> None:
    if not is_session_id(session_id):
        shown = ascii(session_id[:60])
        raise Unfit(
            f"sessionId: must have 1 to {MAX_SESSION_ID} characters, none of them a control character, is {shown}"
        )


def _check_states(kind: str, before: bytes | None, after: bytes | None) -> None:
    if kind == CREATED and before is not None:
        raise Unfit("before: must be absent for type 'created'")
    if kind == DELETED and after is not None:
        raise Unfit("after: must be absent for type 'deleted'")
    if kind in (CREATED, UPDATED) and after is None:
        raise Unfit(f"after: required for type '{kind}'")
    for name, state in (("before", before), ("after", after)):
        if state is not None and jsontext.is_deeper(state.decode(), MAX_DEPTH):
            raise Unfit(f"{name}: must not nest deeper than {MAX_DEPTH}")


def _check_timestamp(timestamp: str) -> None:
    try:
        normalise(timestamp)
    except ValueError as error:
        raise Unfit(f"timestamp: {error}") from None


def _required(delta: dict[str, bytes], name: str) -> str:
    value = _optional(delta, name)
    if value is None:
        raise Unfit(f"{name}: required")
    return value


def _optional(delta: dict[str, bytes], name: str) -> str | None:
    text = rawjson.present(delta.get(name))
    if text is None:
        return None
    value = rawjson.string(text)
    if value is None:
        raise Unfit(f"{name}: must be a string, is {rawjson.kind(text)}")
    return value
