"""Frames compressed once for everybody (permessage-deflate, RFC 7692): a message by itself, with no memory of others.

What the server sends depends on nothing that it sent before (`server_no_context_takeover`) and needs no larger window
than all have, so the same bytes go to every connection that agreed. What is short, or gets no shorter, goes as it is:
compression is agreed on for a connection, and used for each message or not. Reading what clients compress is left to
the state machine of `websockets`, which stops at the bound of a message.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from struct import pack

from recorder.wire.frames import payload

WINDOW_BITS = 15
"""The window that a client must have; one that asks for a smaller one is sent everything as it is."""
LEVEL = 1
"""Of zlib: the ratio rises little beyond it and the cost much."""
SHORT = 150
"""Bytes of a payload that are not worth it."""

_SYNC_TAIL = b"\x00\x00\xff\xff"


def packed_frame(frame: bytes) -> bytes:
    """Return a text frame of this server, compressed if that makes it shorter.

    Args:
        frame: As `frames.text_frame` makes it.
    """
    text = payload(frame)
    if len(text) < SHORT:
        return frame
    # A window and tables no larger than the text can use: they are created for each message.
    bits = min(WINDOW_BITS, max(9, len(text).bit_length()))
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -bits, min(8, bits - 7))
    data = (packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_SYNC_TAIL)
    if len(data) >= len(text):
        return frame
    if len(data) < 126:
        return pack(">BB", 0xC1, len(data)) + data
    if len(data) < 65536:
        return pack(">BBH", 0xC1, 126, len(data)) + data
    return pack(">BBQ", 0xC1, 127, len(data)) + data


def packed_frames(frames: Iterable[bytes]) -> bytes:
    """Return the joined frames, each compressed if that makes it shorter."""
    return b"".join([packed_frame(frame) for frame in frames])
