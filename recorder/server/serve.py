"""The server: a recorder behind one port, from the first signal to the last snapshot.

uvicorn carries HTTP (Starlette) and hands WebSocket upgrades to `net.websocket.WebSocket`. It listens before the
recording is loaded, so that /healthz and /readyz can tell. SIGTERM and SIGINT stop in order: no more ingest,
every connection closed with what it is owed, the queue recorded, a last snapshot; a second signal no longer
waits for connections, and a stop that takes longer than SHUTDOWN_TIMEOUT is ended. SIGHUP reads the files of tokens,
keys and certificates again; from a terminal that is gone it stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, Self

import uvicorn
from loguru import logger

from recorder.api.app import application
from recorder.app import Recorder
from recorder.config.settings import Settings
from recorder.config.validators import is_loopback
from recorder.core.errors import RecorderError, lack_of
from recorder.net.connection_limits import MAX_REJECTED, max_rejected
from recorder.net.http import HttpConnection, HttpLimits
from recorder.net.tls import ServerTls, server_tls
from recorder.net.tls_handshake import TlsHandshake
from recorder.net.websocket import WebSocket
from recorder.server.gateway import Gateway, open_gateway
from recorder.server.memory import GIVE_BACK_SECONDS, FreeMemory, settle_allocator

# SQLite's threads must get the interpreter's lock back from a busy event loop soon: at the default of 5 ms
# recording runs at a third of its speed (DESIGN.md, "Measured").
SWITCH_INTERVAL = 0.0005
# Nearly everything that is made dies by its reference count, and what was loaded stays: looking through it for
# cycles every few thousand deltas would only hold up the loop, for tens of milliseconds with many sessions.
GC_THRESHOLDS = (50_000, 20, 100)
CONNECTIONS_SECONDS = 10.0
"""How long connections may take to close, at most."""
RENEW_AGAIN_SECONDS = (2.0, 10.0, 60.0)
"""When files that could not be used at a SIGHUP are tried again: a certificate and its key may be replaced in turn."""
UNSENT_BYTES = 128 << 10
"""How much the kernel takes for a connection beyond what is on its way."""
SPARE_FILES = 64
"""File descriptors that are not connections': the database, its lock, logs, the event loop's own. Of few, half."""


async def serve(
    settings: Settings,
    *,
    on_ready: Callable[[str], None] | None = None,
    beside: Callable[[Recorder], Coroutine[Any, Any, None]] | None = None,
) -> int:
    """Run a recorder until it receives a stop signal.

    Args:
        settings: Its settings.
        on_ready: Gets the base URL once it listens.
        beside: Runs beside the server from the moment the recording is loaded, and is cancelled at the end.

    Returns:
        The exit code: 0 after an orderly stop.

    Raises:
        InvalidSetting: A certificate, a key or a file of tokens cannot be used.
        StoreLocked, StoreUnreadable: The file cannot be used; nothing was started.
        OSError: The address cannot be listened on.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(*GC_THRESHOLDS)
    settle_allocator()
    settings = fit_connections(settings)
    tls = server_tls(settings)
    warn_of_clear_tokens(settings)
    listener = listen(settings.host, settings.port)
    try:
        # The last snapshot is taken when the recorder is left: the deadline holds until then.
        with _Signals(settings.shutdown_timeout / 1000) as signals, _giving_back_memory():
            async with open_gateway(settings) as gateway:
                code = await _Run(gateway, listener, beside, tls).run(signals, on_ready)
    finally:
        listener.close()
    logger.info("stopped")
    return code


