"""Mosquitto as a peer of the benchmark: what is sent to it, and short runs of the real one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from bench_suite.connecting import Opening
from bench_suite.errors import BenchError
from bench_suite.measures.deliveries import Deliveries
from bench_suite.measures.latency import Latency
from bench_suite.measures.plan import Plan
from bench_suite.needs import missing
from bench_suite.payload import SESSIONS, deltas
from bench_suite.systems import ports
from bench_suite.systems.mosquitto import PINGREQ, Mosquitto, RunningMosquitto, _kept_awake, packet, publish
from bench_suite.systems.ports import free_port

# Over WebSockets Debian's build takes its time: nothing here may need many turns.
SHORT = Plan(seconds=0.02, most=300, rate=200, readers=2, quiet_s=0.2)
real = pytest.mark.skipif(
    bool(missing(Mosquitto.needs)), reason="; ".join(missing(Mosquitto.needs)) or "it is installed"
)


@pytest.mark.parametrize(
    ("size", "length"),
    [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (508, b"\xfc\x03"), (16_384, b"\x80\x80\x01")],
)
def test_the_length_of_a_packet_takes_seven_bits_a_byte(size: int, length: bytes) -> None:
    assert packet(0x30, b"x" * size) == b"\x30" + length + b"x" * size


def test_the_marker_of_a_delivery_is_in_its_head_and_in_no_delta() -> None:
    marker = RunningMosquitto.delivery_marker
    for delta in deltas(0, 3 * SESSIONS, 5000):
        assert (publish(delta).count(marker), delta.count(marker)) == (1, 0)


@pytest.mark.parametrize("websockets", [False, True])
def test_arrays_are_refused_since_nothing_would_answer_them(websockets: bool) -> None:
    with pytest.raises(ValueError, match="one delta"):
        Mosquitto(websockets).encode(deltas(0, 4), 2)


def test_without_the_program_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_suite.systems.mosquitto.find_program", lambda _: None)
    with pytest.raises(BenchError, match="apt-get install mosquitto"), Mosquitto().start(tmp_path):
        pass


@real
@pytest.mark.parametrize("websockets", [False, True])
def test_every_subscriber_gets_every_delta_once(websockets: bool) -> None:
    figures = Deliveries(SHORT, 3).round(Mosquitto(websockets))
    assert figures["deltas"] >= 64
    assert figures["value"] > 0


@real
def test_its_latency_is_measured() -> None:
    quiet = Latency(SHORT).round(Mosquitto())["quiet"]
    assert (quiet["missing"], quiet["twice"], quiet["out_of_order"], quiet["closed"]) == (0, 0, 0, [])


def test_it_is_pinged_all_the_while_and_no_longer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with _kept_awake(Opening("127.0.0.1", listener.getsockname()[1], ())):
            sock, _ = listener.accept()
            sock.settimeout(30)
            pings = b""
            while len(pings) < 3 * len(PINGREQ):
                pings += sock.recv(2)
        with sock:
            while data := sock.recv(1 << 10):
                pings += data
    assert pings == PINGREQ * (len(pings) // 2)


@real
def test_a_server_that_ends_at_once_is_told_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_suite.systems.mosquitto.CONFIG", "no_such_setting {plain}\n")
    with pytest.raises(BenchError, match="no_such_setting"), Mosquitto().start(tmp_path):
        pass


def test_a_free_port_is_none_that_connections_get_by_themselves() -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert all(not low <= free_port() <= high for _ in range(20)) or high - low > 50_000


def test_a_port_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(ports.random, "choices", lambda *_, k: [taken.getsockname()[1]] * k)
        with pytest.raises(BenchError, match="none of 100 ports"):
            free_port()
