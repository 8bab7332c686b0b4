"""The recorder's WebSocket with a role that echoes, as the Autobahn suite wants its server.

Everything below the role is the recorder's own: uvicorn's upgrade, the state machine, the fast way for plain messages,
reassembly, UTF-8, compression, pings, closing, slow readers. Binary messages, which the recorder closes with 1003, are
echoed too, since half of the suite is made of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import uvicorn
from websockets.frames import Frame, Opcode
from websockets.http11 import Request

from recorder.core.clock import SystemClock
from recorder.core.metrics import Metrics
from recorder.net.limits import SocketLimits
from recorder.net.partial_messages import PartialMessages
from recorder.net.websocket import WebSocket
from recorder.server.serve import base_url, listen
from recorder.wire.deflate import packed_frame
from recorder.wire.frames import text_frame

MAX_MESSAGE = 64 << 20
SWEEP_SECONDS = 0.25


class EchoSocket(WebSocket):
    """Also takes binary messages, as if they were text, and remembers that they were not."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._binary: bytearray | None = None  # the binary message whose fragments are coming

    def _handle_frame(self, frame: Frame) -> None:
        is_binary = frame.opcode is Opcode.BINARY or (
            frame.opcode is Opcode.CONT and self._binary is not None
        )
        if not is_binary:
            super()._handle_frame(frame)
            return
        if self._binary is None:
            self._binary = bytearray()
        self._binary += frame.data
        if frame.fin:
            message, self._binary = bytes(self._binary), None
            self.write(echo(message, binary=True, compresses=self.compresses))


def echo(message: bytes, *, binary: bool, compresses: bool) -> bytes:
    """The frame that sends a message back."""
    frame = text_frame(message)
    if compresses:
        frame = packed_frame(frame)
    # The opcode is in the first byte's lower half: 1 for text, 2 for binary.
    return bytes([frame[0] + 1]) + frame[1:] if binary else frame


class Echo:
    """The role: every message goes back as it is."""

    max_message_bytes = MAX_MESSAGE
    at_once = 64
    at_own_pace = True

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    def on_open(self) -> None:
        """Nothing to say."""

    def on_texts(self, messages: Sequence[bytes]) -> None:
        """Send them back."""
        for message in messages:
            self._socket.write(echo(message, binary=False, compresses=self._socket.compresses))

    def on_writable(self) -> None:
        """Nothing waits."""

    def on_closing(self) -> bool:
        """Nothing is owed."""
        return True

    def on_lost(self) -> None:
        """Nothing is kept."""

    def on_shutdown(self, code: int = 1001, reason: str = "going away") -> None:
        """Close."""
        self._socket.close(code, reason)

    def on_slow(self) -> bool:
        """Nothing can be left out."""
        return False

    def position_text(self) -> str:
        """None."""
        return ""


class EchoDoor:
    """Admits everybody."""

    def __init__(self) -> None:
        self.limits = SocketLimits(soft_bytes=MAX_MESSAGE, hard_bytes=4 * MAX_MESSAGE, compression=True)
        self.clock = SystemClock()
        self.metrics = Metrics()
        self.partial_messages = PartialMessages(4 * MAX_MESSAGE, self.metrics)
        self.sockets: set[WebSocket] = set()

    def admit(self, socket: WebSocket, request: Request) -> Echo:
        """An echo."""
        return Echo(socket)

    def opened(self, socket: WebSocket) -> None:
        """Sweep it."""
        self.sockets.add(socket)

    def gone(self, socket: WebSocket) -> None:
        """Sweep it no longer."""
        self.sockets.discard(socket)

    async def keep(self) -> None:
        """Enforce deadlines."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for socket in list(self.sockets):
                socket.sweep(self.clock.monotonic())


@contextlib.asynccontextmanager
async def echo_server() -> AsyncIterator[str]:
    """A server that echoes, until the block is left; its base URL."""
    door, listener = EchoDoor(), listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(
            _no_http,
            ws=partial(EchoSocket, upgrades=door),  # type: ignore[arg-type]
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=1,
        )
    )
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    keeping = asyncio.create_task(door.keep(), name="echo-keeper")
    try:
        yield base_url(listener)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await server.shutdown(sockets=[listener])


async def _no_http(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})
