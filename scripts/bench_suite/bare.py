"""Bare sockets: for every publisher's frame that comes in, the same ready-made frame to every subscriber.

It looks at nothing but the first frame's length: they all have the same, so bytes are counted. This is the limit of the
harness (loopback, kernel, readers), and no server that does anything can be expected above it. It keeps no
queues, since what a subscriber still has to get is a number; so nothing has to hold the publisher up either.
"""

from __future__ import annotations

import select
import socket
import sys
from typing import NoReturn

from bench_suite.frames import client_frame
from bench_suite.payload import deltas

# Any valid answer does: the readers don't check the key.
ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
FRAMES_IN_BLOCK = 400
MAX_WRITE = 1 << 18


def delivery(size: int) -> bytes:
    """A frame as long as one that carries a delta of `size` bytes, its number, time and hash."""
    delta = next(iter(deltas(0, 1, size)))
    text = (
        b'{"event":"delta","seq":1234567,"recordedAt":"2026-11-20T12:00:00.000Z","hash":"'
        + b"0123456789abcdef" * 4 + b'","delta":' + delta + b"}"
    )  # fmt: skip
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text


class Subscriber:
    """One reader and how far it is."""

    __slots__ = ("sent", "sock", "waits")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        # Bytes written so far.
        self.sent = 0
        # Whether epoll tells when it can be written again.
        self.waits = False


class BareServer:
    """One loop, no protocol."""

    def __init__(self) -> None:
        # Bytes of a frame to a subscriber and of a frame from a publisher; the former, many times. Known from the
        # first frame's head on.
        self._frame_size = 0
        self._publish_size = 0
        self._block = memoryview(b"")
        self._epoll = select.epoll()
        self._new: dict[int, tuple[socket.socket, bytes]] = {}
        self._publishers: dict[int, socket.socket] = {}
        self._subscribers: dict[int, Subscriber] = {}
        # Bytes that publishers have sent, and that every subscriber shall therefore get.
        self._published = 0
        self._due = 0

    def run(self, listener: socket.socket) -> NoReturn:
        """Serves for ever."""
        self._epoll.register(listener, select.EPOLLIN)
        while True:
            for fd, _ in self._epoll.poll():
                if fd == listener.fileno():
                    self._accept(listener)
                elif fd in self._new:
                    self._open(fd)
                elif fd in self._publishers:
                    self._take(fd)
                else:
                    self._write(fd, self._subscribers[fd])

    def _learn(self, head: bytes) -> None:
        """Takes the size of a delta from the head of a frame, which must be one of 16 bits' length."""
        assert head[1] & 0x7F == 126
        size = int.from_bytes(head[2:4], "big")
        frame = delivery(size)
        self._frame_size = len(frame)
        self._block = memoryview(frame * FRAMES_IN_BLOCK)
        self._publish_size = len(client_frame(bytes(size)))

    def _accept(self, listener: socket.socket) -> None:
        sock, _ = listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._new[sock.fileno()] = (sock, b"")
        self._epoll.register(sock, select.EPOLLIN)

    def _open(self, fd: int) -> None:
        sock, request = self._new.pop(fd)
        request += sock.recv(1 << 16)
        if b"\r\n\r\n" not in request:
            self._new[fd] = (sock, request)
            return
        sock.sendall(ACCEPT)
        if request.startswith(b"GET /publish"):
            self._publishers[fd] = sock
        else:
            self._subscribers[fd] = reader = Subscriber(sock)
            reader.sent = self._due
            self._epoll.modify(fd, 0)

    def _take(self, fd: int) -> None:
        data = self._publishers[fd].recv(1 << 16)
        if not data:
            self._epoll.unregister(fd)
            self._publishers.pop(fd).close()
            return
        if not self._published:
            self._learn(data)
        self._published += len(data)
        self._due = self._published // self._publish_size * self._frame_size
        for other, reader in list(self._subscribers.items()):
            if not reader.waits:
                self._write(other, reader)

    def _write(self, fd: int, reader: Subscriber) -> None:
        try:
            while (left := self._due - reader.sent) > 0:
                at = reader.sent % len(self._block)
                reader.sent += reader.sock.send(self._block[at : at + min(left, MAX_WRITE)])
        except BlockingIOError:
            self._wait(fd, reader, True)
        except OSError:
            self._epoll.unregister(fd)
            self._subscribers.pop(fd).sock.close()
        else:
            self._wait(fd, reader, False)

    def _wait(self, fd: int, reader: Subscriber, waits: bool) -> None:
        if reader.waits != waits:
            reader.waits = waits
            self._epoll.modify(fd, select.EPOLLOUT if waits else 0)


def main() -> NoReturn:
    """Serves on a port that the system gives, until it is ended."""
    server = BareServer()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    sys.stdout.write(f"listening on http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    server.run(listener)


if __name__ == "__main__":
    main()
