"""The parts of the benchmark that could be wrong without anybody seeing it, and a short run of it all."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bench_suite.bare import delivery
from bench_suite.connecting import Opening, websocket
from bench_suite.errors import BenchError
from bench_suite.figures import Spread, percentile, ratio
from bench_suite.frames import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    FrameParser,
    MarkerCounter,
    client_frame,
    mask,
    publish_frames,
)
from bench_suite.goals import comparisons
from bench_suite.measures.plan import Plan, enough
from bench_suite.payload import SESSIONS, STAMP_DIGITS, STAMP_PREFIX, deltas
from bench_suite.processes import Server, Worker, child_environment, cpu_seconds
from bench_suite.report import as_json, as_text
from bench_suite.run import Case, Results, run, told
from bench_suite.systems import named
from bench_suite.systems.base import Options, System
from bench_suite.workers.chores import Chores
from bench_suite.workers.listeners import Listener
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from tests.bench.scripted import UPGRADED, Scripted

BENCH = str(Path(__file__).resolve().parents[2] / "scripts" / "bench")
MARKER = b'{"event":"delta",'
# Two threads that take 0.2 s of CPU each, one of which stays; the main one takes next to nothing.
BUSY_THREADS = """
import threading, time
def burn():
    while time.thread_time() < 0.2: pass
def burn_and_stay():
    burn()
    print("listening on http://127.0.0.1:1", flush=True)
    threading.Event().wait()
