"""The newest entries, kept in memory so that history can be joined to live without a seam.

Invariant: it holds, without a gap, everything from `first_seq` to the head, and at least everything that is not yet in
the store. What the store has is let go, oldest first, beyond a bound in bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from recorder.core.chain import digest
from recorder.core.delta import Entry
from recorder.wire.events import EVENT_OPENING, item_text
from recorder.wire.frames import text_frame


class Tail:
    """A gapless run of entries that ends at the head.

    Args:
        head: The seq before the first entry that will be added.
        max_bytes: Frame bytes kept of what is recorded already.
        head_hash: The chain's hash at `head`, None where the chain is off.
    """

    def __init__(self, head: int, max_bytes: int = 8 << 20, head_hash: bytes | None = None) -> None:
        self._entries: deque[Entry] = deque()  # gapless, ascending
        self._bytes = 0  # frame bytes in it
        self._head = head  # seq of the newest entry ever added
        self._recorded = head  # highest seq that the store has
        self._max_bytes = max_bytes
        self.head_hash = head_hash  # the chain's at the newest entry ever added; None where the chain is off

    @property
    def first_seq(self) -> int:
        """The seq of the oldest entry held; head + 1 where there is none."""
        return self._entries[0].seq if self._entries else self._head + 1

    def extend(self, entries: Sequence[Entry]) -> int:
        """Add the next entries, at least one, and return the bytes of their frames."""
        self._entries.extend(entries)
        size = sum([len(entry.frame) for entry in entries])
        self._bytes += size
        self._head = entries[-1].seq
        self.head_hash = entries[-1].hash
        if self._bytes > self._max_bytes:
            self._trim()
        return size

    def recorded(self, seq: int) -> None:
        """Register that the store has everything up to `seq`."""
        self._recorded = seq
        if self._bytes > self._max_bytes:
            self._trim()

    def after(self, seq: int) -> list[Entry] | None:
        """Return every entry after `seq` up to the head; None if some of them are no longer in memory."""
        skip = seq + 1 - self.first_seq
        if skip < 0:
            return None
        return list(islice(self._entries, skip, None))

    def at(self, seq: int) -> Entry | None:
        """Return the entry with this seq; None if it is not in memory."""
        place = seq - self.first_seq
        return self._entries[place] if 0 <= place < len(self._entries) else None

    def erase(self, session_id: str, through: int) -> None:
        """Take the states out of a session's entries up to a seq; their digests stand in their frames."""
        for entry in self._entries:
            if entry.session_id == session_id and entry.seq <= through:
                self._bytes -= len(entry.frame)
                _erase(entry)
                self._bytes += len(entry.frame)

    def first_at(self, time: str) -> int | None:
        """Return the first seq recorded at or after `time` (fixed-width form); None if it may be older than
        this run.
        """
        if not self._entries or self._entries[0].recorded_at >= time:
            return None
        for entry in self._entries:
            if entry.recorded_at >= time:
                return entry.seq
        return self._head + 1

    def _trim(self) -> None:
        entries, recorded = self._entries, self._recorded
        while self._bytes > self._max_bytes and entries and entries[0].seq <= recorded:
            self._bytes -= len(entries.popleft().frame)


def _erase(entry: Entry) -> None:
    states = (entry.before, entry.after)
    if states == (None, None):
        return
    entry.before = entry.after = None
    event = item_text(
        entry.seq,
        entry.recorded_at,
        entry.hash,
        (entry.type, entry.session_id),
        (None, None),
        entry.timestamp,
        (entry.id, entry.id_digest, entry.before_filled, entry.lineage),
        EVENT_OPENING,
        (_digest(states[0]), _digest(states[1])),
    )
    entry.frame = text_frame(event.encode())


def _digest(state: str | None) -> bytes | None:
    return None if state is None else digest(state)
