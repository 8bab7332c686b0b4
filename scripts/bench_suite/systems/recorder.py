"""The recorder itself: `python -m recorder serve`, recording, chain on, the snapshot timer out of the way."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_suite.connecting import websocket
from bench_suite.errors import BenchError
from bench_suite.frames import publish_frames
from bench_suite.needs import NOTHING, Needs
from bench_suite.processes import Server, child_environment
from bench_suite.systems.base import About, Options

READY_TIMEOUT_S = 120.0
MOST_UNSENT = 1 << 30


class RunningRecorder:
    """A recorder that listens."""

    delivery_marker = b'{"event":"delta",'
    ack_marker = b'{"event":"ack",'
    error_marker = b'{"event":"error",'

    def __init__(self, server: Server, host: str, port: int) -> None:
        """Takes the process and where it listens."""
        self.server = server
        self.host = host
        self.port = port
        self.subscribe = websocket(host, port, "/ws", greeting=b'"event":"hello"')
        self.publish = websocket(host, port, "/publish", greeting=b'"event":"hello"')
        self.chores: dict[str, Any] | None = {
            "host": host,
            "port": port,
            "resume": websocket(host, port, "/ws?since=earliest").to_json(),
            "marker": self.delivery_marker.decode(),
            "live_marker": '{"event":"live",',
        }

    def await_ready(self) -> None:
        """Waits for the answer 200 to /readyz: before that, nobody is let in.

        Raises:
            BenchError: it did not come in time.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(f"http://{self.host}:{self.port}/readyz", timeout=20) as answer:
                    answer.read()
                    return
            except urllib.error.HTTPError as error:
                said = f"{error.code} {error.read()[:200]!r}"
            if time.monotonic() > deadline:
                raise BenchError(f"not ready after {READY_TIMEOUT_S:.0f} s: {said}")
            time.sleep(0.005)

    def recorded_count(self) -> int | None:
        """`deltaCount` of its stats."""
        with urllib.request.urlopen(f"http://{self.host}:{self.port}/api/stats", timeout=20) as answer:
            return int(json.load(answer)["deltaCount"])


class Recorder:
    """The system under development."""

    needs: Needs = NOTHING

    def __init__(self, options: Options, durability: str = "snapshot") -> None:
        """Takes `recorder_settings` of the options, and what an ack is to mean."""
        self._settings = {"DURABILITY": durability, **dict(options.recorder_settings)}
        self.name = "recorder" if durability == "snapshot" else f"recorder-{durability}"
        self.about = About(
            records="yes, with history, hash chain and current states",
            durable="snapshots" if durability == "snapshot" else "each ack",
            ordered="yes, numbered",
            resumes="yes",
        )

    @contextmanager
    def start(self, workdir: Path) -> Iterator[RunningRecorder]:
        """A recorder with its database file and its key in `workdir`: what is there already has been loaded."""
        settings = {
            "PERSIST": "1",
            "DB_PATH": str(workdir / "sessions.sqlite"),
            "KEY_FILE": str(workdir / "signing.key"),
            "SNAPSHOT_INTERVAL": "3600000",
            # As every other system here: a flood on a busy machine gets far ahead of a reader that is to count it all.
            "SLOW_SOFT_BYTES": str(MOST_UNSENT),
            "SLOW_HARD_BYTES": str(MOST_UNSENT),
            **self._settings,
        }
        argv = [sys.executable, "-m", "recorder", "serve", "--port", "0"]
        with Server(argv, child_environment(**settings), workdir) as server:
            running = RunningRecorder(server, *server.wait_listening())
            running.await_ready()
            yield running

    def encode(self, deltas: Iterable[bytes], per_frame: int) -> list[bytes]:
        """Text frames of a delta or an array of deltas."""
        return list(publish_frames(deltas, per_frame))
