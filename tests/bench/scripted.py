"""A server of one connection that says what it was told to, whatever it is asked."""

from __future__ import annotations

import socket
import threading
from typing import Self

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


class Scripted:
    """A server for one connection, which is sent these pieces once it has said something."""

    def __init__(self, *says: bytes, stay: bool = True) -> None:
        """Takes the pieces, and whether the connection is left open until the other side closes it."""
        self._says = says
        self._stay = stay
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
        with sock:
            sock.recv(1 << 16)
            for piece in self._says:
                sock.sendall(piece)
            if self._stay:
                while sock.recv(1 << 16):
                    pass
