"""The values that travel: a delta as it was sent, and an entry: the delta at its place in the order.

States are text: the JSON text exactly as it was sent. Nothing here decodes one.
"""

from __future__ import annotations

import msgspec

CREATED, UPDATED, DELETED = "created", "updated", "deleted"
DELTA_TYPES = (CREATED, UPDATED, DELETED)

MAX_SESSION_ID = 256
MAX_ID = 128
"""The most characters that a session's id and an idempotency key may have."""

MAX_DEPTH = 500
"""How deeply a state may nest. A bound of its own, so that it does not depend on how deep the stack of whoever
decodes it happens to be, and so that every reader can read what was accepted."""


class Delta(msgspec.Struct, gc=False):
    """A valid delta as a publisher sent it.

    Args:
        type: `created`, `updated` or `deleted`.
        session_id: 1 to 256 characters.
        before: JSON text of the state before, or None where it was absent or `null`.
        after: JSON text of the state after, or None.
        timestamp: When it happened, in the fixed-width form, or None: the time of receipt counts.
        id: The publisher's idempotency key, or None.
    """

    type: str
    session_id: str
    before: str | None
    after: str | None
    timestamp: str | None
    id: str | None


class Entry(msgspec.Struct, gc=False):
    """A delta at its place in the order: what is broadcast and recorded. The fields are the stored columns.

    Args:
        seq: Its number in the order, from 1.
        session_id, type, before, after: As sent; `before` filled in by the recorder where it was left out.
        timestamp: When it happened, fixed-width form.
        recorded_at: When it was recorded, fixed-width form, never less than its predecessor's.
        id: The publisher's idempotency key, or None.
        id_digest: With an id: the digest of the content as it was sent (32 bytes), else None.
        before_filled: Whether `before` was left out and the recorder filled it in.
        lineage: `"broken"` where the `before` that was sent is not the state last recorded, else None.
        hash: The chain's hash at this place (32 bytes), or None where the chain is off.
        frame: The delta event as one WebSocket text frame, ready to be written to any subscriber.
    """

    seq: int
    session_id: str
    type: str
    before: str | None
    after: str | None
    timestamp: str
    recorded_at: str
    id: str | None
    id_digest: bytes | None
    before_filled: bool
    lineage: str | None
    hash: bytes | None
    frame: bytes
