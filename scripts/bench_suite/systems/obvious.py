"""The obvious build as a system: `bench_suite.baseline` in a process of its own."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_suite.connecting import websocket
from bench_suite.frames import publish_frames
from bench_suite.needs import NOTHING, Needs
from bench_suite.processes import Server, child_environment
from bench_suite.systems.base import About, Options


class RunningObvious:
    """An obvious build that listens."""

    delivery_marker = b'{"event":"delta",'
    ack_marker = b'{"event":"ack",'
    error_marker = b'{"event":"error",'
    # It can't snapshot, prune, export or resume.
    chores: dict[str, Any] | None = None

    def __init__(self, server: Server, host: str, port: int) -> None:
        """Takes the process and where it listens."""
        self.server = server
        self._stats = f"http://{host}:{port}/api/stats"
        self.subscribe = websocket(host, port, "/ws", greeting=b'"event":"hello"')
        self.publish = websocket(host, port, "/publish", greeting=b'"event":"hello"')

    def recorded_count(self) -> int | None:
        """The rows of its table."""
        with urllib.request.urlopen(self._stats, timeout=20) as answer:
            return int(json.load(answer)["deltaCount"])


class Obvious:
    """The baseline."""

    name = "obvious"
    needs: Needs = NOTHING
    about = About(
        records="yes, one awaited INSERT a delta, three indexes",
        durable="no",
        ordered="yes, numbered",
        resumes="no",
        note="no chain, no limits or checks, no current states, no pruning, no snapshots",
    )

    def __init__(self, options: Options) -> None:
        """Takes `baseline_uvloop` of the options."""
        self._arguments = ["--uvloop"] if options.baseline_uvloop else []

    @contextmanager
    def start(self, workdir: Path) -> Iterator[RunningObvious]:
        """An obvious build with an empty in-memory database."""
        argv = [sys.executable, "-m", "bench_suite.baseline", *self._arguments]
        with Server(argv, child_environment(), workdir) as server:
            yield RunningObvious(server, *server.wait_listening())

    def encode(self, deltas: Iterable[bytes], per_frame: int) -> list[bytes]:
        """Text frames of a delta or an array of deltas."""
        return list(publish_frames(deltas, per_frame))
