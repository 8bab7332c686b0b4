"""A place in the one order: `epoch:seq`.

`seq` counts from 1 and rises by one; 0 is the place before the first delta. Within an epoch a seq is never given
twice. An epoch is ten characters of Crockford's base 32: the milliseconds of its beginning, so that epochs sort
by time. Clients are to take an epoch as it is: only whether two are the same means anything to them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_SEQ = 2**63 - 1
"""The largest seq there can be: a row id of SQLite."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_POSITION = re.compile(r"([0-9A-Za-z]{1,32}):(\d{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order of one epoch.

    Args:
        epoch: The epoch's name.
        seq: The last seq that lies at or before this place; 0 for the very beginning.
    """

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}"


def parse_position(text: str) -> Position | None:
    """The position that `text` spells, or None where it does not spell one."""
    match = _POSITION.fullmatch(text)
    if match is None or int(match[2]) > MAX_SEQ:
        return None
    return Position(match[1], int(match[2]))


def new_epoch(now_ms: int, previous: str | None = None) -> str:
    """A name for the epoch that begins now.

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
