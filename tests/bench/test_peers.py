"""The peers in Node and in Python: each does what its figures say it does. Real processes, where they are installed."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bench_suite.needs import find_program, missing, node_modules
from bench_suite.payload import deltas
from bench_suite.processes import Server, child_environment
from bench_suite.systems import named
from bench_suite.systems.base import Options, System
from bench_suite.systems.node_ws import SCRIPT, NodeWs
from bench_suite.systems.socketio import SocketIO
from websockets.sync.client import ClientConnection, connect

BENCH = str(Path(__file__).resolve().parents[2] / "scripts" / "bench")
WAIT_S = 30


def needs(system: type[NodeWs] | type[SocketIO]) -> pytest.MarkDecorator:
    lacking = "; ".join(missing(system.needs))
    return pytest.mark.skipif(bool(lacking), reason=f"{system.name} lacks {lacking}")


@needs(NodeWs)
class TestNodeWs:
    def test_deltas_are_recorded_delivered_and_acked_in_order(self, tmp_path: Path) -> None:
        sent = [json.loads(delta) for delta in deltas(0, 3)]
        with NodeWs().start(tmp_path) as running:
            with (
                _to(running.publish.port, "/ws") as reader,
                _to(running.publish.port, "/publish") as publisher,
            ):
                publisher.send(json.dumps(sent[0]))
                publisher.send(json.dumps(sent[1:]))
                events = [_next(reader) for _ in range(3)]
                acks = [_next(publisher) for _ in range(2)]
            assert running.recorded_count() == 3
        assert [(event["event"], event["seq"], event["delta"]) for event in events] == [
            ("delta", number, delta) for number, delta in enumerate(sent, 1)
        ]
        assert acks == [
            {"event": "ack", "firstSeq": 1, "seq": 1, "count": 1},
            {"event": "ack", "firstSeq": 2, "seq": 3, "count": 2},
        ]

    def test_of_an_array_with_a_bad_delta_nothing_is_recorded_or_counted(self, tmp_path: Path) -> None:
        good = json.loads(next(iter(deltas(0, 1))))
        with NodeWs().start(tmp_path) as running, _to(running.publish.port, "/publish") as publisher:
            publisher.send(json.dumps([good, {**good, "type": "renamed"}]))
            refused = _next(publisher)
            publisher.send("{")
            unreadable = _next(publisher)
            publisher.send(json.dumps(good))
            ack = _next(publisher)
            assert running.recorded_count() == 1
        assert (refused["event"], unreadable["event"], ack["seq"]) == ("error", "error", 1)
        assert "CHECK constraint" in refused["message"]

    def test_a_snapshot_is_a_whole_database_and_recording_goes_on_after_it(self, tmp_path: Path) -> None:
        kept, number = tmp_path / "kept.sqlite", 0
        node = find_program("node")
        assert node is not None
        argv = [node, str(SCRIPT), str(node_modules()), str(kept), "10"]
        with (
            Server(argv, child_environment(), tmp_path) as server,
            _to(server.wait_listening()[1], "/publish") as it,
        ):
            deadline = time.monotonic() + WAIT_S
            # Until a snapshot holds more than was there at the first.
            while _rows(kept) < 5:
                assert time.monotonic() < deadline, "no snapshot came"
                it.send(next(iter(deltas(number, 1))).decode())
                number += 1
                assert _next(it)["seq"] == number


@needs(SocketIO)
class TestSocketIO:
    def test_an_event_reaches_the_readers_and_is_acknowledged(self, tmp_path: Path) -> None:
        sent = [json.loads(delta) for delta in deltas(0, 3)]
        with SocketIO().start(tmp_path) as running:
            port = running.publish.port
            with _socketio(port, "reader") as reader, _socketio(port, "publisher") as publisher:
                publisher.send("421" + json.dumps(["publish", sent[0]]))
                publisher.send("421" + json.dumps(["publish", sent[1:]]))
                events = [str(reader.recv(WAIT_S)) for _ in range(3)]
                acks = [str(publisher.recv(WAIT_S)) for _ in range(2)]
        assert [event.count(running.delivery_marker.decode()) for event in events] == [1, 1, 1]
        assert [json.loads(event[2:])[1] for event in events] == [
            {"seq": number, "delta": delta} for number, delta in enumerate(sent, 1)
        ]
        assert acks == ['431[{"seq":1,"count":1}]', '431[{"seq":3,"count":2}]']


@pytest.mark.parametrize("name", [pytest.param(each.name, marks=needs(each)) for each in (NodeWs, SocketIO)])
def test_a_short_run_gives_every_figure(name: str, tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    command = [
        BENCH, "deliveries", "ingest", "latency", "--quick", "--seconds", "0.02", "--subscribers", "3",
        "--rate", "200", "--systems", name, "--json", str(kept),
    ]  # fmt: skip
    env = {**os.environ, "BENCH_PYTHON": sys.executable, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run_of = json.loads(kept.read_text())
    ingest = {("ingest", "one delta a frame"), ("ingest", "arrays of 100")}
    assert {(figure["measure"], figure["case"]) for figure in run_of["figures"]} == {
        ("deliveries", "3 subscribers"),
        ("latency", "200 deltas/s"),
        # A relay records nothing, and is not asked for recorded ingest.
        *(ingest if name == "node-ws" else ()),
    }
    assert run_of["systems"][name]["versions"]
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize("system", [NodeWs(), SocketIO()], ids=lambda each: each.name)
def test_one_that_is_not_installed_says_how_to_get_it(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "nothing"))
    assert all("scripts/bench --install" in lacking for lacking in missing(system.needs)[-2:])
    assert len(missing(system.needs)) >= 2


@pytest.mark.parametrize("per_frame", [1, 3])
def test_every_frame_of_socketio_asks_for_one_acknowledgement(per_frame: int) -> None:
    frames = named("socketio", Options()).encode(deltas(0, 7), per_frame)
    texts = [_unmasked(frame) for frame in frames]
    assert all(text.startswith(b'421["publish",') for text in texts)
    values = [json.loads(text[3:])[1] for text in texts]
    every = [json.loads(delta) for delta in deltas(0, 7)]
    assert values == (every if per_frame == 1 else [every[:3], every[3:6], every[6:]])


@contextmanager
def _to(port: int, path: str) -> Iterator[ClientConnection]:
    """A connection that was greeted."""
    with connect(f"ws://127.0.0.1:{port}{path}", compression=None, open_timeout=WAIT_S) as connection:
        assert _next(connection)["event"] == "hello"
        yield connection


def _next(connection: ClientConnection) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(connection.recv(WAIT_S))
    return said


@contextmanager
def _socketio(port: int, role: str) -> Iterator[ClientConnection]:
    """A connection that Socket.IO has let in."""
    url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket&role={role}"
    with connect(url, compression=None, open_timeout=WAIT_S) as connection:
        assert str(connection.recv(WAIT_S)).startswith('0{"sid":')
        connection.send("40")
        assert str(connection.recv(WAIT_S)).startswith('40{"sid":')
        yield connection


def _rows(file: Path) -> int:
    """Rows in a snapshot; 0 while there is none, or it is being written over, as the original does."""
    if not file.exists():
        return 0
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return int(database.execute("SELECT count(*) FROM session_deltas").fetchone()[0])
    except sqlite3.DatabaseError:
        return 0
    finally:
        database.close()


def _unmasked(frame: bytes) -> bytes:
    size = frame[1] & 0x7F
    begin = 2 + {126: 2, 127: 8}.get(size, 0)
    key, payload = frame[begin : begin + 4], frame[begin + 4 :]
    return bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
