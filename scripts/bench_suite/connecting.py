"""The connection to a system: what to send, what to wait for, in a form that travels between processes.

A WebSocket takes one step, NATS or MQTT over it take more; nothing else of the harness needs to know.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from bench_suite.errors import BenchError
from bench_suite.frames import upgrade_request
from bench_suite.polling import Polling

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Opening:
    """An address and the steps that make a connection ready: (bytes to send, bytes to read up to; empty: none)."""

    host: str
    port: int
    steps: tuple[tuple[bytes, bytes], ...]
    # What the server says by itself once the connection is ready: waited for, but left to the reader.
    greeting: bytes = b""
    # How a reader asks for what comes, where it has to.
    polling: Polling | None = None

    def to_json(self) -> dict[str, Any]:
        """A form that JSON can carry."""
        steps = [[send.decode("latin-1"), until.decode("latin-1")] for send, until in self.steps]
        greeting = self.greeting.decode("latin-1")
        polling = self.polling and self.polling.to_json()
        return {
            "host": self.host, "port": self.port, "steps": steps, "greeting": greeting, "polling": polling
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Opening:
        """Return what `to_json` made."""
        steps = tuple((send.encode("latin-1"), until.encode("latin-1")) for send, until in value["steps"])
        polling = value["polling"] and Polling.from_json(value["polling"])
        return cls(value["host"], value["port"], steps, value["greeting"].encode("latin-1"), polling)

    def connect(self) -> tuple[socket.socket, bytes]:
        """Takes all the steps.

        Returns:
            The socket, non-blocking, and what was read beyond the last step (the greeting, for one).
        Raises:
            BenchError: refused, or something else than the expected was said.
        """
        sock = socket.create_connection((self.host, self.port), TIMEOUT_S)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            rest = b""
            for send, until in self.steps:
                sock.sendall(send)
                if until:
                    rest = _read_until(sock, rest, until).partition(until)[2]
            rest = _read_until(sock, rest, self.greeting)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock, rest


def _read_until(sock: socket.socket, read: bytes, until: bytes) -> bytes:
    while until not in read:
        try:
            data = sock.recv(1 << 16)
        except TimeoutError as error:
            raise BenchError(f"waited {TIMEOUT_S} s for {until!r} after {read[-300:]!r}") from error
        if not data:
            raise BenchError(f"closed while waiting for {until!r}; said {read[-300:]!r}")
        read += data
    if read.startswith(b"HTTP/1.1 ") and not read.startswith(b"HTTP/1.1 101"):
        raise BenchError(f"no upgrade: {read[:300]!r}")
    return read


def websocket(
    host: str,
    port: int,
    target: str,
    *,
    greeting: bytes = b"",
    subprotocol: str = "",
    then: tuple[tuple[bytes, bytes], ...] = (),
) -> Opening:
    """The opening of a WebSocket, and of what is spoken over it.

    Args:
        host, port: where.
        target: path and query.
        greeting: something the server says by itself once the connection is open, to be waited for.
        subprotocol: offered, where the server asks for one.
        then: further steps, as those of `Opening`; what is sent are whole frames.
    """
    upgrade = upgrade_request(host, port, target, subprotocol)
    return Opening(host, port, ((upgrade, b"\r\n\r\n"), *then), greeting)
