"""A WebSocket client on a bare socket: it can send any bytes, and reads only what it is asked for.

Nothing is done by itself: no pong, no reading ahead of a frame. So a test decides what the other side sees, and what
stays in the kernel.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson
from websockets.utils import apply_mask

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PATIENCE = 60.0
"""Seconds after which what does not come counts as missing: the failure of a test, never its pace."""


class Frame(NamedTuple):
    """A frame from the server."""

    opcode: int
    fin: bool
    payload: bytes


class Ending(NamedTuple):
    """How a connection ended: `code` is None where there was no close frame."""

    code: int | None
    reason: str
    events: list[dict[str, Any]]


class Refused(Exception):
    """The upgrade was refused.

    Args:
        status: HTTP status.
        body: Of the answer.
    """

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A client's frame.

    Args:
        opcode: 0 to 15.
        payload: What it carries.
        fin: Whether it is the message's last.
        rsv: The three reserved bits, 0 to 7.
        masked: As a client must; False breaks the rule.
    """
    head = bytearray([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit, size = 0x80 if masked else 0, len(payload)
    if size < 126:
        head.append(bit | size)
    elif size < 65536:
        head.append(bit | 126)
        head += size.to_bytes(2, "big")
    else:
        head.append(bit | 127)
        head += size.to_bytes(8, "big")
    if not masked:
        return bytes(head) + payload
    mask = os.urandom(4)
    return bytes(head) + mask + apply_mask(payload, mask)


def close_payload(code: int, reason: str = "") -> bytes:
    """What a close frame carries."""
    return code.to_bytes(2, "big") + reason.encode()


class Wire:
    """One connection. Made by `connect`.

    Args:
        sock: Connected, not blocking; after the handshake.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = 0  # bytes taken from the socket after the handshake
        self.head = ""  # what the server answered to the upgrade
        self._buffer = bytearray()  # read from the socket
        self._taken = 0  # how much of it has been taken as frames

    async def raw(self, data: bytes) -> None:
        """Send these bytes."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def send(self, opcode: int, payload: bytes = b"", **options: Any) -> None:
        """Send a frame (`frame`'s options)."""
        await self.raw(frame(opcode, payload, **options))

    async def text(self, message: object) -> None:
        """Send a text message: a string as it is, anything else as JSON."""
        await self.send(TEXT, message.encode() if isinstance(message, str) else orjson.dumps(message))

    async def texts(self, messages: Sequence[object]) -> None:
        """Send many text messages at once."""
        await self.raw(b"".join([frame(TEXT, orjson.dumps(message)) for message in messages]))

    async def close(self, code: int = 1000, reason: str = "") -> Ending:
        """Say goodbye, and wait for the end."""
        await self.send(CLOSE, close_payload(code, reason))
        return await self.ending()

    async def frame(self) -> Frame:
        """The next frame. Raises EOFError where the connection has ended, ConnectionError where it was cut."""
        head = await self._take(2)
        assert not head[0] & 0x70, "reserved bits from a server that offered no extension"
        assert not head[1] & 0x80, "a server must not mask"
        size = head[1] & 0x7F
        if size >= 126:
            size = int.from_bytes(await self._take(2 if size == 126 else 8), "big")
        return Frame(head[0] & 0x0F, bool(head[0] & 0x80), await self._take(size))

    async def event(self) -> dict[str, Any]:
        """The next text frame's JSON; pings and pongs on the way are passed over. A close frame is an EOFError."""
        while True:
            got = await self.frame()
            if got.opcode == TEXT:
                assert got.fin
                event: dict[str, Any] = orjson.loads(got.payload)
                return event
            if got.opcode == CLOSE:
                raise EOFError(f"closed with {int.from_bytes(got.payload[:2], 'big')}: {got.payload[2:]!r}")
            assert got.opcode in (PING, PONG), got

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """Events up to and with the first of a kind."""
        events = [await self.event()]
        while events[-1]["event"] != kind:
            events.append(await self.event())
        return events

    async def take(self, count: int) -> list[dict[str, Any]]:
        """That many events."""
        return [await self.event() for _ in range(count)]

    async def deltas(self, last: int) -> list[int]:
        """The seqs of delta events up to and with `last`; other events are passed over."""
        seqs: list[int] = []
        while not seqs or seqs[-1] < last:
            event = await self.event()
            if event["event"] == "delta":
                seqs.append(event["seq"])
        return seqs

    async def ending(self) -> Ending:
        """Everything up to the end of the connection; a close frame is answered, as a client must."""
        events: list[dict[str, Any]] = []
        code, reason = None, ""
        try:
            while True:
                got = await self.frame()
                assert code is None, "something came after the close frame"
                if got.opcode == CLOSE:
                    code, reason = int.from_bytes(got.payload[:2], "big") or 1005, got.payload[2:].decode()
                    with contextlib.suppress(ConnectionError):
                        await self.send(CLOSE, got.payload)
                elif got.opcode == TEXT:
                    events.append(orjson.loads(got.payload))
        except (EOFError, ConnectionResetError) as error:
            # Our answer may meet a socket that is closed by then.
            if code is None and isinstance(error, ConnectionResetError):
                raise
        return Ending(code, reason, events)

    def open_wide(self) -> None:
        """Let the kernel take in much at once from now on, whatever `receive_buffer` was."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def half_close(self) -> None:
        """Send nothing more, as TCP says it."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End it at once, without a goodbye of any kind."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    async def _take(self, size: int) -> bytes:
        if len(self._buffer) - self._taken < size:
            await self._fill(size)
        taken = bytes(self._buffer[self._taken : self._taken + size])
        self._taken += size
        return taken

    async def _fill(self, size: int) -> None:
        del self._buffer[: self._taken]
        self._taken = 0
        async with asyncio.timeout(PATIENCE):
            while len(self._buffer) < size:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16)
                if not data:
                    raise EOFError(f"{len(self._buffer)} of {size} bytes")
                self.received += len(data)
                self._buffer += data


async def open_socket(url: str, *, receive_buffer: int | None = None) -> socket.socket:
    """A connected socket.

    Args:
        url: `http://address:port`.
        receive_buffer: The kernel's, in bytes; small, so that not reading is soon felt. None leaves it.
    """
    parts = urlsplit(url)
    sock = socket.socket(socket.AF_INET6 if ":" in (parts.hostname or "") else socket.AF_INET)
    try:
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_connect(sock, (parts.hostname, parts.port))
    except BaseException:
        sock.close()
        raise
    return sock


def request_head(url: str, target: str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """An upgrade request; a header given replaces the one of that name."""
    key = base64.b64encode(os.urandom(16)).decode()
    usual = {
        "host": urlsplit(url).netloc,
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": key,
    }
    given = {name.lower() for name, _ in headers}
    lines = [(name, value) for name, value in usual.items() if name not in given] + list(headers)
    return "".join(
        [f"GET {target} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in lines), "\r\n"]
    ).encode()


@contextlib.asynccontextmanager
async def connect(
    url: str,
    target: str = "/ws",
    headers: Sequence[tuple[str, str]] = (),
    *,
    receive_buffer: int | None = None,
) -> AsyncIterator[Wire]:
    """A WebSocket connection, open; its socket is closed at the end of the block.

    Raises:
        Refused: The server said something other than 101.
    """
    sock = await open_socket(url, receive_buffer=receive_buffer)
    try:
        wire = Wire(sock)
        await wire.raw(request_head(url, target, headers))
        status, body = await answer(wire)
        if status != 101:
            raise Refused(status, body)
        wire.received = 0
        yield wire
    finally:
        sock.close()


async def answer(wire: Wire) -> tuple[int, str]:
    """The status of an HTTP answer, and the body where it is none of 101."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await wire._take(1)
    wire.head = head.decode("latin-1")
    lines = wire.head.split("\r\n")
    status = int(lines[0].split()[1])
    if status == 101:
        return status, ""
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return status, (await wire._take(int(fields.get("content-length", "0")))).decode()