one = threading.Thread(target=burn)
one.start()
one.join()
threading.Thread(target=burn_and_stay).start()
"""


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` cut at these places, wherever they are within it."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in pairwise(places)]


def server_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A frame as servers send them."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


class TestMarkerCounter:
    @given(
        st.lists(st.sampled_from([MARKER, MARKER[:-1], MARKER[1:], b"{", b'"', b"x" * 30]), max_size=30),
        st.lists(st.integers(min_value=0), max_size=40),
    )
    def test_counts_each_marker_once_wherever_the_stream_is_cut(
        self, parts: list[bytes], cuts: list[int]
    ) -> None:
        stream = b"".join(parts)
        counter = MarkerCounter(MARKER, bytearray(1024))
        for piece in pieces(stream, cuts):
            counter.feed(piece)
        assert counter.count == stream.count(MARKER)

    def test_counts_a_marker_that_comes_byte_by_byte(self) -> None:
        counter = MarkerCounter(MARKER, bytearray(64))
        for byte in MARKER * 3:
            counter.feed(bytes([byte]))
        assert counter.count == 3

    def test_counters_that_share_a_buffer_do_not_see_each_others_bytes(self) -> None:
        buffer = bytearray(256)
        one, other = MarkerCounter(MARKER, buffer), MarkerCounter(MARKER, buffer)
        one.feed(b"..." + MARKER[:9])
        other.feed(MARKER[9:] + b"..." + MARKER[:4])
        one.feed(MARKER[9:])
        other.feed(MARKER[4:])
        assert (one.count, other.count) == (1, 1)

    def test_tells_the_end_of_the_stream(self) -> None:
        counter = MarkerCounter(MARKER, bytearray(64))
        assert counter.receive(lambda _: 0) == 0


class TestFrames:
    @given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
    def test_masking_is_xor_with_the_key_over_and_over(self, payload: bytes, key: bytes) -> None:
        assert mask(payload, key) == bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))

    @pytest.mark.parametrize("size", [0, 1, 125, 126, 500, 65535, 65536])
    def test_client_frames_are_read_by_websockets_as_they_were_meant(self, size: int) -> None:
        payload = b"a" * size
        parsed = _parsed(client_frame(payload))
        assert (parsed.opcode, bytes(parsed.data), parsed.fin) == (Opcode.TEXT, payload, True)

    def test_arrays_hold_all_deltas_and_the_last_may_be_shorter(self) -> None:
        frames = list(publish_frames((b"%d" % number for number in range(7)), 3))
        arrays = [json.loads(bytes(_parsed(frame).data)) for frame in frames]
        assert arrays == [[0, 1, 2], [3, 4, 5], [6]]

    @given(
        st.lists(st.tuples(st.sampled_from([TEXT, PING, CLOSE]), st.integers(0, 400)), max_size=8),
        st.lists(st.integers(min_value=0), max_size=20),
    )
    def test_the_parser_finds_every_frame_wherever_the_stream_is_cut(
        self, kinds: list[tuple[int, int]], cuts: list[int]
    ) -> None:
        frames = [(opcode, b"%d " % at + b"y" * size) for at, (opcode, size) in enumerate(kinds)]
        stream = b"".join(server_frame(payload, opcode) for opcode, payload in frames)
        parser = FrameParser()
        assert [frame for piece in pieces(stream, cuts) for frame in parser.feed(piece)] == frames

    def test_the_parser_reads_sixty_four_bit_lengths(self) -> None:
        assert FrameParser().feed(server_frame(b"z" * 70_000)) == [(TEXT, b"z" * 70_000)]


class TestFigures:
    def test_percentiles_are_values_that_occurred(self) -> None:
        thousand = [float(number) for number in range(1, 1001)]
        found = [percentile(thousand, percent) for percent in (50, 99, 99.9, 100)]
        assert found == [500, 990, 999, 1000]

    def test_the_percentiles_of_one_value_are_that_value(self) -> None:
        assert {percentile([7.0], percent) for percent in (0.1, 50, 99.9, 100)} == {7.0}

    @given(
        st.lists(st.floats(0, 1e6), min_size=1, max_size=200),
        st.floats(min_value=0, max_value=100, exclude_min=True),
    )
    def test_at_least_that_share_of_the_values_is_not_above_a_percentile(
        self, values: list[float], percent: float
    ) -> None:
        found = percentile(sorted(values), percent)
        assert sum(value <= found for value in values) >= percent * len(values) / 100 - 1e-6

    @pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 100.1)])
    def test_a_percentile_of_nothing_is_refused(self, values: list[float], percent: float) -> None:
        with pytest.raises(ValueError, match="percent"):
            percentile(values, percent)

    def test_ratios_are_taken_round_by_round(self) -> None:
        # The machine was half as fast in the second round, for both.
        assert ratio([100, 50, 120], [10, 5, 10]) == Spread(10, 10, 12)

    def test_rounds_that_do_not_pair_are_refused(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            ratio([1, 2], [1])

    def test_the_number_of_deltas_follows_from_speed_within_bounds(self) -> None:
        plan = Plan(seconds=2, most=5000)
        assert [enough(rate, plan) for rate in (1, 1000, 1e6)] == [64, 2000, 5000]


class TestPayload:
    @pytest.mark.parametrize("size", [400, 500, 5000])
    def test_every_delta_has_the_asked_size(self, size: int) -> None:
        assert {len(delta) for delta in deltas(0, 3 * SESSIONS, size)} == {size}

    def test_deltas_far_into_a_run_have_the_asked_size(self) -> None:
        assert {len(delta) for delta in deltas(2_000_000, 5)} == {500}

    def test_every_delta_continues_what_its_session_had_last(self) -> None:
        had: dict[str, object] = {}
        for text in deltas(0, 4 * SESSIONS):
            delta = json.loads(text)
            assert had.get(delta["sessionId"], delta["before"]) == delta["before"]
            had[delta["sessionId"]] = delta["after"]
        assert len(had) == SESSIONS

    def test_the_stamp_is_found_once_and_is_the_number(self) -> None:
        for number, delta in enumerate(deltas(100, 200), 100):
            assert delta.count(STAMP_PREFIX) == 1
            at = delta.index(STAMP_PREFIX) + len(STAMP_PREFIX)
            assert int(delta[at : at + STAMP_DIGITS]) == number

    def test_sizes_out_of_range_are_refused(self) -> None:
        with pytest.raises(ValueError, match="size must be"):
            deltas(0, 1, 100)

    def test_a_bare_delivery_carries_the_marker_once(self) -> None:
        assert delivery(500).count(MARKER) == 1


class TestListener:
    def test_lost_doubled_and_misordered_deltas_are_told(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            listener = Listener(ours)
            listener.begin(10, 5)
            sent = list(deltas(10, 5))
            for place in (0, 2, 1, 1, 4):
                listener.feed(server_frame(sent[place]), now_ns=1000 + place)
        assert (listener.received, listener.twice, listener.out_of_order, listener.complete) == (
            4,
            1,
            2,
            False,
        )
        assert list(listener.arrived_ns) == [1000, 1001, 1002, 0, 1004]

    def test_a_binary_frame_may_hold_several_deltas(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            listener = Listener(ours)
            listener.begin(7, 3)
            text = b"".join(b"MSG deltas 1 500\r\n%b\r\n" % delta for delta in deltas(7, 3))
            listener.feed(server_frame(text, BINARY), now_ns=9)
        assert (list(listener.arrived_ns), listener.twice, listener.out_of_order) == ([9, 9, 9], 0, 0)

    def test_pings_are_answered(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            Listener(ours).feed(server_frame(b"beat", PING), now_ns=1)
            pong = theirs.recv(100)
        assert (_parsed(pong).opcode, bytes(_parsed(pong).data)) == (Opcode.PONG, b"beat")

    def test_a_close_is_told_with_its_code_and_reason(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            listener = Listener(ours)
            listener.feed(server_frame((4408).to_bytes(2, "big") + b"too slow", CLOSE), now_ns=1)
        assert listener.closed == "4408 too slow"


class TestRun:
    def test_systems_take_turns(self) -> None:
        measure = _Counting()
        results = run([measure], [named("obvious", Options()), named("bare", Options())], 2)
        assert measure.ran == ["obvious", "bare", "obvious", "bare"]
        assert results.problems == []

    def test_a_system_that_fails_is_left_out_and_told(self) -> None:
        measure = _Counting(failing="bare")
        results = run([measure], [named("obvious", Options()), named("bare", Options())], 3)
        assert measure.ran == ["obvious", "bare", "obvious", "obvious"]
        assert results.problems == ["deliveries, 1 subscriber, bare, round 1: 3 deltas lost"]
        assert results.cases[0].ratio("bare", "obvious") is None

    def test_a_round_that_lost_a_delta_or_a_reader_says_so(self) -> None:
        phase = {"missing": 2, "twice": 0, "out_of_order": 0, "closed": ["4408 too slow"]}
        assert told({"quiet": phase, "chores": {"problems": ["export: 503"]}}) == [
            "quiet: 2 deltas missing",
            "quiet: a reader was closed: 4408 too slow",
            "export: 503",
        ]

    def test_the_table_has_the_ratio_and_its_goal(self) -> None:
        numbers = {"per_cpu_s": 1, "deltas": 1, "seconds": 1.0, "peak_mb": 1}
        rounds = {"recorder": [{"value": 1300.0, **numbers}], "obvious": [{"value": 100.0, **numbers}]}
        case = Case("deliveries", "100 subscribers", "deliveries/s", rounds)
        text = as_text(Results([case]), [], {"size": 500, "rounds": 1})
        assert "13.00×" in text
        assert "goal ≥ 12×: met" in text

    def test_a_goal_can_be_about_cpu_time_and_both_ratios_are_told(self) -> None:
        numbers = {"deltas": 1, "seconds": 1.0, "peak_mb": 1}
        rounds = {
            "recorder": [{"value": 300.0, "per_cpu_s": 260.0, **numbers}],
            "nats": [{"value": 100.0, "per_cpu_s": 130.0, **numbers}],
        }
        case = Case("deliveries", "1000 subscribers", "deliveries/s", rounds)
        text = as_text(Results([case]), [], {"size": 500, "rounds": 1})
        assert re.search(r"recorder / nats  .* 3\.00× +goal ≥ 1\.4×: met", text)
        assert re.search(r"recorder / nats, per CPU s .* 2\.00× +goal ≥ 2\.5×: not met", text)
        kept = as_json(Results([case]), [], {"size": 500, "rounds": 1})["ratios"]
        assert [(each["figure"], each["goal"], each["met"]) for each in kept] == [
            ("value", 1.4, True),
            ("per_cpu_s", 2.5, False),
        ]

    def test_goals_are_for_deltas_of_one_size(self) -> None:
        numbers = [{"value": 1.0, "per_cpu_s": 1.0}]
        case = Case("deliveries", "100 subscribers", "", {"recorder": numbers, "nats": numbers})
        assert [found.goal for found in comparisons(case, 5000)] == [None, None]

    def test_a_system_takes_part_in_its_measures_alone(self) -> None:
        measure = _Counting()
        systems = [named("obvious", Options()), named("bare", Options())]
        run([measure], systems, 1, {"bare": ("ingest", "latency"), "obvious": ("latency", "deliveries")})
        assert measure.ran == ["obvious"]

    def test_a_system_may_take_part_in_some_cases_of_a_measure_alone(self) -> None:
        measure = _Counting()
        systems = [named("obvious", Options()), named("bare", Options())]
        run([measure], systems, 1, {"bare": ("deliveries, 1 subscriber",), "obvious": ("deliveries, 2",)})
        assert measure.ran == ["bare"]


class TestProcesses:
    def test_a_server_that_does_not_start_is_told_with_its_log(self, tmp_path: Path) -> None:
        argv = [sys.executable, "-c", "raise SystemExit('no such setting')"]
        with (
            pytest.raises(BenchError, match="no such setting"),
            Server(argv, child_environment(), tmp_path) as server,
        ):
            server.wait_listening()

    def test_a_server_that_dies_is_told(self, tmp_path: Path) -> None:
        argv = [
            sys.executable,
            "-c",
            "print('listening on http://127.0.0.1:1\\nlast words'); raise SystemExit(3)",
        ]
        with pytest.raises(BenchError, match=r"(?s)died with code 3.*last words"):
            _start_and_wait_for_its_end(Server(argv, child_environment(), tmp_path))

    def test_no_setting_of_the_caller_reaches_a_child(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RECORDER_PORT", "1")
        monkeypatch.setenv("PERSIST", "0")
        assert not {"RECORDER_PORT", "PERSIST"} & child_environment().keys()

    def test_cpu_time_of_a_process_is_read(self) -> None:
        with Worker("bench_suite.workers.readers") as worker:
            assert worker._process is not None
            assert 0 <= cpu_seconds(worker._process.pid) < 60

    def test_cpu_time_covers_all_threads_those_that_have_ended_too(self, tmp_path: Path) -> None:
        with Server([sys.executable, "-c", BUSY_THREADS], child_environment(), tmp_path) as server:
            server.wait_listening()
            # 0.4 s of two threads of which one is gone, read in steps of 10 ms each for user and system.
            assert cpu_seconds(server.pid) >= 0.36

    def test_what_a_worker_fails_at_is_told(self) -> None:
        nobody = Opening("127.0.0.1", _unused_port(), ())
        with (
            Worker("bench_suite.workers.readers") as worker,
            pytest.raises(BenchError, match="ConnectionRefused"),
        ):
            worker.ask("open", opening=nobody.to_json(), marker="m", count=1)


class TestOpening:
    def test_it_travels_as_json(self) -> None:
        opening = websocket("127.0.0.1", 80, "/ws", greeting=b'"event":"hello"')
        assert Opening.from_json(json.loads(json.dumps(opening.to_json()))) == opening

    def test_a_subprotocol_is_asked_for_and_what_is_spoken_over_it_follows(self) -> None:
        with Scripted(UPGRADED, b"\x82\x05READY and more") as server:
            opening = websocket(
                "127.0.0.1", server.port, "/", subprotocol="mqtt", then=((b"hello", b"READY"),)
            )
            sock, rest = opening.connect()
            sock.close()
        assert b"\r\nSec-WebSocket-Protocol: mqtt\r\n" in opening.steps[0][0]
        assert rest.startswith(b" and")

    def test_a_step_without_an_answer_is_not_waited_for(self) -> None:
        with Scripted(UPGRADED) as server:
            sock, rest = websocket("127.0.0.1", server.port, "/", then=((b"listen", b""),)).connect()
            sock.close()
        assert rest == b""

    def test_the_greeting_is_waited_for_and_left_to_the_reader(self) -> None:
        with Scripted(UPGRADED, b'{"event":', b'"hello"}rest') as server:
            sock, rest = websocket("127.0.0.1", server.port, "/ws", greeting=b'"event":"hello"').connect()
            sock.close()
        assert rest.startswith(b'{"event":"hello"}')

    def test_a_refused_upgrade_is_told(self) -> None:
        with (
            Scripted(b"HTTP/1.1 403 Forbidden\r\n\r\n") as server,
            pytest.raises(BenchError, match="403 Forbidden"),
        ):
            websocket("127.0.0.1", server.port, "/ws").connect()


class TestChores:
    def test_a_resume_is_counted_up_to_the_moment_where_it_is_live(self) -> None:
        history = MARKER + b"...}" + MARKER + b"...}"
        with Scripted(UPGRADED, history[:30], history[30:] + b'{"event":"li', b've","seq":2}') as server:
            assert _chores(server.port).resume() == {"rows": 2}

    def test_a_resume_that_is_cut_is_told(self) -> None:
        with Scripted(UPGRADED, MARKER + b"...}", stay=False) as server:
            chores = _chores(server.port)
            chores.again_and_again("resume", chores.resume, until=0)
        assert chores.problems == ["resume: BenchError: closed after 1 deltas, before it was live"]

    def test_an_export_is_counted_in_lines(self) -> None:
        with Scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"{}\n{}\n{", b"}\n") as server:
            assert _chores(server.port).export() == {"rows": 3}

    def test_a_refused_prune_is_told(self) -> None:
        refusal = b'HTTP/1.1 422 Unprocessable\r\nContent-Length: 4\r\n\r\n"no"'
        with Scripted(refusal) as server, pytest.raises(BenchError, match='422 "no"'):
            _chores(server.port).post("/api/admin/prune", {"olderThan": "2026-11-20T12:00:00.000Z"})


def test_help_is_there() -> None:
    done = subprocess.run([BENCH, "--help"], env=_environment(), capture_output=True, text=True, check=True)
    assert "--subscribers" in done.stdout


def test_an_unknown_measure_is_refused() -> None:
    done = subprocess.run([BENCH, "speed"], env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no measure 'speed'" in done.stderr


def test_a_quick_run_of_the_baseline_gives_every_figure(tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    command = [
        BENCH,
        "--quick",
        "--systems",
        "obvious",
        "--bare",
        "--subscribers",
        "1,20",
        "--json",
        str(kept),
    ]
    done = subprocess.run(
        command, env={**_environment(), "TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run_of = json.loads(kept.read_text())
    figures = {
        (figure["measure"], figure["case"], figure["system"]): figure["rounds"]
        for figure in run_of["figures"]
    }
    assert set(figures) == {
        ("deliveries", "1 subscriber", "obvious"),
        ("deliveries", "1 subscriber", "bare"),
        ("deliveries", "20 subscribers", "obvious"),
        ("deliveries", "20 subscribers", "bare"),
        ("ingest", "one delta a frame", "obvious"),
        ("ingest", "arrays of 100", "obvious"),
        ("latency", "1000 deltas/s", "obvious"),
        ("memory", "idle connections", "obvious"),
        ("memory", "recorded deltas", "obvious"),
    }
    assert all(len(rounds) == 1 for rounds in figures.values())
    assert list(tmp_path.iterdir()) == [kept]


def _environment() -> dict[str, str]:
    return {**os.environ, "BENCH_PYTHON": sys.executable}


def _parsed(data: bytes) -> Frame:
    """The frame that websockets sees in these bytes, which must be one frame exactly."""
    reader = StreamReader()
    reader.feed_data(data)
    parser = Frame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as ended:
        next(parser)
    assert reader.buffer == b""
    assert isinstance(ended.value.value, Frame)
    return ended.value.value


def _start_and_wait_for_its_end(server: Server) -> None:
    with server:
        server.wait_listening()
        os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)


def _chores(port: int) -> Chores:
    return Chores(
        "127.0.0.1", port, websocket("127.0.0.1", port, "/ws").to_json(), MARKER.decode(), '{"event":"live",'
    )


def _unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class _Counting:
    """A measure without any system: notes whose turn it was, and fails for one of them."""

    name, case, unit = "deliveries", "1 subscriber", "deliveries/s"

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.ran: list[str] = []

    def round(self, system: System) -> dict[str, Any]:
        self.ran.append(system.name)
        if system.name == self.failing:
            raise BenchError("3 deltas lost")
        return {"value": 1.0}
