"""Figures at several sizes: how they are reckoned, and a short run of all of them with a real recorder."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from bench_suite.connecting import websocket
from bench_suite.curves import as_lines, drawn
from bench_suite.errors import BenchError
from bench_suite.figures import Spread
from bench_suite.measures.growing import NAMES
from bench_suite.measures.query import KINDS
from bench_suite.measures.snapshot import copy_seconds
from bench_suite.payload import deltas, session_id
from bench_suite.points import Curve, Point, round_of, slope
from bench_suite.processes import memory_bytes
from bench_suite.run import Case, run
from bench_suite.systems import named
from bench_suite.systems.base import Options, System
from bench_suite.workers.asking import NEXT, ask
from bench_suite.workers.resuming import LAST_BYTES, resume
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.scripted import UPGRADED, Scripted

BENCH = str(Path(__file__).resolve().parents[2] / "scripts" / "bench")
MARKER, LIVE = '{"event":"delta",', '{"event":"live",'


class TestSlope:
    @given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.sets(st.integers(0, 10**6), min_size=2, max_size=6))
    def test_of_a_straight_line_it_is_what_the_line_rises_by(
        self, rise: float, level: float, sizes: set[int]
    ) -> None:
        ordered = sorted(sizes)
        found = slope(ordered, [level + rise * size for size in ordered])
        assert found == pytest.approx(rise, abs=1e-6, rel=1e-6)

    def test_a_single_size_has_none(self) -> None:
        with pytest.raises(ValueError, match="no slope"):
            slope([5, 5], [1.0, 2.0])


def _case(
    measure: str, case: str, curve: str, rounds: list[list[float]], sizes: tuple[int, int] = (100, 1000)
) -> Case:
    unit = "rows/s"
    made = [
        round_of([Curve(curve, "rows recorded", unit, tuple(map(Point, sizes, values)))], values[-1])
        for values in rounds
    ]
    return Case(measure, case, unit, {"recorder": made})


class TestCurves:
    def test_growth_and_slope_are_taken_round_by_round(self) -> None:
        # The machine was half as fast in the second round, at both sizes.
        curve = next(drawn(_case("load", "start to ready", "start", [[10, 20], [20, 40]]), 500))
        assert curve.growth == Spread(2, 2, 2)
        assert curve.values == (Spread(10, 15, 20), Spread(20, 30, 40))
        assert curve.slope == Spread(10 / 900, 15 / 900, 20 / 900)

    @pytest.mark.parametrize(
        ("measure", "case", "curve", "values", "met"),
        [
            ("catch-up", "since=earliest", "resume", [1.0, 300_000.0], True),
            ("catch-up", "since=earliest", "resume", [900_000.0, 299_999.0], False),
            ("memory", "idle connections", "server", [1e6, 1e6 + 900 * 8000], True),
            ("memory", "idle connections", "server", [1e6, 1e6 + 900 * 8001], False),
            ("growth", "with what is there", "one delta a frame", [100.0, 90.0], True),
            ("growth", "with what is there", "one delta a frame", [100.0, 89.0], False),
            ("load", "start to ready", "start", [1.0, 2.0], None),
        ],
    )
    def test_goals_are_held_against_the_figure_that_they_are_for(
        self, measure: str, case: str, curve: str, values: list[float], met: bool | None
    ) -> None:
        found = _case(measure, case, curve, [values])
        assert next(drawn(found, 500)).met is met
        assert next(drawn(found, 5000)).goal is None

    def test_what_was_reached_is_the_figure_that_the_goal_is_for(self) -> None:
        memory = _case("memory", "idle connections", "server", [[1e6, 1e6 + 900 * 4000]])
        assert next(drawn(memory, 500)).as_json()["reached"] == "4,000 rows/s"
        falling = _case("growth", "with what is there", "arrays of 100", [[100.0, 50.0], [100.0, 70.0]])
        assert next(drawn(falling, 500)).as_json()["reached"] == "0.6 (0.5 to 0.7) ×"

    @pytest.mark.parametrize(
        ("rows", "share", "met"), [(10**6, 0.05, True), (10**6, 0.06, False), (10**5, 0.06, None)]
    )
    def test_a_snapshot_has_a_goal_in_a_million_rows_alone(
        self, rows: int, share: float, met: bool | None
    ) -> None:
        found = _case("snapshot", "on demand", "1,000 new / full copy", [[9.0, share]], (1000, rows))
        assert next(drawn(found, 500)).met is met

    def test_a_line_has_every_size_the_growth_the_slope_and_the_goal(self) -> None:
        found = _case("catch-up", "since=earliest", "resume", [[250_000, 200_000], [250_000, 300_000]])
        text = "\n".join(as_lines(found, 500))
        assert "250,000 rows/s" in text
        assert "250,000 (200,000 to 300,000) rows/s" in text
        assert "1 (0.8 to 1.2) ×" in text
        assert "goal at the largest ≥ 300,000: not met" in text

    def test_a_system_that_failed_is_told(self) -> None:
        found = _case("load", "start to ready", "start", [[1, 2]])
        found.rounds["other"] = []
        assert any(line.split() == ["other", "failed"] for line in as_lines(found, 500))


class TestSessions:
    def test_as_many_as_asked_take_turns_each_going_on_from_its_last_state(self) -> None:
        had: dict[str, Any] = {}
        for text in deltas(0, 300, 500, sessions=100):
            assert len(text) == 500
            delta = json.loads(text)
            assert had.get(delta["sessionId"], delta["before"]) == delta["before"]
            had[delta["sessionId"]] = delta["after"]
        assert list(had) == [session_id(number, 100) for number in range(100)]


class TestResuming:
    def test_rows_are_counted_up_to_the_moment_where_it_is_live(self) -> None:
        rows = (MARKER + "." * 400 + "}") * 3
        pieces = (rows[:30], rows[30:] + LIVE[:5], LIVE[5:] + '"seq":3}')
        with Scripted(UPGRADED, *(piece.encode() for piece in pieces)) as server:
            found = _resume(server.port)
        assert found["rows"] == 3
        assert found["seconds"] >= 0

    def test_what_stands_in_a_delta_is_not_taken_for_its_end(self) -> None:
        # Within what is looked at of a piece, an escaped text is another text.
        row = MARKER + json.dumps(LIVE) + "." * LAST_BYTES + "}"
        with (
            Scripted(UPGRADED, row.encode(), stay=False) as server,
            pytest.raises(BenchError, match="closed after 1 deltas"),
        ):
            _resume(server.port)


def _resume(port: int) -> dict[str, Any]:
    return resume(websocket("127.0.0.1", port, "/ws").to_json(), MARKER, LIVE, 30)


class TestAsking:
    def test_pages_are_followed_by_their_cursors(self) -> None:
        answers = {
            "/deltas?limit=1": '{"deltas":[{"at":1}],"next":"abc"}',
            "/deltas?limit=1&cursor=abc": '{"deltas":[{"at":2}],"next":"def"}',
            "/deltas?limit=1&cursor=def": '{"deltas":[{"at":3}],"next":null}',
        }
        with _answering(answers) as (port, asked):
            found = ask("127.0.0.1", port, ["/deltas?limit=1", NEXT, NEXT], '"at":')
        assert asked == list(answers)
        assert found["found"] == 3
        assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]

    def test_a_page_that_does_not_follow_is_told(self) -> None:
        with (
            _answering({"/deltas?limit=1": '{"next":null}'}) as (port, _),
            pytest.raises(BenchError, match="no page follows"),
        ):
            ask("127.0.0.1", port, ["/deltas?limit=1", NEXT], "x")

    def test_a_refused_question_is_told(self) -> None:
        with _answering({}) as (port, _), pytest.raises(BenchError, match="GET /nothing: 404"):
            ask("127.0.0.1", port, ["/nothing"], "x")


@contextmanager
def _answering(answers: dict[str, str]) -> Iterator[tuple[int, list[str]]]:
    """A server that has these answers; its port, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            body = answers.get(self.path, "no").encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join()


