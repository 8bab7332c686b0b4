"""The readers: many raw sockets in one process, in an epoll loop that only counts.

Kept true: a delivery is counted once, wherever the pieces it comes in are cut; a reader that is closed is
told; what comes beyond the expected is told. Nothing is decoded.
"""

from __future__ import annotations

import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench_suite.connecting import Opening
from bench_suite.errors import BenchError
from bench_suite.frames import MarkerCounter
from bench_suite.polling import counter_of
from bench_suite.workers.commands import obey, reply

BUFFER_BYTES = 1 << 18
# Connections that are being opened at the same time.
AT_A_TIME = 32


class Readers:
    """The sockets of this process and their counts."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, tuple[socket.socket, MarkerCounter]] = {}
        # Deliveries that each reader should have had by the end of the phase.
        self._expected = 0

    def open(self, opening: dict[str, Any], marker: str, count: int) -> dict[str, Any]:
        """Connects `count` readers, some at the same time: there are servers that take their time over it."""
        buffer = bytearray(BUFFER_BYTES)
        made = Opening.from_json(opening)
        with ThreadPoolExecutor(min(count, AT_A_TIME)) as pool:
            for sock, rest in pool.map(lambda _: made.connect(), range(count)):
                counter = counter_of(made.polling, marker.encode(), buffer, sock)
                counter.feed(rest)
                self._readers[sock.fileno()] = (sock, counter)
                self._epoll.register(sock, select.EPOLLIN)
        return {"connected": len(self._readers)}

    def expect(self, count: int, timeout_s: float) -> dict[str, Any]:
        """Reads until every reader has had `count` more deliveries.

        Says that it listens first. Times are those of the machine's monotonic clock, in ns.
        """
        self._expected += count
        reply({"armed": True})
        deadline = time.monotonic() + timeout_s
        waiting, first_ns = len(self._readers), 0
        while waiting:
            events = self._epoll.poll(max(0.0, deadline - time.monotonic()))
            if not events:
                raise BenchError(self._shortfall(timeout_s))
            # Taken before anything is read: what came with the first delivery is on the clock, too.
            woken_ns = time.monotonic_ns()
            for fd, _ in events:
                waiting -= self._receive(fd)
            if not first_ns and self._begun(self._expected - count):
                first_ns = woken_ns
        return {"first_ns": first_ns, "last_ns": time.monotonic_ns()}

    def _begun(self, before: int) -> bool:
        """Return whether any reader has had more than it had `before`."""
        return any(counter.count > before for _, counter in self._readers.values())

    def _receive(self, fd: int) -> bool:
        """Reads one piece; whether it was the one that completed this reader."""
        sock, counter = self._readers[fd]
        before = counter.count
        if not counter.receive(sock.recv_into):
            raise BenchError(f"a reader was closed after {counter.count} of {self._expected} deliveries")
        return before < self._expected <= counter.count

    def _shortfall(self, timeout_s: float) -> str:
        counts = [counter.count for _, counter in self._readers.values()]
        late = sum(count < self._expected for count in counts)
        return (
            f"{late} of {len(counts)} readers lack deliveries after {timeout_s:.0f} s: {self._expected} due,"
            f" {min(counts)} to {max(counts)} seen"
        )

    def settle(self, wait_s: float) -> dict[str, Any]:
        """Reads on for a moment, and makes sure that nothing came twice."""
        deadline = time.monotonic() + wait_s
        while (left := deadline - time.monotonic()) > 0:
            for fd, _ in self._epoll.poll(left):
                self._receive(fd)
        counts = {counter.count for _, counter in self._readers.values()}
        if counts != {self._expected}:
            raise BenchError(
                f"readers got {min(counts)} to {max(counts)} deliveries instead of {self._expected}"
            )
        return {"deliveries": self._expected}


if __name__ == "__main__":
    readers = Readers()
    obey({"open": readers.open, "expect": readers.expect, "settle": readers.settle})
