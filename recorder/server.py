"""The server: a recorder behind one port, from the first signal to the last snapshot.

uvicorn carries HTTP (Starlette) and hands WebSocket upgrades to `hub.socket.WebSocket`. It listens before the recording
is loaded, so that /healthz and /readyz can tell. SIGTERM and SIGINT stop in order: no more intake, every connection
closed with what it is owed, the queue recorded, a last snapshot; a second signal no longer waits for connections, and a
stop that takes longer than SHUTDOWN_TIMEOUT is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial

import uvicorn
from loguru import logger

from recorder.api.routes import application
from recorder.app import Recorder, prepare_recorder
from recorder.errors import RecorderError
from recorder.hub.socket import WebSocket
from recorder.settings import Settings

# SQLite's threads must get the interpreter's lock back from a busy event loop soon: at the default of 5 ms recording
# runs at a third of its speed (DESIGN.md, "Measured").
SWITCH_INTERVAL = 0.0005
CONNECTIONS_SECONDS = 10
"""How long connections may take to close."""


class _Server(uvicorn.Server):
    """uvicorn's server, with the signals left to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: `serve` handles them."""
        yield


async def serve(
    settings: Settings,
    *,
    on_ready: Callable[[str], None] | None = None,
    demo_rate: float | None = None,
) -> int:
    """Run a recorder until it is told to stop.

    Args:
        settings: Its settings.
        on_ready: Gets the base URL once it listens.
        demo_rate: Plays synthetic sessions at this many deltas per second; None for none.

    Returns:
        The exit code: 0 after an orderly stop.

    Raises:
        StoreLocked, StoreUnreadable: The file cannot be used; nothing was started.
        OSError: The address cannot be listened on.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    listener = _listen(settings)
    try:
        async with prepare_recorder(settings) as recorder:
            code = await _Run(recorder, listener, demo_rate).run(on_ready)
    finally:
        listener.close()
    logger.info("stopped")
    return code


class _Run:
    """One run of the server.

    Args:
        recorder: Holds its file, not loaded yet.
        listener: Bound.
        demo_rate: As in `serve`.
    """

    def __init__(self, recorder: Recorder, listener: socket.socket, demo_rate: float | None) -> None:
        self._recorder = recorder
        self._listener = listener
        self._demo_rate = demo_rate
        self._signals = 0  # how many have come
        self._code = 0
        self._server = _Server(
            uvicorn.Config(
                application(recorder),
                # Any callable with the contract of a protocol class will do.
                ws=partial(WebSocket, door=recorder.door),  # type: ignore[arg-type]
                http="httptools",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=CONNECTIONS_SECONDS,
                timeout_keep_alive=30,
            )
        )

    async def run(self, on_ready: Callable[[str], None] | None) -> int:
        """Serve until stopped; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        loading = asyncio.create_task(self._load(), name="server-load")
        demo: asyncio.Task[None] | None = None
        if self._demo_rate is not None:
            demo = asyncio.create_task(self._demo(loading, self._demo_rate), name="server-demo")
        host, port = self._listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        logger.bind(recording=self._recorder.store is not None).info(f"listening on {url}")
        if on_ready is not None:
            on_ready(url)
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            for task in (loading, demo):
                if task is not None:
                    task.cancel()
            await asyncio.gather(*(t for t in (loading, demo) if t is not None), return_exceptions=True)
        return self._code

    async def _load(self) -> None:
        try:
            await self._recorder.load()
        except RecorderError as error:
            logger.critical("the recording cannot be loaded: {}", str(error))
            self._code = 1
            self._server.should_exit = True
        except Exception:
            logger.exception("the recording cannot be loaded")
            self._code = 1
            self._server.should_exit = True

    async def _demo(self, loading: asyncio.Task[None], rate: float) -> None:
        from recorder.demo import play

        await asyncio.wait([loading])
        if self._code == 0:
            await play(self._recorder, rate)

    def _on_signal(self, number: int) -> None:
        self._signals += 1
        name = signal.Signals(number).name
        if self._signals == 1:
            logger.bind(signal=name).info("stopping")
            self._recorder.stop_intake()
            self._server.should_exit = True
            asyncio.get_running_loop().call_later(self._recorder.settings.shutdown_timeout / 1000, _give_up)
        elif self._signals == 2:
            logger.bind(signal=name).warning("stopping without waiting for connections")
            self._server.force_exit = True
        else:
            _give_up()


def _give_up() -> None:
    # A thread that hangs in a system call would keep the interpreter from exiting.
    logger.critical("stopping took too long: what was not on disk is lost")
    os._exit(1)


def _listen(settings: Settings) -> socket.socket:
    """A listening socket on the settings' address."""
    family, kind, _, _, address = socket.getaddrinfo(
        settings.host.strip("[]"), settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