class UvicornServer(uvicorn.Server):
    """uvicorn's server around a gateway, with the signals left to others.

    Args:
        gateway: Answers the requests; its recorder need not be loaded yet.
        tls: Speaks TLS with it; None: in the clear.
    """

    def __init__(self, gateway: Gateway, tls: ServerTls | None = None) -> None:
        self._gateway = gateway
        # A third each for the connections, for recording what is queued, and for the last snapshot.
        seconds = min(CONNECTIONS_SECONDS, gateway.settings.shutdown_timeout / 3000)
        # Any callable with the contract of a protocol class will do.
        http: Callable[..., Any] = partial(
            HttpConnection,
            admission=gateway.upgrades.admission,
            partial_messages=gateway.upgrades.partial_messages,
            limits=HttpLimits.of(gateway.settings),
            metrics=gateway.metrics,
            log=gateway.sampled_log,
        )
        if tls is not None:
            http = partial(
                TlsHandshake,
                http,
                tls,
                gateway.settings.request_head_timeout / 1000,
                gateway.upgrades.admission,
                gateway.metrics,
            )
        super().__init__(
            uvicorn.Config(
                application(gateway),
                ws=partial(WebSocket, upgrades=gateway.upgrades),  # type: ignore[arg-type]
                http=http,  # type: ignore[arg-type]
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=seconds,  # type: ignore[arg-type]
                timeout_keep_alive=gateway.settings.keep_alive_timeout / 1000,  # type: ignore[arg-type]
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection in order, streams too: they would be waited for."""
        self._gateway.end_streams()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle no signals: `serve` does."""
        yield


class _Signals:
    """SIGINT and SIGTERM while the block lasts: the first stops in order, the second hurries, a third ends; and SIGHUP.

    Args:
        seconds: How long stopping may take; after that it is ended.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._count = 0  # how many have come that stop
        self._had_terminal = _is_terminal()  # whether a SIGHUP may say that it is gone
        self._renew: Callable[[], None] | None = None  # from `attach` on
        self._stop: Callable[[], None] | None = None  # from `attach` on
        self._hurry: Callable[[], None] | None = None  # from `attach` on
        self._deadline: asyncio.TimerHandle | None = None  # from the first signal on

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_hang_up)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        loop.remove_signal_handler(signal.SIGHUP)
        if self._deadline is not None:
            self._deadline.cancel()

    def attach(self, stop: Callable[[], None], hurry: Callable[[], None], renew: Callable[[], None]) -> None:
        """Set what the first and the second signal do, done at once if they have come before; and what SIGHUP does."""
        self._stop, self._hurry, self._renew = stop, hurry, renew
        if self._count > 0:
            stop()
        if self._count > 1:
            hurry()

    def _on_hang_up(self) -> None:
        if self._had_terminal and not _is_terminal():
            # Not from an operator: the window was closed that it ran in.
            self._on_signal(signal.SIGHUP)
        elif self._renew is not None:
            # Before it is attached everything has only just been read.
            self._renew()

    def _on_signal(self, number: int) -> None:
        self._count += 1
        log = logger.bind(signal=signal.Signals(number).name)
        if self._count == 1:
            log.info("stopping")
            self._deadline = asyncio.get_running_loop().call_later(self._seconds, _give_up)
            if self._stop is not None:
                self._stop()
        elif self._count == 2:
            log.warning("stopping without waiting for connections")
            if self._hurry is not None:
                self._hurry()
        else:
            _give_up()


class _Run:
    """One run of the server.

    Args:
        gateway: Its recorder is not loaded yet.
        listener: Bound.
        beside: As in `serve`.
        tls: As in `UvicornServer`.
    """

    def __init__(
        self,
        gateway: Gateway,
        listener: socket.socket,
        beside: Callable[[Recorder], Coroutine[Any, Any, None]] | None,
        tls: ServerTls | None,
    ) -> None:
        self._gateway = gateway
        self._listener = listener
        self._beside = beside
        self._code = 0
        self._tls = tls
        self._server = UvicornServer(gateway, tls)
        self._url = base_url(listener, is_secure=tls is not None)

    async def run(self, signals: _Signals, on_ready: Callable[[str], None] | None) -> int:
        """Serve until stopped; the exit code."""
        signals.attach(self._stop, self._hurry, self._renew)
        tasks = [
            asyncio.create_task(self._load(), name="server-load"),
        ]
        if self._beside is not None:
            tasks.append(asyncio.create_task(self._once_loaded(tasks[0], self._beside), name="server-beside"))
        url = self._url
        logger.bind(recording=self._gateway.is_recording).info(f"listening on {url}")
        if on_ready is not None:
            on_ready(url)
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self._code

    async def _load(self) -> None:
        try:
            await self._gateway.load()
            gc.freeze()
        except RecorderError as error:
            logger.critical("the recording cannot be loaded: {}", str(error))
            self._fail()
        except Exception as error:
            # The boundary of the program: it ends with a code that says so.
            lack = lack_of(error)
            if lack is None:
                logger.exception("the recording cannot be loaded")
            else:
                logger.critical("the recording cannot be loaded: {}", str(lack))
            self._fail()

    async def _once_loaded(
        self, loading: asyncio.Task[None], work: Callable[[Recorder], Coroutine[Any, Any, None]]
    ) -> None:
        await asyncio.wait([loading])
        if self._code == 0:
            await work(self._gateway.recorder)

    def _fail(self) -> None:
        self._code = 1
        self._server.should_exit = True

    def _stop(self) -> None:
        self._gateway.stop_ingest()
        self._server.should_exit = True

    def _hurry(self) -> None:
        self._server.force_exit = True

    def _renew(self) -> None:
        for renew in (self._gateway.renew_tokens, self._renew_tls):
            self._try_to_renew(renew, RENEW_AGAIN_SECONDS)

    def _try_to_renew(self, renew: Callable[[], object], again: Sequence[float]) -> None:
        """Read files again; where they cannot be used, try again later: they may be in the middle of being replaced.

        Args:
            renew: Reads them, or changes nothing.
            again: Seconds until each further try.
        """
        try:
            renew()
        except Exception as error:
            # The boundary of a signal: what is there goes on, whatever is wrong with the files.
            log = logger.bind(reason=str(error), again_in_seconds=again[0] if again else None)
            caught = None if isinstance(error, RecorderError) else error
            log.opt(exception=caught).error("files that could not be reloaded keep their previous content")
            if again:
                loop = asyncio.get_running_loop()
                loop.call_later(again[0], self._try_to_renew, renew, again[1:])

    def _renew_tls(self) -> None:
        if self._tls is not None:
            self._tls.renew()
            logger.bind(until=self._tls.valid_until).info("the certificate was reloaded")


@contextlib.contextmanager
def _giving_back_memory() -> Iterator[None]:
    # In a thread of its own that nobody waits for: it is seldom, and must not hold up the end.
    memory, ended = FreeMemory(), threading.Event()

    def work() -> None:
        while not ended.wait(GIVE_BACK_SECONDS):
            with contextlib.suppress(MemoryError):
                memory.give_back()

    threading.Thread(target=work, name="memory", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _is_terminal() -> bool:
    try:
        return os.isatty(0)
    except OSError:
        return False


def _give_up() -> None:
    # A thread that hangs in a system call would keep the interpreter from exiting.
    logger.critical("stopping took too long: what was not on disk is lost")
    os._exit(1)


def fit_connections(settings: Settings) -> Settings:
    """Return the settings with as many connections as the system lets the process have files for.

    Otherwise connections would take the descriptors that the database and the answers about health need.
    """
    wanted = settings.max_connections
    files = allow_files(wanted + max_rejected(wanted) + SPARE_FILES)
    fit = connections_for(files)
    if fit >= wanted:
        return settings
    logger.bind(files=files, wanted=wanted, connections=fit).warning(
        "MAX_CONNECTIONS is lowered to what the limit of open files allows (ulimit -n raises it)"
    )
    return settings.model_copy(update={"max_connections": fit})


def connections_for(files: int) -> int:
    """Return how many connections fit into so many files, beside those that are not connections'."""
    room = files - min(SPARE_FILES, files // 2)
    # The other file descriptors are for connections that get an error (`max_rejected`).
    return max(1, room - MAX_REJECTED, min(room * 8 // 9, room - 8))


def allow_files(wanted: int) -> int:
    """Raise the number of files that this process may have open as far as the system lets it, up to `wanted`.

    Returns:
        How many it may have open, at most `wanted`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Args:
        host: Name or address; an IPv6 address may stand in brackets.
        port: 0 for any that is free.

    Raises:
        OSError: The address cannot be listened on; its text names it, and says what to do.
    """
    try:
        return _listen(host, port)
    except OSError as error:
        hint = _LISTEN_HINTS.get(error.errno or 0, "choose another address with --host or --port")
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror} ({hint})") from error


_LISTEN_HINTS = {
    errno.EADDRINUSE: "another program has this port, perhaps another recorder: stop it, or choose another with"
    " --port; 0 takes a free one",
    errno.EACCES: "ports below 1024 need a privilege: choose another with --port",
    errno.EADDRNOTAVAIL: "this machine has no such address: choose another with --host",
}


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # asyncio sets TCP_NODELAY only where the socket says that it is TCP's: otherwise an answer waits 40 ms for an ACK.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux" and kind == socket.SOCK_STREAM:
            # Connections inherit it. Without a bound the kernel takes megabytes for a slow reader, and asks for more
            # only once a third of them is gone: its progress is seen every 44 seconds at 30 kB/s, instead of every 2.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        listener.bind(address)
        listener.listen(2048)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def base_url(listener: socket.socket, *, is_secure: bool = False) -> str:
    """Return the base URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if is_secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def warn_of_clear_tokens(settings: Settings) -> None:
    """Log a warning if tokens are sent over an unencrypted connection."""
    if settings.tls_cert is None and not is_loopback(settings.host) and not settings.trusted_proxies:
        logger.warning("tokens and data are sent unencrypted: set TLS_CERT, or put a proxy with TLS in front")
