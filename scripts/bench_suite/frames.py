"""Just enough WebSocket for a client that must cost little: a handshake, masked frames, two ways to read.

`MarkerCounter` counts deliveries without looking at frames: for throughput. `FrameParser` takes frames apart:
for latency, where pings have to be answered and a close code matters. Left out: everything else of RFC 6455.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


def upgrade_request(host: str, port: int, target: str, subprotocol: str = "") -> bytes:
    """The HTTP request that opens a WebSocket without extensions; the key is fixed, nobody relies on it."""
    offered = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offered}\r\n"
    ).encode("ascii")


def mask(payload: bytes, key: bytes) -> bytes:
    """`payload` XORed with the four bytes of `key`, over and over."""
    size = len(payload)
    pad = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


def client_frame(payload: bytes, *, opcode: int = TEXT, key: bytes | None = None) -> bytes:
    """One whole, final, masked frame as clients send them.

    Args:
        payload: what it carries.
        opcode: text unless given.
        key: four bytes; random unless given.
    """
    key = os.urandom(4) if key is None else key
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + key + mask(payload, key)


def groups(deltas: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """The deltas in order, `size` at a time; the last group may be shorter."""
    rest = iter(deltas)
    while group := list(islice(rest, size)):
        yield group


def publish_frames(deltas: Iterable[bytes], per_frame: int) -> Iterator[bytes]:
    """Masked frames of one delta each, or of JSON arrays of up to `per_frame` deltas."""
    if per_frame == 1:
        return map(client_frame, deltas)
    return (client_frame(b"[" + b",".join(group) + b"]") for group in groups(deltas, per_frame))


class MarkerCounter:
    """Counts a marker in a stream that arrives in arbitrary pieces: one search per piece, no copy of it.

    All counters of a process share one buffer: its first `len(marker) - 1` bytes take the end of this
    stream's previous piece, so that a marker split over two pieces is found, and none can be found twice,
    since what is kept is shorter than the marker. The marker must not overlap itself.
    """

    __slots__ = ("_buffer", "_keep", "_marker", "_tail", "_view", "count")

    def __init__(self, marker: bytes, buffer: bytearray) -> None:
        """Takes a marker of at least one byte, and a buffer well longer than it."""
        self._marker = marker
        self._keep = len(marker) - 1
        self._buffer = buffer
        # The last bytes of what came before, at most `_keep` of them.
        self._tail = b""
        self._view = memoryview(buffer)[self._keep :]
        # Markers seen so far.
        self.count = 0

    def receive(self, recv_into: Callable[[memoryview], int]) -> int:
        """Reads a piece and counts in it.

        Args:
            recv_into: fills the start of a buffer, and returns how many bytes it wrote.
        Returns:
            What `recv_into` returned; 0 is the end of the stream.
        """
        size = recv_into(self._view)
        tail, keep, buffer = self._tail, self._keep, self._buffer
        begin, end = keep - len(tail), keep + size
        buffer[begin:keep] = tail
        self.count += buffer.count(self._marker, begin, end)
        self._tail = bytes(buffer[max(begin, end - keep) : end])
        return size

    def ends_with(self, end: bytes) -> bool:
        """Return whether the stream so far ends so; `end` must be shorter than the marker."""
        return self._tail.endswith(end)

    def feed(self, data: bytes) -> None:
        """Counts in `data`, as if it had been received; it must fit in the buffer."""

        def fill(view: memoryview) -> int:
            view[: len(data)] = data
            return len(data)

        self.receive(fill)


class FrameParser:
    """Takes the frames of a server apart, from pieces of any size; expects them unmasked and unfragmented."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        # Bytes of a frame that is not complete yet.
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that `data` completes.

        Returns:
            (opcode, payload) of each, in order.
        """
        data = self._rest + data if self._rest else data
        found: list[tuple[int, bytes]] = []
        at = 0
        while (place := _payload_place(data, at)) is not None:
            begin, end = place
            found.append((data[at] & 0x0F, data[begin:end]))
            at = end
        self._rest = data[at:]
        return found


def _payload_place(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at `at` begins and ends; None while it is not all there."""
    if len(data) < at + 2:
        return None
    size, begin = data[at + 1] & 0x7F, at + 2
    if size >= 126:
        begin += 2 if size == 126 else 8
        if len(data) < begin:
            return None
        size = int.from_bytes(data[at + 2 : begin], "big")
    return (begin, begin + size) if len(data) >= begin + size else None
