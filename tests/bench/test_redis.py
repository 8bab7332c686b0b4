"""Redis Streams as a peer of the benchmark: what is sent to it, how it is read, and short runs of the real one."""

from __future__ import annotations

import json
import re
import socket
from itertools import pairwise
from pathlib import Path

import pytest
from bench_suite.connecting import Opening
from bench_suite.errors import BenchError
from bench_suite.goals import comparisons
from bench_suite.measures.catch_up import CatchUp
from bench_suite.measures.deliveries import Deliveries
from bench_suite.measures.ingest import Ingest
from bench_suite.measures.plan import Plan
from bench_suite.needs import missing
from bench_suite.payload import SESSIONS, deltas
from bench_suite.polling import PollingCounter
from bench_suite.processes import Server, child_environment
from bench_suite.recordings import Shelf
from bench_suite.run import run
from bench_suite.systems import named
from bench_suite.systems.base import Options
from bench_suite.systems.redis import BEFORE_ANY, Redis, RunningRedis, command
from hypothesis import given
from hypothesis import strategies as st

MARKER = RunningRedis.delivery_marker
SHORT = Plan(seconds=0.02, most=2000)
real = pytest.mark.skipif(
    bool(missing(Redis.needs)), reason="; ".join(missing(Redis.needs)) or "it is installed"
)


def reading(tmp_path: Path) -> Opening:
    """How one reads from a Redis; nothing is started."""
    return RunningRedis(Server(["redis-server"], child_environment(), tmp_path), 1).subscribe


def answer(first: int, count: int) -> bytes:
    """What XREAD gives for deltas `first` to `first + count - 1`."""
    entries = b"".join(
        b"*2\r\n" + bulk(b"%d-7" % (BEFORE_ANY + 1 + number)) + b"*2\r\n" + bulk(b"d") + bulk(delta)
        for number, delta in enumerate(deltas(first, count), first)
    )
    return b"*1\r\n*2\r\n" + bulk(b"deltas") + b"*%d\r\n" % count + entries


def bulk(text: bytes) -> bytes:
    """A bulk string."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


def question(after: int) -> bytes:
    """The XREAD of a reader that has had `after` deltas."""
    last = b"%d-7" % (BEFORE_ANY + after)
    return command(b"XREAD", b"COUNT", b"1000", b"BLOCK", b"0", b"STREAMS", b"deltas", last)


@pytest.mark.parametrize("per_frame", [1, 3])
def test_every_frame_has_one_answer_that_is_counted(per_frame: int) -> None:
    frames = Redis("always").encode(deltas(5, 7), per_frame)
    assert [frame.count(b"XADD") for frame in frames] == ([1] * 7 if per_frame == 1 else [3, 3, 1])
    ids = re.findall(rb"\r\n(\d+)-([57])\r\n", b"".join(frames))
    assert [int(number) - BEFORE_ANY for number, _ in ids] == list(range(6, 13))
    marked = [number for number, mark in ids if mark == b"7"]
    assert len(marked) == len(frames)


def test_the_marker_of_a_delivery_is_once_in_an_entry_and_in_no_delta() -> None:
    assert not any(MARKER in delta for delta in deltas(0, 3 * SESSIONS, 5000))
    assert answer(0, 10).count(MARKER) == 10


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.lists(st.integers(0, 9000), max_size=30))
def test_a_reader_asks_once_after_each_whole_answer_wherever_it_is_cut(
    counts: list[int], cuts: list[int]
) -> None:
    polling = reading(Path()).polling
    assert polling is not None
    ours, theirs = socket.socketpair()
    with ours, theirs:
        counter = PollingCounter(MARKER, bytearray(1 << 14), polling, ours)
        had = 0
        for count in counts:
            # Asked for before, and for what comes next.
            assert theirs.recv(1 << 10) == question(had)
            whole = answer(had, count)
            places = sorted({0, len(whole), *(cut % len(whole) for cut in cuts)})
            theirs.setblocking(False)
            for begin, end in pairwise(places):
                with pytest.raises(BlockingIOError):
                    theirs.recv(1 << 10)
                counter.feed(whole[begin:end])
            had += count
            assert counter.count == had
        assert theirs.recv(1 << 10) == question(had)


@pytest.mark.parametrize("said", [b"-ERR unknown command\r\n" + b" " * 40, b"*-1\r\n" * 10])
def test_what_is_no_answer_is_told(said: bytes) -> None:
    polling = reading(Path()).polling
    assert polling is not None
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(BenchError, match="no answer that a reader knows"):
        PollingCounter(MARKER, bytearray(1 << 10), polling, ours).feed(said)


def test_how_one_asks_travels_as_json(tmp_path: Path) -> None:
    opening = reading(tmp_path)
    assert Opening.from_json(json.loads(json.dumps(opening.to_json()))) == opening


def test_without_the_program_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_suite.systems.redis.find_program", lambda _: None)
    with pytest.raises(BenchError, match="apt-get install redis-server"), Redis("always").start(tmp_path):
        pass


@real
@pytest.mark.parametrize("policy", ["everysec", "always"])
def test_every_reader_gets_every_delta_once(policy: str) -> None:
    figures = Deliveries(SHORT, 3).round(Redis(policy))
    assert figures["deltas"] >= 64
    assert figures["value"] > 0


@real
def test_more_than_one_answer_can_hold_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_suite.systems.redis.CHUNK", 7)
    assert Deliveries(SHORT, 2).round(Redis("everysec"))["deltas"] >= 64


@real
def test_all_that_a_stream_has_is_read_again_in_as_many_answers_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_suite.systems.redis.CHUNK", 40)
    plan = Plan(rows=(100, 450))
    curve = CatchUp(plan, Shelf(tmp_path, plan)).round(Redis("everysec"))["curves"][0]
    assert [point["size"] for point in curve["points"]] == [100, 450]


def test_what_gives_nothing_again_is_not_taken_for_a_stream(tmp_path: Path) -> None:
    plan = Plan(rows=(10,))
    with pytest.raises(BenchError, match="nothing that was before"):
        CatchUp(plan, Shelf(tmp_path, plan)).round(named("obvious", Options()))


@real
def test_ingest_is_measured_in_both_modes_beside_it() -> None:
    systems = [named("recorder-commit", Options()), named("redis-always", Options())]
    results = run([Ingest(SHORT, 1), Ingest(SHORT, 100)], systems, 1)
    assert results.problems == []
    ratios = [found for case in results.cases for found in comparisons(case, 500)]
    assert {(found.of, found.over) for found in ratios} == {("recorder-commit", "redis-always")}
    assert len(ratios) == 4
    assert all(found.times.low > 0 for found in ratios)
