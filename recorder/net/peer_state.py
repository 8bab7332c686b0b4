"""Whether the other end of a connection is gone, seen without reading from it.

Where reading is paused nobody waits for the socket, so neither a reset nor an end is told of. The kernel knows: a reset
leaves an error behind, and of an end that stands behind what is not read yet Linux tells by the state of the
connection. Left out: hosts that have vanished without a word; TCP finds those by what stays without an answer.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from enum import Enum, auto

_TCP_CLOSE, _TCP_CLOSE_WAIT = 7, 8  # of Linux' tcp_states.h


class End(Enum):
    """How the other end is."""

    OPEN = auto()
    CLOSING = auto()  # it will send nothing more; it may be reading still
    GONE = auto()


def end_of(transport: asyncio.BaseTransport) -> End:
    """How the other end of a connection is, as far as the kernel knows."""
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
