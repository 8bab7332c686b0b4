"""What the options of the benchmark ask for, and what comes of deltas of another size."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from bench_suite.bare import delivery
from bench_suite.cli import measures_of, parser, plan_of, systems_of
from bench_suite.connecting import Opening
from bench_suite.frames import MarkerCounter, publish_frames
from bench_suite.measures.deliveries import _Burst, _Course
from bench_suite.measures.plan import Plan, await_recorded
from bench_suite.payload import deltas
from bench_suite.recordings import Shelf
from bench_suite.systems import NAMES, named
from bench_suite.systems.bare import Bare
from bench_suite.systems.base import Options


def asked(*options: str) -> list[tuple[str, str]]:
    """Measures and cases, in order."""
    arguments = parser().parse_args(options)
    plan = plan_of(arguments)
    measures = measures_of(arguments, plan, Shelf(Path("nowhere"), plan))
    return [(each.name, each.case) for each in measures]


def test_deliveries_are_measured_at_each_size_and_all_else_at_the_first() -> None:
    assert asked("deliveries", "ingest", "--sizes", "500,5000", "--subscribers", "1,7") == [
        ("deliveries", "1 subscriber"),
        ("deliveries", "7 subscribers"),
        ("deliveries", "1 subscriber, 5000 bytes"),
        ("deliveries", "7 subscribers, 5000 bytes"),
        ("ingest", "one delta a frame"),
        ("ingest", "arrays of 100"),
    ]


def test_a_case_of_another_size_says_so() -> None:
    assert asked("ingest", "latency", "--size", "1000") == [
        ("ingest", "one delta a frame, 1000 bytes"),
        ("ingest", "arrays of 100, 1000 bytes"),
        ("latency", "5000 deltas/s, 1000 bytes"),
    ]


def test_a_full_run_has_all_systems_and_sizes() -> None:
    assert [case for _, case in asked("deliveries", "--full")] == [
        "1 subscriber",
        "100 subscribers",
        "1000 subscribers",
        "1 subscriber, 5000 bytes",
        "100 subscribers, 5000 bytes",
        "1000 subscribers, 5000 bytes",
    ]
    assert _systems("--full") == list(NAMES)


def test_a_full_run_can_be_narrowed() -> None:
    options = ("deliveries", "--full", "--subscribers", "3", "--size", "500", "--systems", "obvious")
    assert asked(*options) == [("deliveries", "3 subscribers")]
    assert _systems(*options) == ["obvious"]


def test_the_usual_systems_are_the_recorder_and_the_obvious_build() -> None:
    assert _systems() == ["recorder", "obvious"]
    assert _systems("--bare") == ["recorder", "obvious", "bare"]
    assert _systems("--install") == list(NAMES)


@pytest.mark.parametrize("size", [500, 5000])
def test_bare_sockets_deliver_as_many_bytes_as_the_size_asks_for(size: int, tmp_path: Path) -> None:
    with Bare().start(tmp_path) as running:
        reader, publisher = _connected(running.subscribe), _connected(running.publish)
        with reader, publisher:
            publisher.sendall(b"".join(publish_frames(deltas(0, 3, size), 1)))
            expected, came = 3 * len(delivery(size)), b""
            while len(came) < expected:
                came += reader.recv(1 << 16)
    assert came == 3 * delivery(size)


def test_a_reader_that_falls_far_behind_a_flood_is_not_cut(tmp_path: Path) -> None:
    """60 MB: more than the recorder leaves unsent by default and the kernel, told to be frugal, takes up."""
    count, size = 1000, 60_000
    recorder = named("recorder", Options())
    with recorder.start(tmp_path) as running:
        reader, publisher = _connected(running.subscribe), _connected(running.publish)
        with reader, publisher:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            for frame in recorder.encode(deltas(0, count, size), 20):
                publisher.sendall(frame)
            await_recorded(running, count)
            counter = MarkerCounter(running.delivery_marker, bytearray(1 << 18))
            while counter.count < count:
                assert counter.receive(reader.recv_into), f"closed after {counter.count} deliveries"


class _Paced(_Course):
    """Bursts that are not sent: each takes as long as at a given rate."""

    def __init__(self, rate: float) -> None:
        super().__init__(Bare(), None, None, None, Plan())  # type: ignore[arg-type]
        self.rate = rate
        self.counts: list[int] = []

    def _burst(self, count: int) -> _Burst:
        self.counts.append(count)
        return _Burst(0, 0, int(count / self.rate * 1e9))


def test_the_slowest_are_warmed_up_with_what_they_can_deliver_in_seconds() -> None:
    slow = _Paced(rate=14)
    assert slow.warm_up() == pytest.approx(14)
    assert sum(slow.counts) / slow.rate < 10


def test_the_fastest_are_warmed_up_until_a_burst_takes_a_moment() -> None:
    fast = _Paced(rate=100_000)
    assert fast.warm_up() == pytest.approx(100_000)
    assert fast.counts == [32, 32, 128, 512, 2048, 8192, 32_768]


def _systems(*options: str) -> list[str]:
    return [system.name for system in systems_of(parser().parse_args(options))]


def _connected(opening: Opening) -> socket.socket:
    sock, _ = opening.connect()
    sock.settimeout(30)
    return sock


def test_a_thousand_subscribers_may_be_had_where_the_usual_limit_is_lower() -> None:
    """A shell's usual 1024 files are too few for a thousand connections and what else is open."""
    code = (
        "import resource as r; from bench_suite.cli import main; _, hard = r.getrlimit(r.RLIMIT_NOFILE);"
        "r.setrlimit(r.RLIMIT_NOFILE, (256, hard)); main(['--install', '--systems', 'obvious']);"
        "assert r.getrlimit(r.RLIMIT_NOFILE)[0] == min(hard, 16384)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "scripts")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
