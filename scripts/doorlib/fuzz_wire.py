"""hypothesis over the wire: frames of every kind, whole and broken, and a healthy publisher beside them.

Each example is a connection that is sent what was made up; it ends with a close frame of a known code, or stays. After
it the recorder must still take a delta and be ready.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HEAD = (
    "GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "sec-websocket-extensions: permessage-deflate\r\n\r\n"
)
CODES = {1000, 1001, 1002, 1003, 1007, 1009, 1012, 4400, 4408, 4429, *range(3000, 5000)}

PAYLOADS = st.one_of(
    st.binary(max_size=300),
    st.sampled_from(
        [
            b'{"op":"ping"}',
            b'{"op":"subscribe","since":"state"}',
            b'{"type":"updated","sessionId":"w","after":1}',
        ]
    ),
)
FRAMES = st.tuples(st.integers(0, 255), PAYLOADS, st.booleans(), st.booleans())


def frame(first: int, payload: bytes, is_masked: bool) -> bytes:
    """A frame, its first byte as it is."""
    bit, size = 0x80 if is_masked else 0, len(payload)
    head = bytes([first, bit | size]) if size < 126 else bytes([first, bit | 126]) + size.to_bytes(2, "big")
    return head + (b"\0\0\0\0" if is_masked else b"") + payload


def close_code(data: bytes) -> int | None:
    """The code of the close frame that a server's bytes end with, if they do."""
    at, code = data.index(b"\r\n\r\n") + 4, None
    while at + 2 <= len(data):
        size, start = data[at + 1] & 0x7F, at + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(data[start : start + width], "big"), start + width
        if data[at] & 0x0F == 8 and size >= 2:
            code = int.from_bytes(data[start : start + 2], "big")
        at = start + size
    return code


def run(url: str, go_on: Callable[[int], bool]) -> int:
    """Make connections up for as long as `go_on`, which is asked with their count, says so; how many there were."""
    count = 0
    where = urlsplit(url)
    with httpx.Client(base_url=url, trust_env=False) as http:

        @settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(["/ws", "/publish"]), st.lists(FRAMES, max_size=12))
        def example(target: str, made_up: list[tuple[int, bytes, bool, bool]]) -> None:
            nonlocal count
            if not go_on(count):
                return
            count += 1
            with socket.create_connection((where.hostname, where.port), timeout=10) as sock:
                sock.sendall(HEAD.format(target=target, host=where.netloc).encode())
                for first, payload, is_masked, is_plain in made_up:
                    sock.sendall(frame(0x81 if is_plain else first, payload, is_masked or is_plain))
                sock.sendall(frame(0x88, b"\x03\xe8", True))
                sock.shutdown(socket.SHUT_WR)
                data = b""
                while piece := sock.recv(65536):
                    data += piece
            assert data.startswith(b"HTTP/1.1 101"), data[:200]
            code = close_code(data)
            assert code is None or code in CODES, code
            answer = http.post(
                "/api/deltas", json={"type": "updated", "sessionId": "healthy", "after": count}
            )
            assert answer.status_code == 201, answer.text

        while go_on(count):
            example()
        assert http.get("/readyz").status_code == 200
    return count
