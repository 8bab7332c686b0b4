"""The state of a connection's peer as the kernel knows it, without reading from the socket.

Is it gone? Where reading is paused nobody waits for the socket, so neither a reset nor an end is reported. A reset
leaves an error behind, and an end that stands behind unread data shows in the connection's state (Linux).

Does it read? The transport's buffer alone cannot tell: the kernel takes megabytes of its own, and asks for more only
once a third of them is free again, which a steady reader of 30 kB/s reaches every 44 seconds. So the bytes that the
kernel has not got acknowledged count as unread, too. Left out: what lies in the other end's receive buffer, which is
acknowledged and not read, and hosts that have vanished without a word, which TCP finds by what stays unanswered.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from enum import Enum, auto
from typing import Any

if sys.platform == "linux":
    import fcntl
    import termios

_TCP_CLOSE, _TCP_CLOSE_WAIT = 7, 8  # of Linux' tcp_states.h


class End(Enum):
    """The state of the peer of a connection."""

    OPEN = auto()
    CLOSING = auto()  # it will send nothing more; it may be reading still
    GONE = auto()


def end_of(transport: asyncio.BaseTransport) -> End:
    """Return the state of the peer's end of a connection, as far as the kernel knows."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return End.OPEN
    try:
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return End.GONE
        if sys.platform != "linux":
            return End.OPEN
        state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return End.GONE
    return {_TCP_CLOSE: End.GONE, _TCP_CLOSE_WAIT: End.CLOSING}.get(state, End.OPEN)


def outstanding(transport: asyncio.WriteTransport) -> int:
    """Return the bytes that were written and that the other end's host has not acknowledged yet.

    Where the kernel does not say (other systems than Linux), only the transport's own buffer counts.
    """
    return transport.get_write_buffer_size() + _unacknowledged(transport)


def _unacknowledged(transport: asyncio.BaseTransport) -> int:
    """Return the bytes in the kernel's send queue, sent or not (SIOCOUTQ); 0 where that is not known."""
    sock = transport.get_extra_info("socket")
    if sock is None or sys.platform != "linux":
        return 0
    try:
        # SIOCOUTQ of a socket has the number of TIOCOUTQ.
        found: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
    except (OSError, ValueError):
        return 0  # closed meanwhile
    return found


def host_of(address: Any) -> str:
    """Return the host of a socket's address."""
    return str(address[0]) if isinstance(address, tuple) else ""
