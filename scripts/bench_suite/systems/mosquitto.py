"""Mosquitto as a peer for deliveries: MQTT 3.1.1, one topic, QoS 0; its subscribers over WebSockets or plain TCP.

A delta is one PUBLISH. QoS 0 answers nothing and stores nothing: it is what Mosquitto is fastest at. A build like
Debian's 2.0 looks after WebSockets only when something else wakes its loop, or ten times a second (its libwebsockets
lacks external polling: eclipse-mosquitto/mosquitto#2578); what it has queued for them may then take minutes. So the
publisher speaks plain TCP, and a client of plain TCP pings all the while and keeps that loop awake. Subscribers of plain
TCP, which no browser speaks, stand beside the others, so that nobody takes the rest of that for what MQTT costs.

Set up in its favour: nothing is dropped for a slow reader (its queues have no limit), no persistence, no
keep-alive, no TCP_NODELAY (with it, it makes half as many deliveries per CPU second).
"""

from __future__ import annotations

import os
import pwd
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from bench_suite.connecting import Opening, websocket
from bench_suite.errors import BenchError
from bench_suite.frames import BINARY, client_frame
from bench_suite.needs import Needs, find_program
from bench_suite.processes import Server, child_environment
from bench_suite.systems.base import About
from bench_suite.systems.ports import await_answer, free_port

PROGRAM = "mosquitto"
PINGREQ = b"\xc0\x00"
PING_S = 0.001
TOPIC = b"deltas"
# As root it would look for a user of its own.
CONFIG = """\
user {user}
listener {plain} 127.0.0.1
listener {websockets} 127.0.0.1
protocol websockets
socket_domain ipv4
allow_anonymous true
persistence false
max_queued_messages 0
max_queued_bytes 0
log_type error
log_type warning
"""
# MQTT 3.1.1: clean session, no keep-alive, no client id; and one subscription with QoS 0.
CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"
CONNECTED = b"\x20\x02\x00\x00"
SUBSCRIBED = b"\x90\x03\x00\x01\x00"


class RunningMosquitto:
    """A Mosquitto that listens."""

    # The topic and its length: a delta's JSON text has no such bytes.
    delivery_marker = b"\x00\x06" + TOPIC
    ack_marker = b""
    # QoS 0: what it does not like, it closes.
    error_marker = b"\0nothing is refused\0"
    # It can't snapshot, prune, export or resume.
    chores: dict[str, Any] | None = None

    def __init__(self, server: Server, plain: int, websockets: int, over_websockets: bool) -> None:
        """Takes the process, its ports, and which of them subscribers use."""
        self.server = server
        self.publish = _plain(plain, CONNECTING)
        self.subscribe = (
            _websocket(websockets, CONNECTING, SUBSCRIBING)
            if over_websockets
            else _plain(plain, CONNECTING, SUBSCRIBING)
        )

    def recorded_count(self) -> int | None:
        """It records nothing."""
        return None


class Mosquitto:
    """The broker that many think of first."""

    needs = Needs(program=PROGRAM, apt="mosquitto")

    def __init__(self, websockets: bool = True) -> None:
        """Takes whether its subscribers are WebSockets, or plain ones."""
        self._websockets = websockets
        self.name = "mosquitto" if websockets else "mosquitto-tcp"
        slow = "published over TCP, and kept awake by a client that pings: Debian's build would make WebSockets wait"
        self.about = About(
            records="no",
            durable="no",
            ordered="by publisher, not numbered",
            resumes="no",
            note="MQTT 3.1.1, QoS 0: at most once; does not look at deltas; set up never to drop for a slow reader; "
            + (slow if websockets else "plain TCP: nothing that a browser could read"),
        )

    @contextmanager
    def start(self, workdir: Path) -> Iterator[RunningMosquitto]:
        """A Mosquitto with its files in `workdir`.

        Raises:
            BenchError: mosquitto is not installed, or did not come up.
        """
        program = find_program(PROGRAM)
        if program is None:
            raise BenchError(f"{PROGRAM} is not installed (Debian: apt-get install {self.needs.apt})")
        plain, websockets, user = free_port(), free_port(), pwd.getpwuid(os.geteuid()).pw_name
        config = CONFIG.format(user=user, plain=plain, websockets=websockets)
        (workdir / "mosquitto.conf").write_text(config)
        with Server([program, "-c", "mosquitto.conf"], child_environment(), workdir) as server:
            running = RunningMosquitto(server, plain, websockets, self._websockets)
            await_answer(server, running.publish)
            with _kept_awake(running.publish) if self._websockets else nullcontext():
                yield running

    def encode(self, deltas: Iterable[bytes], per_frame: int) -> list[bytes]:
        """PUBLISH packets.

        Raises:
            ValueError: more than one a frame; nothing answers that could be counted.
        """
        if per_frame != 1:
            raise ValueError("frames of one delta only")
        return list(map(publish, deltas))


def packet(kind: int, body: bytes) -> bytes:
    """An MQTT packet: type and flags, the length of what follows in 7 bits a byte, and that."""
    length, size = bytearray(), len(body)
    while size >= 128:
        length.append(size % 128 | 128)
        size //= 128
    return bytes((kind, *length, size)) + body


def subscribe() -> bytes:
    """SUBSCRIBE to the topic with QoS 0, as packet number 1."""
    return packet(0x82, b"\x00\x01" + _text(TOPIC) + b"\x00")


def publish(delta: bytes) -> bytes:
    """PUBLISH with QoS 0."""
    return packet(0x30, _text(TOPIC) + delta)


def _text(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


@contextmanager
def _kept_awake(opening: Opening) -> Iterator[None]:
    """A client beside all others that pings until the context is left; the server's answers are not looked at."""
    over = threading.Event()

    def ping() -> None:
        while not over.wait(PING_S):
            # Not sent where the server is gone, which others tell, or slow, which is no reason to wait.
            with suppress(OSError):
                sock.send(PINGREQ)
                sock.recv(1 << 16)

    sock, _ = opening.connect()
    thread = threading.Thread(target=ping, name="mosquitto-pings")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sock.close()


def _websocket(port: int, *steps: tuple[bytes, bytes]) -> Opening:
    framed = tuple((client_frame(send, opcode=BINARY), until) for send, until in steps)
    return websocket("127.0.0.1", port, "/mqtt", subprotocol="mqtt", then=framed)


def _plain(port: int, *steps: tuple[bytes, bytes]) -> Opening:
    return Opening("127.0.0.1", port, steps)


CONNECTING = (CONNECT, CONNECTED)
SUBSCRIBING = (subscribe(), SUBSCRIBED)
