"""Readers of systems that push nothing: each answer has to be asked for, from where the last one ended.

Kept true: nothing is decoded but the head of an answer; the next question goes out as soon as the answer before it is
there, whole; at most one is open. The deltas of a run are numbered without a gap, so how many have come says where to
go on.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench_suite.errors import BenchError
from bench_suite.frames import MarkerCounter


@dataclass(frozen=True, slots=True)
class Polling:
    """The requests of a poll, and the end of an answer."""

    # The question: formatted with the number of deltas that the reader has had.
    ask: bytes
    # A regular expression of an answer's first bytes, whose group is the number of deliveries in it.
    head: bytes
    # How long the head may be, in bytes.
    head_bytes: int
    # What every delivery ends with: no longer than its marker, and not to be found at its start.
    end: bytes

    def to_json(self) -> dict[str, Any]:
        """A form that JSON can carry."""
        texts = {name: getattr(self, name).decode("latin-1") for name in ("ask", "head", "end")}
        return {**texts, "head_bytes": self.head_bytes}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Polling:
        """Return what `to_json` made."""
        ask, head, end = (value[name].encode("latin-1") for name in ("ask", "head", "end"))
        return cls(ask, head, value["head_bytes"], end)


class PollingCounter(MarkerCounter):
    """Counts a marker in answers, and asks for the next one after each."""

    __slots__ = ("_asked_at", "_due", "_head", "_polling", "_sock")

    def __init__(self, marker: bytes, buffer: bytearray, polling: Polling, sock: socket.socket) -> None:
        """Takes what `MarkerCounter` takes, how to ask, and where. Asks for the first answer."""
        super().__init__(marker, buffer)
        self._polling = polling
        self._sock = sock
        # The count when it was asked for.
        self._asked_at = 0
        # The first bytes of the answer that is coming.
        self._head = b""
        # What the count will be at its end; None until its head is there.
        self._due: int | None = None
        self._ask()

    def receive(self, recv_into: Callable[[memoryview], int]) -> int:
        """Reads a piece and counts in it; when an answer is whole with it, asks for the next one.

        Raises:
            BenchError: it is no answer.
        """
        size = super().receive(recv_into)
        if self._due is None:
            self._read_head(bytes(self._view[: min(size, self._polling.head_bytes)]))
        if self.count == self._due and self.ends_with(self._polling.end):
            self._ask()
        return size

    def _read_head(self, data: bytes) -> None:
        self._head += data
        if match := re.match(self._polling.head, self._head):
            self._due = self._asked_at + int(match[1])
        elif len(self._head) >= self._polling.head_bytes:
            raise BenchError(f"no answer that a reader knows: {self._head!r}")

    def _ask(self) -> None:
        self._asked_at, self._head, self._due = self.count, b"", None
        self._sock.sendall(self._polling.ask % self.count)


def counter_of(
    polling: Polling | None, marker: bytes, buffer: bytearray, sock: socket.socket
) -> MarkerCounter:
    """Return what counts a reader's deliveries, and asks for them where that has to be."""
    return PollingCounter(marker, buffer, polling, sock) if polling else MarkerCounter(marker, buffer)