def test_a_measure_is_taken_only_of_systems_that_can() -> None:
    measure = _Noting()
    systems = [named("obvious", Options()), named("recorder", Options())]
    results = run([measure], systems, 1, of={"load": ("recorder",)})
    assert measure.ran == ["recorder"]
    assert list(results.cases[0].rounds) == ["recorder"]
    assert run([measure], systems[:1], 1, of={"load": ("recorder",)}).cases == []


class _Noting:
    name, case, unit = "load", "start to ready", "s"

    def __init__(self) -> None:
        self.ran: list[str] = []

    def round(self, system: System) -> dict[str, Any]:
        self.ran.append(system.name)
        return {"value": 1.0}


def test_memory_that_a_process_holds_is_seen() -> None:
    before = memory_bytes(os.getpid())
    held = bytearray(os.urandom(1 << 20)) * 64
    assert memory_bytes(os.getpid()) - before > len(held) // 2


def test_a_full_copy_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    with sqlite3.connect(path) as conn:
        conn.execute("CREATE TABLE t(x)")
    conn.close()
    assert copy_seconds(path) > 0
    assert list(tmp_path.iterdir()) == [path]


def test_rows_that_do_not_ascend_are_refused() -> None:
    done = subprocess.run(
        [BENCH, "load", "--rows", "20,10"], env=_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--rows must be" in done.stderr


CURVES = {
    "catch-up": {"resume", "resume, CPU"},
    "snapshot": {"100 new", "500 new", "in 1,000", "in 3,000", "full copy", "100 new / full copy"},
    "load": {"start"},
    "query": {f"{kind}, {name}" for kind in KINDS for name in ("p50", "p99")},
    "memory": {"server"},
    "growth": {
        f"{name}{by}"
        for name in ("arrays of 100", "one delta a frame", "100 subscribers")
        for by in ("", ", CPU")
    },
}


# About two seconds each; a machine that is busy with other things may take many times that.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("measures", [("catch-up", "load"), ("snapshot", "query"), ("memory",), ("growth",)])
def test_a_quick_run_gives_every_curve_of_the_recorder(measures: tuple[str, ...], tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    done = subprocess.run(
        [BENCH, "--quick", "--systems", "recorder", "--json", str(kept), *measures],
        env={**_environment(), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    curves: dict[str, set[str]] = {}
    for curve in json.loads(kept.read_text())["curves"]:
        curves.setdefault(curve["measure"], set()).add(curve["curve"])
        assert len(curve["values"]) == len(curve["sizes"]) > 1
        assert all(value["median"] >= 0 for value in curve["values"])
    assert curves == {name: CURVES[name] for name in measures}
    assert list(tmp_path.iterdir()) == [kept]


def test_every_measure_of_several_sizes_is_run() -> None:
    assert set(CURVES) == set(NAMES)


def _environment() -> dict[str, str]:
    return {**os.environ, "BENCH_PYTHON": sys.executable}
