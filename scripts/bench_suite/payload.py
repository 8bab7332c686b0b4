"""The deltas that are published: each of exactly the asked size, and continuing its session's last state.

`before` is byte for byte the `after` that the session had last, as an honest publisher sends it. Each `after`
starts with a stamp, the delta's number in the run, by which a reader tells deltas apart without decoding
JSON. Left out: `created` and `deleted`, which would differ in size.
"""

from __future__ import annotations

from collections.abc import Iterable

SESSIONS = 64
STAMP_DIGITS = 10
STAMP_PREFIX = b'"after":{"stamp":"'
MIN_SIZE = 400
MAX_SIZE = 60_000

_PROSE = "Reads the failing test, narrows it down to the parser, proposes a fix and waits for an approval. "


def state(number: int, note: str, sessions: int = SESSIONS) -> str:
    """The JSON text of the state that delta `number` leaves behind (numbers below zero: before the run)."""
    step = number // sessions
    stamp = number % 10**STAMP_DIGITS
    return f'{{"stamp":"{stamp:010d}","planStatus":"in_progress","step":{step + 1_000_001},"note":"{note}"}}'


def session_id(number: int, sessions: int = SESSIONS) -> str:
    """The session that delta `number` is of."""
    return f"bench-{number % sessions:05d}"


def _delta(number: int, note: str, sessions: int) -> bytes:
    before = state(number - sessions, note, sessions)
    after = state(number, note, sessions)
    text = (
        f'{{"type":"updated","sessionId":"{session_id(number, sessions)}","before":{before},"after":{after},'
        '"timestamp":"2026-11-20T12:00:00.000Z"}'
    )
    return text.encode("ascii")


def deltas(start: int, count: int, size: int = 500, sessions: int = SESSIONS) -> Iterable[bytes]:
    """JSON texts of deltas `start` to `start + count - 1`, each of `size` bytes.

    Args:
        start: number of the first, from 0.
        count: how many.
        size: bytes of each, MIN_SIZE to MAX_SIZE; even numbers come out exactly, odd ones are a byte shorter.
        sessions: of how many sessions they are, in turn; at most 100,000.
    Raises:
        ValueError: a size out of range.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size must be {MIN_SIZE} to {MAX_SIZE} bytes, not {size}")
    room = (size - len(_delta(0, "", sessions))) // 2
    note = (_PROSE * (room // len(_PROSE) + 1))[:room]
    return (_delta(number, note, sessions) for number in range(start, start + count))
