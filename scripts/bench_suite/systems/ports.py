"""Ports for servers that can't be told to take any free one, and the wait until they answer there."""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path

from bench_suite.connecting import Opening
from bench_suite.errors import BenchError
from bench_suite.processes import Server

READY_S = 20.0
TRIES = 100
_LOWEST = 10_240


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago, and that the system gives to nobody by itself.

    Out of the range from which connections get theirs: one that is opened between this and the server's start
    can't take it.

    Raises:
        BenchError: none was found.
    """
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    outside = [*range(_LOWEST, low), *range(high + 1, 65_536)] or [0]
    for port in random.choices(outside, k=TRIES):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(sock.getsockname()[1])
    raise BenchError(f"none of {TRIES} ports tried is free")


def await_answer(server: Server, opening: Opening) -> None:
    """Waits until a connection can be opened.

    Args:
        server: the process, which must not end meanwhile.
        opening: how one connects; the connection is closed again.
    Raises:
        BenchError: it ended, or does not answer; carries the end of its log.
    """
    deadline = time.monotonic() + READY_S
    while True:
        try:
            opening.connect()[0].close()
        except (OSError, BenchError) as error:
            if server.ended or time.monotonic() > deadline:
                raise BenchError(f"no answer: {error}\n{server.log_tail()}") from error
            time.sleep(0.02)
        else:
            return
