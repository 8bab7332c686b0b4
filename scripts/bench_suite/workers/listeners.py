"""The readers of a latency run: few sockets, frames taken apart, and for every delta when it came.

Kept true: a latency is counted from the moment at which the delta was *to be* sent, so that a stall is paid
for by every delta that it held up; each reader notes each delta by number, so what is lost, doubled or out of
order is told. Pings are answered, so that no server takes a long run for a dead connection.
"""

from __future__ import annotations

import select
import socket
import time
from array import array
from typing import Any

from bench_suite.connecting import Opening
from bench_suite.errors import BenchError
from bench_suite.figures import percentile
from bench_suite.frames import BINARY, CLOSE, PING, PONG, TEXT, FrameParser, client_frame
from bench_suite.payload import STAMP_DIGITS, STAMP_PREFIX
from bench_suite.workers.commands import obey, reply


class Listener:
    """One subscriber and when it got what."""

    def __init__(self, sock: socket.socket) -> None:
        """Takes an open socket."""
        self.sock = sock
        self.parser = FrameParser()
        # Deltas whose arrival is noted: from `start`, one place each; 0 is "not yet".
        self.start = 0
        self.arrived_ns = array("q")
        self.received = 0
        self.twice = 0
        self.out_of_order = 0
        self.last = -1
        # Why the server closed it, once it has.
        self.closed = ""

    def begin(self, start: int, count: int) -> None:
        """Starts to note deltas `start` to `start + count - 1`."""
        self.start, self.arrived_ns = start, array("q", bytes(8 * count))
        self.received = self.twice = self.out_of_order = 0

    @property
    def complete(self) -> bool:
        """Return whether every delta has come."""
        return self.received >= len(self.arrived_ns)

    def receive(self) -> None:
        """Reads a piece and notes what it completes."""
        data = self.sock.recv(1 << 18)
        now = time.monotonic_ns()
        if not data:
            self.closed = self.closed or "without a close frame"
        self.feed(data, now)

    def feed(self, data: bytes, now_ns: int) -> None:
        """Notes what `data` completes as having come at `now_ns`."""
        for opcode, payload in self.parser.feed(data):
            if opcode in (TEXT, BINARY):
                self._note_all(payload, now_ns)
            elif opcode == PING:
                self.sock.send(client_frame(payload, opcode=PONG))
            elif opcode == CLOSE:
                self.closed = f"{int.from_bytes(payload[:2], 'big')} {payload[2:].decode(errors='replace')}"

    def _note_all(self, payload: bytes, now_ns: int) -> None:
        # Some servers put several deltas in a frame.
        at = payload.find(STAMP_PREFIX)
        while at >= 0:
            at += len(STAMP_PREFIX)
            self._note(int(payload[at : at + STAMP_DIGITS]), now_ns)
            at = payload.find(STAMP_PREFIX, at)

    def _note(self, number: int, now_ns: int) -> None:
        self.out_of_order += number <= self.last
        self.last = number
        place = number - self.start
        if not 0 <= place < len(self.arrived_ns) or self.arrived_ns[place]:
            self.twice += 1
            return
        self.arrived_ns[place] = now_ns
        self.received += 1


class Listeners:
    """The listeners of this process."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._listeners: dict[int, Listener] = {}

    def open(self, opening: dict[str, Any], count: int) -> dict[str, Any]:
        """Connects `count` of them."""
        for _ in range(count):
            sock, rest = Opening.from_json(opening).connect()
            listener = Listener(sock)
            listener.feed(rest, time.monotonic_ns())
            self._listeners[sock.fileno()] = listener
            self._epoll.register(sock, select.EPOLLIN)
        return {"connected": len(self._listeners)}

    def listen(self, start: int, count: int, t0_ns: int, period_ns: int, timeout_s: float) -> dict[str, Any]:
        """Waits until every listener has had each of `count` deltas, and for a moment longer.

        Args:
            start: number of the first. t0_ns, period_ns: when the first was due to be sent (monotonic clock),
            and how long after it the next. timeout_s: when to give up.
        """
        for listener in self._listeners.values():
            listener.begin(start, count)
        reply({"armed": True})
        deadline = time.monotonic() + timeout_s
        while not all(listener.complete or listener.closed for listener in self._listeners.values()):
            if not (events := self._epoll.poll(max(0.0, deadline - time.monotonic()))):
                break
            self._receive(events)
        # What comes now would come twice.
        for _ in range(3):
            self._receive(self._epoll.poll(0.02))
        return self._report(count, t0_ns, period_ns)

    def _receive(self, events: list[tuple[int, int]]) -> None:
        for fd, _ in events:
            listener = self._listeners[fd]
            listener.receive()
            if listener.closed:
                self._epoll.unregister(fd)

    def _report(self, count: int, t0_ns: int, period_ns: int) -> dict[str, Any]:
        everyone = list(self._listeners.values())
        latencies_ms = sorted(
            (arrived - t0_ns - place * period_ns) / 1e6
            for listener in everyone
            for place, arrived in enumerate(listener.arrived_ns)
            if arrived
        )
        if not latencies_ms:
            raise BenchError(f"no delta reached any of {len(everyone)} readers")
        return {
            "p50_ms": percentile(latencies_ms, 50),
            "p99_ms": percentile(latencies_ms, 99),
            "p999_ms": percentile(latencies_ms, 99.9),
            "max_ms": latencies_ms[-1],
            "end_ms": max(listener.arrived_ns[-1] for listener in everyone) / 1e6
            - (t0_ns + (count - 1) * period_ns) / 1e6,
            "missing": sum(count - listener.received for listener in everyone),
            "twice": sum(listener.twice for listener in everyone),
            "out_of_order": sum(listener.out_of_order for listener in everyone),
            "closed": [listener.closed for listener in everyone if listener.closed],
        }


if __name__ == "__main__":
    listeners = Listeners()
    obey({"open": listeners.open, "listen": listeners.listen})
