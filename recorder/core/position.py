"""A place in the one order: `epoch:seq`, or `epoch:seq:hash`, which says what lies there, too.

`seq` counts from 1 and rises by one; 0 is the place before the first delta. Within an epoch a seq is never given
twice. An epoch is ten characters of Crockford's base 32: the milliseconds of its beginning, so that epochs sort
by time. Clients are to take an epoch as it is: only whether two are the same means anything to them.

The hash is the chain's at that seq (`hash(seq)` in `core.chain`): where the order has another one there, what came
before is not what whoever holds the position has seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_SEQ = 2**63 - 1
"""The largest seq there can be: a row id of SQLite."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_POSITION = re.compile(r"([0-9A-Za-z]{1,32}):(\d{1,19})(?::([0-9A-Fa-f]{64}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order of one epoch.

    Args:
        epoch: The epoch's name.
        seq: The last seq that lies at or before this place; 0 for the very beginning.
        hash: The chain's hash there (64 hex digits, lower case), None where it is not known.
    """

    epoch: str
    seq: int
    hash: str | None = None

    def __str__(self) -> str:
        place = f"{self.epoch}:{self.seq}"
        return place if self.hash is None else f"{place}:{self.hash}"


def parse_position(text: str) -> Position | None:
    """Return the position that `text` spells, or None where it does not spell one."""
    match = _POSITION.fullmatch(text)
    if match is None or int(match[2]) > MAX_SEQ:
        return None
    return Position(match[1], int(match[2]), match[3] and match[3].lower())


def new_epoch(now_ms: int, previous: str | None = None) -> str:
    """Return a name for the epoch that begins now.

    Args:
        now_ms: Milliseconds since the Unix epoch.
        previous: The epoch before, if known: the new one sorts after it even if the clock was set back.
    """
    value = now_ms
    if previous is not None:
        value = max(value, _decode(previous) + 1)
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(45, -5, -5))


def _decode(epoch: str) -> int:
    value = 0
    for char in epoch:
        value = value * 32 + max(_ALPHABET.find(char), 0)
    return value
