"""The deltas that a campaign publishes: number n is always the same, to the byte, so that whatever comes back can be
judged without having kept what was sent.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

SESSIONS = 7
LONGEST = 613
"""Bytes of the longest state, about."""


def session_of(n: int) -> str:
    """Return the session of delta n."""
    return f"s{n % SESSIONS}"


def state_of(n: int) -> bytes:
    """Return the state after delta n, as JSON text."""
    return b'{"n":%d,"pad":"%s"}' % (n, b"x" * (n * 7919 % LONGEST))


def delta_of(n: int) -> bytes:
    """Return delta n, as JSON text."""
    return b'{"type":"updated","sessionId":"%s","after":%s,"id":"d%d"}' % (
        session_of(n).encode(),
        state_of(n),
        n,
    )


def frame_of(numbers: Sequence[int]) -> bytes:
    """Return the deltas as one frame to publish."""
    return b"[" + b",".join([delta_of(n) for n in numbers]) + b"]"


def number_of(delta: dict[str, object]) -> int | None:
    """Return the number of a delta that a recorder returned; None if it was never sent."""
    after = delta.get("after")
    n = after.get("n") if isinstance(after, dict) else None
    if not isinstance(n, int) or delta.get("id") != f"d{n}" or delta.get("sessionId") != session_of(n):
        return None
    return n if orjson.dumps(after) == state_of(n) else None
