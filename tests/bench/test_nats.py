"""nats-server as a peer of the benchmark: what is sent to it, and short runs of the real one."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_suite.errors import BenchError
from bench_suite.frames import BINARY
from bench_suite.measures.catch_up import CatchUp
from bench_suite.measures.deliveries import Deliveries
from bench_suite.measures.ingest import Ingest
from bench_suite.measures.latency import Latency
from bench_suite.measures.plan import Plan, publisher_to
from bench_suite.needs import missing
from bench_suite.payload import SESSIONS, deltas
from bench_suite.recordings import Shelf
from bench_suite.systems.nats import STREAM, Nats, RunningNats
from websockets.frames import Frame
from websockets.streams import StreamReader

SHORT = Plan(seconds=0.02, most=2000, rate=500, readers=2, quiet_s=0.2)
real = pytest.mark.skipif(
    bool(missing(Nats.needs)), reason="; ".join(missing(Nats.needs)) or "it is installed"
)


def payload_of(frame: bytes) -> bytes:
    """What one masked binary frame of a client carries."""
    reader = StreamReader()
    reader.feed_data(frame)
    with pytest.raises(StopIteration) as ended:
        next(Frame.parse(reader.read_exact, mask=True))
    assert ended.value.value.opcode == BINARY
    return bytes(ended.value.value.data)


def commands(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The PUBs in it: what stands between the subject and the size, and the payload."""
    while data:
        head, _, rest = data.partition(b"\r\n")
        name, subject, *reply, size = head.split()
        assert (name, subject) == (b"PUB", b"deltas")
        assert rest[int(size) : int(size) + 2] == b"\r\n"
        yield b" ".join(reply), rest[: int(size)]
        data = rest[int(size) + 2 :]


@pytest.mark.parametrize("jetstream", [False, True])
@pytest.mark.parametrize(("per_frame", "sizes"), [(1, [1] * 7), (3, [3, 3, 1])])
def test_every_delta_is_a_message_and_the_last_of_a_frame_alone_asks_for_an_answer(
    jetstream: bool, per_frame: int, sizes: list[int]
) -> None:
    frames = Nats(jetstream).encode(deltas(0, 7), per_frame)
    found = [list(commands(payload_of(frame))) for frame in frames]
    assert [len(frame) for frame in found] == sizes
    assert [delta for frame in found for _, delta in frame] == list(deltas(0, 7))
    asked = b"answers" if jetstream else b""
    assert [reply for frame in found for reply, _ in frame[:-1]] == [b""] * (7 - len(sizes))
    assert [frame[-1][0] for frame in found] == [asked] * len(sizes)


def test_the_marker_of_a_delivery_is_in_no_delta() -> None:
    assert not any(RunningNats.delivery_marker in delta for delta in deltas(0, 3 * SESSIONS, 5000))


def test_without_the_program_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_suite.systems.nats.find_program", lambda _: None)
    with pytest.raises(BenchError, match="apt-get install nats-server"), Nats().start(tmp_path):
        pass


@real
@pytest.mark.parametrize("jetstream", [False, True])
def test_every_subscriber_gets_every_delta_once(jetstream: bool) -> None:
    figures = Deliveries(SHORT, 3).round(Nats(jetstream))
    assert figures["deltas"] >= 64
    assert figures["value"] > 0


@real
def test_frames_of_one_delta_and_of_many_are_recorded() -> None:
    figures = [Ingest(SHORT, per_frame).round(Nats(jetstream=True)) for per_frame in (1, 100)]
    assert all(each["deltas"] >= 64 for each in figures)


@real
def test_a_stream_records_what_was_published_byte_for_byte(tmp_path: Path) -> None:
    with Nats(jetstream=True).start(tmp_path) as running:
        assert running.recorded_count() == 0
        with publisher_to(running) as publisher:
            asked = {"system": "nats-jetstream", "start": 0, "count": 5, "per_frame": 5, "size": 500}
            publisher.ask("prepare", **asked)
            publisher.ask("flood", timeout_s=30)
        # The answer has come, and it means that all of the frame are stored.
        assert running.recorded_count() == 5
        kept = [
            running.ask(f"STREAM.MSG.GET.{STREAM}", {"seq": seq})["message"]["data"] for seq in range(1, 6)
        ]
        with pytest.raises(BenchError, match=r"refuses STREAM\.INFO\.OTHER"):
            running.ask("STREAM.INFO.OTHER")
    assert [base64.b64decode(data) for data in kept] == list(deltas(0, 5))


@real
def test_all_that_a_stream_has_is_read_again_however_much_that_is(tmp_path: Path) -> None:
    plan = Plan(rows=(100, 450))
    curve = CatchUp(plan, Shelf(tmp_path, plan)).round(Nats(jetstream=True))["curves"][0]
    assert [point["size"] for point in curve["points"]] == [100, 450]


@real
def test_its_latency_is_measured_with_several_deltas_in_a_frame() -> None:
    quiet = Latency(SHORT).round(Nats())["quiet"]
    assert (quiet["missing"], quiet["twice"], quiet["out_of_order"], quiet["closed"]) == (0, 0, 0, [])


@real
def test_a_server_that_is_set_up_wrongly_is_told_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_suite.systems.nats.CONFIG", "no_such_setting: true\n")
    with pytest.raises(BenchError, match="no_such_setting"), Nats().start(tmp_path):
        pass
