"""nats-server as a peer: deltas over its WebSocket to every subscriber of a subject; with JetStream, recorded, too.

A delta is one `PUB`, in a WebSocket frame of its own; an array of deltas is that many in one frame. Plain NATS
answers nothing and records nothing. With JetStream a stream in a file takes up what is published on the subject,
while the same messages go to the subject's subscribers at once; the last delta of every frame asks for an answer
(which comes when that one and those before it are stored).

Set up in its favour: no TLS, no compression, so much room for slow readers (`max_pending`) that it never cuts one and
never slows a publisher down for one, no limit of memory. It may send several messages in a frame, and does.
"""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench_suite.connecting import Opening, websocket
from bench_suite.errors import BenchError
from bench_suite.frames import BINARY, client_frame, groups
from bench_suite.needs import Needs, find_program
from bench_suite.processes import Server, child_environment
from bench_suite.systems.base import About

PROGRAM = "nats-server"
SUBJECT = b"deltas"
STREAM = "RECORDED"
CONSUMER = "reader"
CONNECT = (
    b'CONNECT {"verbose":false,"pedantic":false,"echo":false,"protocol":1,"lang":"bench","version":"1"}\r\n'
)
# Where answers to a publisher come; the number is that of its subscription.
ANSWERS = b"SUB answers 2\r\n"
ASK_TIMEOUT_S = 20.0
CONFIG = """\
listen: "127.0.0.1:-1"
websocket { host: "127.0.0.1", port: -1, no_tls: true }
max_pending: 8GB
max_payload: 8MB
write_deadline: "60s"
ping_interval: "30m"
"""
JETSTREAM = 'jetstream { store_dir: "stream", max_memory_store: 1GB, max_file_store: 20GB }\n'
_CLIENTS = re.compile(r"Listening for client connections on (127\.0\.0\.1:\d+)")
_WEBSOCKETS = re.compile(r"Listening for websocket clients on ws://(127\.0\.0\.1:\d+)")
_READY = re.compile(r"Server is ready")


