"""WebSocket frames of a server: a header and the payload as it is (RFC 6455, section 5.2; servers don't mask).

The same bytes go to every subscriber, so a frame is built once, outside of any connection. Left out: control
frames and fragments, which belong to one connection.
"""

from __future__ import annotations

from struct import pack

_SHORT = [bytes((0x81, length)) for length in range(126)]


def text_frame(payload: bytes) -> bytes:
    """Return one unfragmented text frame.

    Args:
        payload: UTF-8 text.
    """
    length = len(payload)
    if length < 126:
        return _SHORT[length] + payload
    if length < 65536:
        return pack(">BBH", 0x81, 126, length) + payload
    return pack(">BBQ", 0x81, 127, length) + payload


def payload(frame: bytes) -> bytes:
    """Return the payload of a frame made by this server, without the header."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]
