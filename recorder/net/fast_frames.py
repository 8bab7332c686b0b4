"""The fast way for the frames that publishers send by the thousand: whole, unfragmented, masked text.

It takes them off the front of what was read; the first frame that is anything else (a control frame, a fragment, one
that breaks a rule) goes to the Sans-I/O state machine with all that follows. It accepts nothing that the state machine
would refuse and gives the same messages: `tests/net/test_fast_frames.py` holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Sequence

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover - a build of websockets without its C extension
    from websockets.utils import apply_mask

TEXT = 0x81
"""First byte of a final text frame without reserved bits."""
HELD_BYTES = 0xFFFF + 8
"""The longest beginning of a frame that is worth holding back: of what has a length in 16 bits."""


def take_messages(data: bytes, max_bytes: int) -> tuple[list[bytes], int]:
    """Take the complete messages at the front of what was read.

    Args:
        data: Begins at a frame's first byte.
        max_bytes: The longest message to take; a longer one is left to be refused.

    Returns:
        The payloads, unmasked, and how many bytes of `data` they were.
    """
    messages: list[bytes] = []
    start, end = 0, len(data)
    while end - start >= 6 and data[start] == TEXT:
        length = data[start + 1] - 0x80
        if 0 <= length < 126:
            payload = start + 6
        elif length == 126 and end - start >= 8:
            payload = start + 8
            length = data[start + 2] << 8 | data[start + 3]
        else:
            break
        stop = payload + length
        if stop > end or length > max_bytes:
            break
        messages.append(apply_mask(data[payload:stop], data[payload - 4 : payload]))
        start = stop
    return messages, start


def may_hold(rest: bytes, max_bytes: int) -> bool:
    """Return whether the rest is the beginning of a frame that `take_messages` will take once it is
    complete.
    """
    if len(rest) < 2:
        return rest[:1] in (b"", b"\x81")
    length = rest[1] - 0x80
    if rest[0] != TEXT or not 0 <= length <= 126:
        return False
    if length == 126 and len(rest) >= 4:
        length = rest[2] << 8 | rest[3]
    return length <= max_bytes


def utf8_count(messages: Sequence[bytes]) -> int:
    """Return the number of messages that are UTF-8 before the first one that is not."""
    for count, message in enumerate(messages):
        if not message.isascii():
            try:
                message.decode()
            except UnicodeDecodeError:
                return count
    return len(messages)
