"""A TCP proxy that cuts each connection after a number of bytes from the server, or stalls it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Forwards to a server; `async with`.

    Args:
        url: The server's.
        allowance: Asked at each connection: after how many bytes from the server it is cut; None for never.
    """

    def __init__(self, url: str, allowance: Callable[[], int | None] = lambda: None) -> None:
        self._port = urlsplit(url).port
        self._allowance = allowance
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()  # cleared while nothing is forwarded to clients
        self._flows.set()
        self._running: set[asyncio.Task[None]] = set()  # one for each connection
        self.cuts = 0  # connections cut so far

    @property
    def url(self) -> str:
        """Its base URL."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        # Also those that were accepted in this very moment, and have no task yet.
        for _ in range(3):
            self.cut()
            await asyncio.gather(*self._running, return_exceptions=True)
            await asyncio.sleep(0)
        await self._server.wait_closed()

    def stall(self) -> None:
        """Forward nothing to clients until `flow`."""
        self._flows.clear()

    def flow(self) -> None:
        """Forward again."""
        self._flows.set()

    def cut(self) -> None:
        """Cut every connection, without a goodbye."""
        for task in self._running:
            task.cancel()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="proxy")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # One that is cancelled before it has begun closes nothing.
        task.add_done_callback(lambda _: writer.close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        ways: list[asyncio.Task[None]] = []
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
            ends.append(back)
            ways.append(asyncio.create_task(self._up(reader, back), name="proxy-up"))
            ways.append(asyncio.create_task(self._down(there, writer, self._allowance()), name="proxy-down"))
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except ConnectionError:
            pass
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in ends:
                # What was written still leaves, but nobody waits for a goodbye.
                end.close()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

    async def _down(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._flows.wait()
                if left is not None and len(data) >= left:
                    writer.write(data[:left])
                    self.cuts += 1
                    return
                left = None if left is None else left - len(data)
                writer.write(data)
                await writer.drain()
