"""Bare sockets as a system: what the harness itself can carry, on this machine, at this moment."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_suite.connecting import websocket
from bench_suite.frames import publish_frames
from bench_suite.needs import NOTHING, Needs
from bench_suite.processes import Server, child_environment
from bench_suite.systems.base import About


class RunningBare:
    """A bare server that listens."""

    delivery_marker = b'{"event":"delta",'
    ack_marker = b""
    error_marker = b'{"event":"error",'
    # It can't snapshot, prune, export or resume.
    chores: dict[str, Any] | None = None

    def __init__(self, server: Server, host: str, port: int) -> None:
        """Takes the process and where it listens."""
        self.server = server
        self.subscribe = websocket(host, port, "/ws")
        self.publish = websocket(host, port, "/publish")

    def recorded_count(self) -> int | None:
        """It records nothing."""
        return None


class Bare:
    """Writes ready-made bytes of the same length as a recorder's delivery, for each delta that comes in."""

    name = "bare"
    needs: Needs = NOTHING
    about = About(
        records="no",
        durable="no",
        ordered="no",
        resumes="no",
        note="does not look at deltas: the harness's limit",
    )

    @contextmanager
    def start(self, workdir: Path) -> Iterator[RunningBare]:
        """A bare server, for deltas of the size that it is sent first."""
        argv = [sys.executable, "-m", "bench_suite.bare"]
        with Server(argv, child_environment(), workdir) as server:
            yield RunningBare(server, *server.wait_listening())

    def encode(self, deltas: Iterable[bytes], per_frame: int) -> list[bytes]:
        """Text frames of one delta; it counts bytes, and knows no other."""
        if per_frame != 1:
            raise ValueError("the bare server knows frames of one delta only")
        return list(publish_frames(deltas, 1))
