"""hypothesis over the wire: publishers, subscribers and requests that are made up, and healthy neighbours beside them.

In each example a few connections send at the same time, by turns. What is well formed must get the answer that is
documented for it, each publish one, in order; what is not allowed ends with a close code of the protocol; a request gets
a status and a body that are described. After each example the neighbours (`fuzz_neighbour`) must have noticed nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisDeprecationWarning

from recorder.core.errors import BY_CODE, RecorderError
from recorder.wire.decode import decode_text
from recorder.wire.subscribe import parse_op
from stress.fuzz_made_up import Visit, encoded, frame, requests, visits
from stress.fuzz_neighbour import Neighbour
from stress.fuzz_server import Server

PATIENCE = 60.0
"""Seconds after which what does not come is missing."""
HEAD = (
    "GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "sec-websocket-extensions: permessage-deflate\r\n\r\n"
)
CODES = {1000, 1001, 1002, 1003, 1007, 1009, 1012, 4400, 4408, 4429, *range(3000, 5000)}
ECHOED = {1008, 1010, 1011, 1013, 1014}
"""Codes that a client may send, and the recorder does not send by itself."""
EVENTS = {
    "hello",
    "delta",
    "state",
    "live",
    "reset",
    "heartbeat",
    "head",
    "erased",
    "conflated",
    "pong",
    "error",
    "ack",
}
STATUSES = {101, 200, 201, 204, 304, *(cls.http_status for cls in BY_CODE.values())} - {500}
MAX_DELTA_BYTES = 262_144


class Answers:
    """The answers that a connection received: its events, and the code of the close frame if there was one.

    Args:
        data: All bytes, with the head of the answer to the upgrade.
        echoes: Whether it may have sent a close frame of any code, which is answered in kind.
    """

    def __init__(self, data: bytes, *, echoes: bool = False) -> None:
        assert data.startswith(b"HTTP/1.1 101"), data[:200]
        self.code: int | None = None
        self.events: list[dict[str, object]] = []
        for first, payload in frames_of(data[data.index(b"\r\n\r\n") + 4 :]):
            assert self.code is None, "something came after the close frame"
            if first & 0x0F == 8:
                self.code = int.from_bytes(payload[:2], "big") if payload else 1005
            elif first & 0x0F == 1:
                assert first & 0x80, "the recorder sends messages whole"
                # Numbers that nobody can hold are passed on as they are.
                text = inflated(payload) if first & 0x40 else payload
                self.events.append(json.loads(text, parse_int=len, parse_float=len))
        known = CODES | ECHOED if echoes else CODES
        assert self.code is None or self.code in known or self.code == 1005, self.code
        for event in self.events:
            assert event["event"] in EVENTS, event
            assert event["event"] != "error" or event["code"] in BY_CODE.keys() - {"internal_error"}, event

    def of(self, *kinds: str) -> list[dict[str, object]]:
        """The events of these kinds."""
        return [event for event in self.events if event["event"] in kinds]


def frames_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """First byte and payload of each of a server's frames; one that is not whole is the last thing before a cut."""
    at = 0
    while at + 2 <= len(data):
        size, start = data[at + 1] & 0x7F, at + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(data[start : start + width], "big"), start + width
        if start + size > len(data):
            return
        yield data[at], data[start : start + size]
        at = start + size


def inflated(payload: bytes) -> bytes:
    """A compressed message's text."""
    return zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")


class Connection:
    """A visit under way.

    Args:
        url: The recorder's.
        visit: What it does.
    """

    def __init__(self, url: str, visit: Visit) -> None:
        where = urlsplit(url)
        self._visit = visit
        self._sock = socket.create_connection((where.hostname, where.port), timeout=PATIENCE)
        self._sock.sendall(HEAD.format(target=visit.target, host=where.netloc).encode())
        self._steps = iter(visit.steps())
        self._data = b""
        # A client waits for the answer before it sends a frame (RFC 6455, section 4.1).
        while b"\r\n\r\n" not in self._data and (piece := self._sock.recv(1 << 16)):
            self._data += piece

    def step(self) -> bool:
        """Send the next piece; whether there was one."""
        piece = next(self._steps, None)
        # The recorder may have closed: what was said wrong before is answered, and that is read at the end.
        with contextlib.suppress(ConnectionError):
            if piece is not None:
                self._sock.sendall(piece)
        return piece is not None

    def leave(self) -> None:
        """Go, as the visit says."""
        with contextlib.suppress(OSError):
            if self._visit.ending == "reset":
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif self._visit.ending == "close":
                self._sock.sendall(frame(0x88, b"\x03\xe8"))
            if self._visit.ending != "reset":
                self._sock.shutdown(socket.SHUT_WR)
        if self._visit.ending == "reset":
            self._sock.close()

    def check(self) -> None:
        """Read what came, and see that it is what is documented."""
        if self._visit.ending == "reset":
            return
        with self._sock:
            answers = Answers(self._data + everything(self._sock), echoes=bool(self._visit.rest))
        if self._visit.publishes:
            _check_publisher(self._visit, answers)
        elif self._visit.ending == "close":
            _check_subscriber(self._visit, answers)
        is_clean = not self._visit.rest and all(_is_utf8(message) for message, _ in self._visit.messages)
        if is_clean and self._visit.ending == "close":
            assert answers.code == 1000, answers.code


