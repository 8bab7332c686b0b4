"""Frames on their way to the server, and the answers they wait for: no I/O, no clock, no task.

Answers carry no number: the oldest frame that was sent is the one that is answered. Invariants: frames go
out in the order they were added; after a cut every frame that was sent and not answered is either sent
again, before all others and in its order, because doing so twice records it once, or is given back as
uncertain; bounded in count and bytes. A frame that the server did not take, for now, is sent again on the next
connection, and nothing more on this one: what follows it must not overtake it.

A server that closes with 1009 says that a frame was too long, but not which. From then on one frame is under
way at a time, until all that were are answered: the next 1009 names its frame.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from recorder.client.encode import Frame

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Entry(Generic[T]):
    """A frame under way.

    Args:
        frame: The frame.
        owner: Whoever waits for its answer.
        was_sent: Whether it went to a connection, now or before.
        is_abandoned: Whether nobody waits any more.
    """

    frame: Frame
    owner: T
    was_sent: bool = False
    is_abandoned: bool = False


class InFlight(Generic[T]):
    """The frames that were sent and not answered.

    Args:
        max_frames: How many frames there is room for.
        max_bytes: How many bytes of text there is room for; a longer frame has room when it is alone.
    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames  # bound in count
        self._max_bytes = max_bytes  # bound in bytes
        self._sent: deque[Entry[T]] = deque()  # handed to the connection, unanswered, oldest first
        self._refused: deque[Entry[T]] = (
            deque()
        )  # rejected frames, sent again on the next connection, oldest first
        self._unsent: deque[Entry[T]] = deque()  # still to go
        self._bytes = 0  # of all three
        self._careful = 0  # frames still to be sent one at a time

    def __len__(self) -> int:
        return len(self._sent) + len(self._refused) + len(self._unsent)

    def has_room(self, size: int) -> bool:
        """Return whether a frame of this many bytes may be added."""
        return len(self) == 0 or (len(self) < self._max_frames and self._bytes + size <= self._max_bytes)

    def add(self, frame: Frame, owner: T) -> Entry[T]:
        """Append a frame."""
        entry = Entry(frame, owner)
        self._unsent.append(entry)
        self._bytes += len(frame.text)
        return entry

    def next(self) -> Entry[T] | None:
        """Return the frame to send now and count it as sent; None if there is none."""
        if not self._unsent or self._refused or (self._careful and self._sent):
            return None
        entry = self._unsent.popleft()
        entry.was_sent = True
        self._sent.append(entry)
        return entry

    @property
    def oldest(self) -> Entry[T] | None:
        """The frame that the next answer is for; None where none is due."""
        return self._sent[0] if self._sent else None

    def answered(self) -> Entry[T]:
        """Register an answer and return the frame that it belongs to. Raises IndexError if none was due."""
        entry = self._sent.popleft()
        self._careful = max(self._careful - 1, 0)
        return self._forget(entry)

    def not_taken(self) -> None:
        """Register that the oldest frame was rejected whole; it may be sent again on the next connection."""
        entry = self._sent.popleft()
        self._careful = max(self._careful - 1, 0)
        entry.was_sent = False
        if entry.is_abandoned:
            self._forget(entry)
        else:
            self._refused.append(entry)

    @property
    def is_stalled(self) -> bool:
        """Return whether sending waits for the next connection: a frame was rejected and no answer is due."""
        return bool(self._refused) and not self._sent

    def abandon(self, entry: Entry[T]) -> None:
        """Abandon a frame nobody waits for: it is not sent (again), but its answer is still assigned to it."""
        entry.is_abandoned = True
        for waiting in (self._unsent, self._refused):
            if entry in waiting:
                waiting.remove(entry)
                self._forget(entry)

    def cut(self) -> list[Entry[T]]:
        """Register that the connection is lost.

        Returns:
            Those that may be recorded or not and must not be sent again.
        """
        again = list(self._refused)
        lost: list[Entry[T]] = []
        for entry in self._sent:
            (again if entry.frame.is_repeatable and not entry.is_abandoned else lost).append(entry)
        self._sent.clear()
        self._refused.clear()
        self._unsent.extendleft(reversed(again))
        return [self._forget(entry) for entry in lost]

    def cut_too_long(self) -> Entry[T] | None:
        """Register that the connection closes because a frame was too long; call `cut` after it.

        Returns:
            The frame, where it is known: it is refused, and not part of what `cut` returns.
        """
        if len(self._sent) == 1:
            return self._forget(self._sent.popleft())
        self._careful = len(self._sent)
        return None

    def clear(self) -> list[Entry[T]]:
        """Remove and return all frames, oldest first."""
        entries = [*self._refused, *self._sent, *self._unsent]
        self._refused.clear()
        self._sent.clear()
        self._unsent.clear()
        self._bytes = 0
        return entries

    def _forget(self, entry: Entry[T]) -> Entry[T]:
        self._bytes -= len(entry.frame.text)
        return entry
