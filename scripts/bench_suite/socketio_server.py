"""Socket.IO as one would build it in Python: python-socketio as an ASGI application, served by uvicorn.

A publisher emits `publish` with a delta or an array of them, and gets Socket.IO's acknowledgement; each delta is
emitted as `delta` to the room of the readers. Nothing is recorded, checked or numbered by the minute: a relay.

It is not made weak: WebSocket from the start instead of an upgrade from polling, uvloop, orjson, events handled in the
order in which they come without a task each, no pings in the middle of a measurement. Runs in an environment of the
benchmark's own, which has these packages.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import Any

import orjson
import socketio
import uvicorn

READERS = "readers"
# Engine.IO's pings have to be answered; no run takes as long as this.
PING_S = 3600


class Json:
    """orjson in the form in which python-socketio asks for JSON."""

    @staticmethod
    def dumps(value: Any, **_: object) -> str:
        """Return it as text, without spaces."""
        return orjson.dumps(value).decode()

    loads = staticmethod(orjson.loads)


def application() -> socketio.ASGIApp:
    """The relay."""
    server = socketio.AsyncServer(
        async_mode="asgi", json=Json, async_handlers=False, transports=["websocket"], ping_interval=PING_S,
        ping_timeout=PING_S, max_http_buffer_size=1 << 24, logger=False, engineio_logger=False,
    )  # fmt: skip
    # How many deltas were relayed.
    seen = 0

    @server.event
    async def connect(sid: str, environ: dict[str, Any], _: object = None) -> None:
        if "role=reader" in environ["QUERY_STRING"]:
            await server.enter_room(sid, READERS)

    @server.event
    async def publish(_: str, value: Any) -> dict[str, int]:
        nonlocal seen
        deltas = value if isinstance(value, list) else [value]
        for delta in deltas:
            seen += 1
            await server.emit("delta", {"seq": seen, "delta": delta}, room=READERS)
        return {"seq": seen, "count": len(deltas)}

    return socketio.ASGIApp(server)


async def main() -> None:
    """Serves on a port that the system gives, until SIGTERM."""
    config = uvicorn.Config(
        application(), log_level="warning", access_log=False, loop="none", ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=1 << 24, ws_ping_interval=None,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listener]), name="uvicorn")
        sys.stdout.write(f"listening on http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        await serving


if __name__ == "__main__":
    # uvicorn ends in order and then raises the signal again, whose default is to end this process.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    import uvloop

    uvloop.run(main())
