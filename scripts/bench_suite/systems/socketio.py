"""Socket.IO as a system: `bench_suite.socketio_server` in an environment of its own.

Engine.IO over WebSocket: the client asks for Socket.IO's namespace with `40` and is given a sid; an event is
`42["name",value]`, with a number before the bracket where an acknowledgement is wanted, which comes as `43`, the number,
and the answer. A publish of an array of deltas is one event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_suite.connecting import Opening, websocket
from bench_suite.errors import BenchError
from bench_suite.frames import client_frame
from bench_suite.needs import Needs, missing, python
from bench_suite.processes import Server, child_environment
from bench_suite.systems.base import About

TARGET = "/socket.io/?EIO=4&transport=websocket&role="
# What serves it makes little difference: to 100 readers it delivered 33,800 a CPU second by uvicorn with websockets,
# 34,700 by aiohttp, 28,800 by uvicorn with wsproto.
PACKAGES = (
    "python-socketio==5.18.1",
    "python-engineio==4.15.1",
    "uvicorn==0.54.0",
    "websockets==17.4",
    "httptools==0.9.0",
    "uvloop==0.23.0",
    "orjson==3.13.0",
)


class RunningSocketIO:
    """A Socket.IO server that listens."""

    delivery_marker = b'42["delta",'
    ack_marker = b"431["
    error_marker = b'44{"message"'
    # It can't snapshot, prune, export or resume.
    chores: dict[str, Any] | None = None

    def __init__(self, server: Server, host: str, port: int) -> None:
        """Takes the process and where it listens."""
        self.server = server
        self.subscribe = _opening(host, port, "reader")
        self.publish = _opening(host, port, "publisher")

    def recorded_count(self) -> int | None:
        """It records nothing."""
        return None


class SocketIO:
    """A relay with acknowledgements."""

    name = "socketio"
    needs = Needs(pip=PACKAGES)
    about = About(
        records="no",
        durable="no",
        ordered="yes, numbered",
        resumes="no",
        note="python-socketio: a relay, so an unfair comparison in its favour; no history, no checks",
    )

    @contextmanager
    def start(self, workdir: Path) -> Iterator[RunningSocketIO]:
        """A server without anything.

        Raises:
            BenchError: its packages are not installed, or it did not come up.
        """
        if lacking := missing(self.needs):
            raise BenchError("; ".join(lacking))
        argv = [str(python()), "-m", "bench_suite.socketio_server"]
        with Server(argv, child_environment(), workdir) as server:
            yield RunningSocketIO(server, *server.wait_listening())

    def encode(self, deltas: Iterable[bytes], per_frame: int) -> list[bytes]:
        """Events with an acknowledgement, of a delta or an array of deltas."""
        if per_frame == 1:
            return [_event(delta) for delta in deltas]
        every = list(deltas)
        groups = (every[at : at + per_frame] for at in range(0, len(every), per_frame))
        return [_event(b"[" + b",".join(group) + b"]") for group in groups]


def _event(value: bytes) -> bytes:
    return client_frame(b'421["publish",' + value + b"]")


def _opening(host: str, port: int, role: str) -> Opening:
    # Up to the end of the frame that lets the client in, since what follows is read in whole frames.
    let_in = ((client_frame(b"40"), b'40{"sid":"'), (b"", b'"}'))
    return websocket(host, port, TARGET + role, then=let_in)