class RunningNats:
    """A nats-server that listens."""

    # A delta's JSON text has no such thing, and frames aren't cut within what announces a message.
    delivery_marker = b"MSG deltas 1 "
    history_marker = b"MSG deltas 4 "
    # It can't snapshot, prune, export or resume as the recorder does.
    chores: dict[str, Any] | None = None

    def __init__(self, server: Server, clients: str, websockets: str, jetstream: bool) -> None:
        """Takes the process, where it listens (host:port) for plain clients and WebSockets, and whether it records."""
        self.server = server
        self._clients = _address(clients)
        self._websockets = websockets
        self._jetstream = jetstream
        self.ack_marker = b"MSG answers 2 " if jetstream else b""
        self.error_marker = b'"error":' if jetstream else b"-ERR "
        self.subscribe = _opening(websockets, b"SUB deltas 1\r\n")
        self.publish = _opening(websockets, ANSWERS if jetstream else b"")

    def history(self) -> Opening:
        """Return how one reads all that the stream has: a consumer of its own, which begins once somebody listens.

        Raises:
            BenchError: JetStream refuses, or there is none.
        """
        self.ask(f"CONSUMER.DURABLE.CREATE.{STREAM}.{CONSUMER}", _WHOLE_STREAM)
        listen = client_frame(b"SUB history 4\r\n", opcode=BINARY)
        ready = _opening(self._websockets, b"")
        return replace(ready, steps=(*ready.steps, (listen, b"")))

    def recorded_count(self) -> int | None:
        """Return how many messages the stream has; None without one."""
        if not self._jetstream:
            return None
        return int(self.ask(f"STREAM.INFO.{STREAM}")["state"]["messages"])

    def ask(self, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Puts a question to JetStream.

        Args:
            what: its subject, without `$JS.API.`.
            body: what goes with it.
        Raises:
            BenchError: it refuses, or does not answer.
        """
        text = json.dumps(body).encode() if body else b""
        # On a subject of its own: a publisher would take what comes on its own for answers to its frames.
        question = b"SUB asked 3\r\nPUB $JS.API.%b asked %d\r\n%b\r\n" % (what.encode(), len(text), text)
        with socket.create_connection(self._clients, ASK_TIMEOUT_S) as sock, sock.makefile("rb") as lines:
            sock.sendall(CONNECT + question)
            while not (line := lines.readline()).startswith(b"MSG "):
                if not line or line.startswith(b"-ERR"):
                    raise BenchError(f"nats-server does not answer to {what}: {line!r}")
            answer: dict[str, Any] = json.loads(lines.read(int(line.split()[-1])))
        if "error" in answer:
            raise BenchError(f"nats-server refuses {what}: {answer['error']}")
        return answer


class Nats:
    """nats-server, with or without JetStream."""

    needs = Needs(program=PROGRAM, apt="nats-server")

    def __init__(self, jetstream: bool = False) -> None:
        """Takes whether a stream records what is published."""
        self._jetstream = jetstream
        self.name = "nats-jetstream" if jetstream else "nats"
        self.about = _RECORDING if jetstream else _PASSING_ON

    @contextmanager
    def start(self, workdir: Path) -> Iterator[RunningNats]:
        """A nats-server on ports that the system gives, with its files in `workdir`.

        Raises:
            BenchError: nats-server is not installed, or did not come up.
        """
        program = find_program(PROGRAM)
        if program is None:
            raise BenchError(f"{PROGRAM} is not installed (Debian: apt-get install {self.needs.apt})")
        (workdir / "nats.conf").write_text(CONFIG + (JETSTREAM if self._jetstream else ""))
        # After SIGTERM it ends with code 1, as if something had been wrong.
        with Server([program, "-c", "nats.conf"], child_environment(), workdir, signal.SIGINT) as server:
            server.wait_said(_READY)
            clients, websockets = (server.wait_said(said)[1] for said in (_CLIENTS, _WEBSOCKETS))
            running = RunningNats(server, clients, websockets, self._jetstream)
            if self._jetstream:
                running.ask(f"STREAM.CREATE.{STREAM}", _STREAM)
            yield running

    def encode(self, deltas: Iterable[bytes], per_frame: int) -> list[bytes]:
        """Binary frames of `per_frame` PUBs; with JetStream the last of each asks for an answer."""
        reply = b"answers " if self._jetstream else b""
        return [_frame(group, reply) for group in groups(deltas, per_frame)]


_PASSING_ON = About(
    records="no",
    durable="no",
    ordered="by publisher, not numbered",
    resumes="no",
    note="at most once; does not look at deltas; set up never to cut a slow reader",
)
_RECORDING = About(
    records="yes, as messages of a stream in a file",
    durable="written, synced every 2 minutes",
    ordered="yes, numbered (its live subscribers don't see the numbers)",
    resumes="with a consumer, not by these subscribers",
    note="no validation, no chain, no states, no history by session; set up never to cut a slow reader",
)
_STREAM = {
    "name": STREAM,
    "subjects": [SUBJECT.decode()],
    "storage": "file",
    "retention": "limits",
    "discard": "old",
    "num_replicas": 1,
    "max_msgs": -1,
    "max_bytes": -1,
    "max_consumers": -1,
    # None is to be taken for a repeated one: deltas carry no message id.
    "duplicate_window": 0,
}

_WHOLE_STREAM = {
    "stream_name": STREAM,
    "config": {
        "durable_name": CONSUMER,
        "deliver_subject": "history",
        "deliver_policy": "all",
        "ack_policy": "none",
        "replay_policy": "instant",
    },
}


def _address(said: str) -> tuple[str, int]:
    host, _, port = said.rpartition(":")
    return host, int(port)


def _opening(said: str, subscriptions: bytes) -> Opening:
    hello = client_frame(CONNECT + subscriptions + b"PING\r\n", opcode=BINARY)
    return websocket(*_address(said), "/", then=((hello, b"PONG\r\n"),))


def _frame(deltas: list[bytes], reply: bytes) -> bytes:
    last = len(deltas) - 1
    return client_frame(
        b"".join(
            b"PUB deltas %b%d\r\n%b\r\n" % (reply if at == last else b"", len(delta), delta)
            for at, delta in enumerate(deltas)
        ),
        opcode=BINARY,
    )
