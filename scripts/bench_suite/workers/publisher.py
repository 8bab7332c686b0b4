"""The publisher: one connection that sends frames made beforehand, as fast as it may or by a timetable.

Kept true: encoding and masking happen in `prepare`, never while the clock runs; back-pressure is respected
(what the socket doesn't take waits); answers are read all the while, so that a server is never blocked on
them; a refusal is an error. The timetable is an open loop: what is late is sent at once, the plan is never
moved.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress
from typing import Any

from bench_suite.connecting import Opening
from bench_suite.errors import BenchError
from bench_suite.frames import MarkerCounter
from bench_suite.payload import SESSIONS, deltas
from bench_suite.systems import named
from bench_suite.systems.base import Options
from bench_suite.workers.commands import obey

BLOCK_BYTES = 1 << 18
BUFFER_BYTES = 1 << 18
# Counted where a system doesn't answer: never found.
NO_ANSWER = b"\0no answer\0"


class Publisher:
    """One connection and the frames to send over it."""

    def __init__(self) -> None:
        self._sock: socket.socket = socket.socket()
        self._poll = select.poll()
        self._buffer = bytearray(BUFFER_BYTES)
        self._acks = MarkerCounter(NO_ANSWER, self._buffer)
        self._error_marker = b""
        self._answered = False
        # Answers that are due by the end of what was sent so far.
        self._expected = 0
        self._frames: list[bytes] = []

    def open(self, opening: dict[str, Any], ack_marker: str, error_marker: str) -> dict[str, Any]:
        """Connects."""
        self._sock.close()
        self._sock, rest = Opening.from_json(opening).connect()
        self._answered = bool(ack_marker)
        self._error_marker = error_marker.encode()
        self._acks = MarkerCounter(ack_marker.encode() or NO_ANSWER, self._buffer)
        self._acks.feed(rest)
        self._poll.register(self._sock, select.POLLIN)
        return {}

    def prepare(
        self, system: str, start: int, count: int, per_frame: int, size: int, sessions: int = SESSIONS
    ) -> dict[str, Any]:
        """Makes the frames of deltas `start` to `start + count - 1`."""
        made = deltas(start, count, size, sessions)
        self._frames = named(system, Options()).encode(made, per_frame)
        return {"frames": len(self._frames)}

    def flood(self, timeout_s: float) -> dict[str, Any]:
        """Sends all frames as fast as they are taken, and waits for all answers. Times: monotonic, ns."""
        frames, self._frames = self._frames, []
        self._expected += len(frames)
        rest = memoryview(b"".join(frames))
        deadline = time.monotonic() + timeout_s
        self._poll.modify(self._sock, select.POLLIN | select.POLLOUT)
        first_ns = time.monotonic_ns()
        while rest:
            for _, event in self._wait(deadline):
                if event & ~select.POLLOUT:
                    self._read()
                if event & select.POLLOUT:
                    rest = rest[self._sock.send(rest[:BLOCK_BYTES]) :]
        sent_ns = time.monotonic_ns()
        self._poll.modify(self._sock, select.POLLIN)
        self._await_answers(deadline)
        return {"first_ns": first_ns, "sent_ns": sent_ns, "acked_ns": time.monotonic_ns()}

    def pace(self, t0_ns: int, period_ns: int, timeout_s: float) -> dict[str, Any]:
        """Sends frame i at `t0_ns + i * period_ns`, or as soon after as may be, and waits for all answers.

        Returns:
            How late frames were handed to the kernel: the share of the harness, and of back-pressure, in a
            latency.
        """
        frames, self._frames = self._frames, []
        self._expected += len(frames)
        deadline = time.monotonic() + timeout_s
        lags: list[int] = []
        at = 0
        while at < len(frames):
            now = time.monotonic_ns()
            due = min(len(frames), (now - t0_ns) // period_ns + 1)
            if due <= at:
                time.sleep((t0_ns + at * period_ns - now) / 1e9)
                continue
            self._send_all(b"".join(frames[at:due]), deadline)
            sent = time.monotonic_ns()
            lags.extend(sent - (t0_ns + number * period_ns) for number in range(at, due))
            at = due
            if self._poll.poll(0):
                self._read()
        self._await_answers(deadline)
        lags.sort()
        return {"lag_p99_ms": lags[int(len(lags) * 0.99)] / 1e6, "lag_max_ms": lags[-1] / 1e6}

    def _send_all(self, data: bytes, deadline: float) -> None:
        rest = memoryview(data)
        while True:
            with suppress(BlockingIOError):
                rest = rest[self._sock.send(rest) :]
            if not rest:
                return
            self._poll.modify(self._sock, select.POLLIN | select.POLLOUT)
            if any(event & ~select.POLLOUT for _, event in self._wait(deadline)):
                self._read()
            self._poll.modify(self._sock, select.POLLIN)

    def _await_answers(self, deadline: float) -> None:
        while self._answered and self._acks.count < self._expected:
            self._wait(deadline)
            self._read()

    def _wait(self, deadline: float) -> list[tuple[int, int]]:
        events = self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not events:
            raise BenchError(
                f"publisher: out of time with {self._acks.count} of {self._expected} frames answered"
            )
        return events

    def _read(self) -> None:
        size = self._acks.receive(self._sock.recv_into)
        if not size:
            raise BenchError(f"publisher: closed by the server after {self._acks.count} answers")
        if (at := self._buffer.find(self._error_marker, 0, size + 64)) >= 0:
            raise BenchError(f"publisher: refused: {bytes(self._buffer[at : at + 300])!r}")


if __name__ == "__main__":
    publisher = Publisher()
    obey({
        "open": publisher.open,
        "prepare": publisher.prepare,
        "flood": publisher.flood,
        "pace": publisher.pace,
    })  # fmt: skip
