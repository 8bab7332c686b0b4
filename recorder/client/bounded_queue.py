"""A queue of received events, bounded in count and in bytes, with an end.

Invariants: items come out in order, each once; cancelling a `get` or `put` loses none; there is room for at
least one item however long. After the end what is left comes out first, then everybody gets the end, each
time they ask.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """A bounded queue from one task that reads to those that take.

    Args:
        max_items: How many items may wait.
        max_bytes: From how many bytes on no more may be added.
    """

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items = max_items  # bound in count
        self._max_bytes = max_bytes  # bound in bytes
        self._items: deque[tuple[T, int]] = deque()  # what waits, with its size
        self._bytes = 0  # of what waits
        self._filled = asyncio.Event()  # set when there is something to take, or the end
        self._room = asyncio.Event()  # set when there may be capacity
        self._has_ended = False  # whether nothing more comes
        self._error: Exception | None = None  # how it ended

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_full(self) -> bool:
        """Return whether `put` would wait."""
        return len(self._items) >= self._max_items or self._bytes >= self._max_bytes

    async def put(self, item: T, size: int) -> None:
        """Add an item, once there is room.

        Args:
            item: What is added.
            size: Its bytes.
        """
        while self.is_full:
            self._room.clear()
            await self._room.wait()
        self._items.append((item, size))
        self._bytes += size
        self._filled.set()

    async def get(self) -> T:
        """Take the next item, once there is one.

        Raises:
            StopAsyncIteration: It has ended.
            Exception: What it was ended with.
        """
        while not self._items:
            if self._has_ended:
                raise self._error or StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()
        item, size = self._items.popleft()
        self._bytes -= size
        self._room.set()
        return item

    def end(self, error: Exception | None = None) -> None:
        """End the queue: nothing more will be put.

        Args:
            error: What everybody gets who takes what is no longer there; None for a plain end.
        """
        self._has_ended, self._error = True, error
        self._filled.set()

    def clear(self) -> None:
        """Drop what waits."""
        self._items.clear()
        self._bytes = 0
        self._room.set()