def everything(sock: socket.socket) -> bytes:
    """All that comes until the other side ends."""
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(1 << 16):
            data += piece
    return bytes(data)


def _is_utf8(message: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in message)


def _check_publisher(visit: Visit, answers: Answers) -> None:
    """One answer to each message, in order; behind them those to frames that need not be allowed.

    Who leaves without a goodbye, or is sent away, may miss the last of them.
    """
    given = answers.of("ack", "error")
    is_whole = visit.ending == "close" and not visit.rest
    for message, _ in visit.messages:
        if not _is_utf8(message):
            # A goodbye that came with it is answered in kind.
            assert visit.rest or answers.code in (None, 1000, 1007), answers.code
            return
        wanted = _refusal(lambda text=message: decode_text(encoded(text), MAX_DELTA_BYTES))
        if not given and not is_whole:
            return
        assert given, f"no answer to {message[:300]!r}"
        answer = given.pop(0)
        assert answer.get("code") in ({wanted} if wanted else {None, "conflict"}), (answer, message[:300])
    assert not is_whole or not given, given


def _check_subscriber(visit: Visit, answers: Answers) -> None:
    """A pong for each ping, an error for each message that is wrong."""
    messages = [message for message, _ in visit.messages]
    if not all(map(_is_utf8, messages)) or visit.rest:
        return
    refused = [_refusal(lambda text=text: parse_op(encoded(text))) for text in messages]
    pings = [
        text
        for text, code in zip(messages, refused, strict=True)
        if code is None and parse_op(encoded(text)) is None
    ]
    assert [event["code"] for event in answers.of("error")] == [code for code in refused if code], (
        answers.events[-5:]
    )
    assert len(answers.of("pong")) == len(pings)


def _refusal(call: Callable[[], object]) -> str | None:
    """The code of the error that a call raises."""
    try:
        call()
    except RecorderError as error:
        return error.code
    return None


def check_request(url: str, text: str) -> None:
    """Send a request, and see that its answer is one that is described."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=PATIENCE) as sock:
        sock.sendall(text.replace("{host}", where.netloc).encode("latin-1", "replace"))
        sock.shutdown(socket.SHUT_WR)
        data = everything(sock).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    # One that breaks off before it is whole has no answer.
    if not data:
        return
    head, _, body = data.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    assert status in STATUSES, (text, data[:300])
    if b"application/problem+json" in head and not text.startswith("HEAD "):
        # What it was sent behind the first request is answered behind the first answer.
        length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
        problem = orjson.loads(body[:length])
        assert problem["status"] == status, problem
        assert problem["code"] in BY_CODE, problem


def visit_all(url: str, made_up: list[Visit], heads: list[str]) -> None:
    """Visits at the same time, each sending by turns, and requests in the middle of them; all are checked."""
    connections = [Connection(url, visit) for visit in made_up]
    while any([connection.step() for connection in connections]):
        pass
    for head in heads:
        check_request(url, head)
    for connection in connections:
        connection.leave()
    for connection in connections:
        connection.check()


def run(url: str, go_on: Callable[[int], bool], *, examples: int = 200, same: bool = False) -> int:
    """Make connections up.

    Args:
        url: Where they go.
        go_on: Asked with their count whether there shall be more.
        examples: How many hypothesis makes up at a time; with more it looks more closely around each.
        same: Whether they are the same each time.

    Returns:
        How many connections there were.
    """
    count, found = 0, False
    with Neighbour.at(url) as neighbour:

        @settings(
            max_examples=examples, deadline=None, database=None, derandomize=same, report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(st.lists(visits(), min_size=1, max_size=3), st.lists(requests(), max_size=2))
        def example(made_up: list[Visit], heads: list[str]) -> None:
            nonlocal count, found
            if not (found or go_on(count)):
                return
            count += len(made_up) + len(heads)
            # What was found is made smaller, however long that takes.
            was, found = found, True
            visit_all(url, made_up, heads)
            neighbour.notices_nothing()
            found = was

        with warnings.catch_warnings():
            # It takes what other threads do with `random` for the strategies' doing.
            warnings.simplefilter("ignore", HypothesisDeprecationWarning)
            while go_on(count):
                example()
    return count


async def for_seconds(seconds: float, folder: Path) -> bool:
    """Run it against a recorder of its own; whether something was found.

    Args:
        seconds: For how long.
        folder: For the recorder.
    """
    until = time.monotonic() + seconds
    # Little is kept, so that whoever asks for all of it gets little, and pruning goes on all the time.
    async with Server(folder, "--max-deltas", "500") as server:
        found = True
        try:
            count = await asyncio.to_thread(run, server.url, lambda _: time.monotonic() < until)
            print(f"fuzz: {count:,} connections made up, and healthy neighbours noticed nothing")
            found = False
        except Exception as error:
            print("fuzz: something was found\n" + "".join(traceback.format_exception(error))[-8000:])
        faults = server.faults()
        print("\n".join(faults), flush=True)
        return found or bool(faults)
