"""A TCP proxy that cuts: each connection is ended after a number of bytes from the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self


class CuttingProxy:
    """Forwards to a port on this machine; `async with`.

    Args:
        port: Where to.
        allowance: Asked for each connection: after how many bytes from the server it is cut; None for never.
    """

    def __init__(self, port: int, allowance: Callable[[], int | None]) -> None:
        self._target = port
        self._allowance = allowance
        self._server: asyncio.Server | None = None
        self.cuts = 0  # connections cut so far

    @property
    def url(self) -> str:
        """Its base URL."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        left = self._allowance()
        upward = asyncio.create_task(self._copy(reader, back, None), name="proxy-upward")
        try:
            await self._copy(there, writer, left)
        finally:
            upward.cancel()
            await asyncio.wait({upward})
            for end in (writer, back):
                end.transport.abort()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
    ) -> None:
        try:
            while data := await reader.read(65536):
                if left is not None and len(data) >= left:
                    writer.write(data[:left])
                    await writer.drain()
                    self.cuts += 1
                    # Closing lets what was written arrive; aborting could take back bytes that count as sent.
                    writer.close()
                    return
                left = None if left is None else left - len(data)
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except (ConnectionError, RuntimeError):
            return
