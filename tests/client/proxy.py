"""A TCP proxy that cuts: each connection is ended after a number of bytes from the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.client.raw_server import RawServer


class CuttingProxy(RawServer):
    """Forwards to a port on this machine; `async with`.

    Args:
        port: Where to.
        allowance: Asked for each connection: after how many bytes from the server it is cut; None for never.
    """

    def __init__(self, port: int, allowance: Callable[[], int | None]) -> None:
        super().__init__(self._forward)
        self._target = port
        self._allowance = allowance
        self.cuts = 0  # connections cut so far

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        upward = asyncio.create_task(self._copy(reader, back, None), name="proxy-upward")
        try:
            await self._copy(there, writer, self._allowance())
        finally:
            upward.cancel()
            await asyncio.wait({upward})
            back.transport.abort()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
    ) -> None:
        try:
            while data := await reader.read(65536):
                if left is not None and len(data) >= left:
                    writer.write(data[:left])
                    await writer.drain()
                    self.cuts += 1
                    return
                left = None if left is None else left - len(data)
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except (ConnectionError, RuntimeError):
            return
