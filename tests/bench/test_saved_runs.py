"""What is made of a kept run: a comparison with an earlier one, a picture, and the documentation's section on speed."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from bench_suite.compare import as_text, ratios
from bench_suite.errors import BenchError
from bench_suite.figures import Spread, number
from bench_suite.plot import as_svg
from bench_suite.render import BEGIN, END, as_markdown, put_into, wrong_with
from bench_suite.saved_runs import figures, load
from bench_suite.systems import NAMES

ROOT = Path(__file__).resolve().parents[2]
BENCH = str(ROOT / "scripts" / "bench")
SVG = "{http://www.w3.org/2000/svg}"


def throughput(measure: str, case: str, system: str, *values: float) -> dict[str, Any]:
    rounds = [{"value": value, "per_cpu_s": 2 * value} for value in values]
    return {"measure": measure, "case": case, "unit": f"{measure}/s", "system": system, "rounds": rounds}


def latency(system: str, *p99s: tuple[float, float]) -> dict[str, Any]:
    rounds = [
        {
            phase: {"p50_ms": p99 / 2, "p99_ms": p99, "p999_ms": 2 * p99}
            for phase, p99 in zip(("quiet", "busy"), both, strict=True)
        }
        for both in p99s
    ]
    return {"measure": "latency", "case": "5000 deltas/s", "unit": "ms", "system": system, "rounds": rounds}


def curve(*values: float) -> dict[str, Any]:
    points = [
        {"size": size, "value": value, "beside": {}} for size, value in zip((1000, 9000), values, strict=True)
    ]
    made = {"name": "resume", "by": "rows recorded", "unit": "rows/s", "per": 1000, "points": points}
    rounds = [{"value": values[-1], "curves": [made]}]
    return {"measure": "catch-up", "case": "all", "unit": "rows/s", "system": "recorder", "rounds": rounds}


def a_run(**options: Any) -> dict[str, Any]:
    """A run as `--json` keeps it, of figures that are easy to reckon with."""
    about = {
        "durable": "no",
        "ordered": "yes",
        "resumes": "no",
        "note": "a | in it",
        "versions": {"ws": "8.1"},
    }
    spread = {"low": 1.0, "median": 13.0, "high": 20.0}
    return {
        "format": 1,
        "at": "2026-11-20T12:00:00+00:00",
        "machine": {"cpus": 2, "cpu": "Some <CPU>", "system": "Linux", "python": "3.11.7"},
        "options": {"rounds": 3, "quick": False, "size": 500, "sizes": [500], "rate": 5000, **options},
        "systems": {
            "recorder": {"records": "yes", **about},
            "obvious": {"records": "yes", **about},
            "bare": {"records": "no", **about},
        },
        "skipped": {"nats": "nats-server"},
        "figures": [
            throughput("deliveries", "1 subscriber", "recorder", 90, 100, 120),
            throughput("deliveries", "1 subscriber", "obvious", 10, 8, 12),
            throughput("deliveries", "1 subscriber", "bare", 1_234_567),
            throughput("deliveries", "100 subscribers", "recorder", 2000),
            throughput("deliveries", "100 subscribers", "obvious"),
            throughput("ingest", "arrays of 100", "recorder", 500),
            latency("recorder", (3.0, 6.0), (4.0, 12.0)),
            curve(500.0, 250.0),
        ],
        "ratios": [
            {
                "measure": "deliveries", "case": "1 subscriber", "of": "recorder", "over": "obvious",
                "figure": "per_cpu_s", **spread, "goal": 12.0, "met": True,
            },
            {
                "measure": "latency", "case": "5000 deltas/s", "of": "recorder, busy", "over": "recorder, quiet",
                **spread,
            },
        ],
        "curves": [
            {
                "measure": "catch-up", "case": "all", "system": "recorder", "curve": "resume",
                "by": "rows recorded", "unit": "rows/s", "per": 1000, "sizes": [1000, 9000],
                "values": [{"low": 1.0, "median": 500.0, "high": 600.0}, {"low": 1.0, "median": 250.0, "high": 300.0}],
                "growth": {"low": 0.5, "median": 0.5, "high": 0.5}, "slope": spread,
                "goal": "at the largest ≥ 300,000", "reached": "250 rows/s", "met": False,
            },
        ],
        "problems": [],
    }  # fmt: skip


class TestKept:
    def test_every_figure_of_every_system_is_found_with_its_rounds(self) -> None:
        found = {figure.key: figure.values for figure in figures(a_run())}
        assert found["deliveries", "1 subscriber", "obvious", ""] == (10, 8, 12)
        assert found["deliveries", "1 subscriber", "obvious", "per CPU s"] == (20, 16, 24)
        assert found["latency", "5000 deltas/s", "recorder", "busy p99"] == (6, 12)
        assert found["catch-up", "all", "recorder", "resume at 9,000 rows recorded"] == (250,)

    def test_a_system_that_failed_has_no_figure(self) -> None:
        assert ("deliveries", "100 subscribers", "obvious", "") not in {each.key for each in figures(a_run())}

    @pytest.mark.parametrize(
        ("text", "why"),
        [("{", "can't be read"), ("[]", "no run"), ('{"format": 99}', "no run"), (None, "can't be read")],
    )
    def test_what_is_no_kept_run_is_refused(self, text: str | None, why: str, tmp_path: Path) -> None:
        if text is not None:
            (tmp_path / "run.json").write_text(text)
        with pytest.raises(BenchError, match=why):
            load(tmp_path / "run.json")

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0, "0"),
            (2_228_345, "2,230,000"),
            (999.6, "1,000"),
            (12.345, "12.3"),
            (0.01234, "0.0123"),
            (5.0, "5"),
        ],
    )
    def test_numbers_have_three_digits_that_count(self, value: float, text: str) -> None:
        assert number(value) == text


class TestCompare:
    def test_a_ratio_goes_as_far_as_any_two_rounds_do(self) -> None:
        run, earlier = a_run(), a_run()
        run["figures"][0] = throughput("deliveries", "1 subscriber", "recorder", 180, 200, 240)
        found = {figure.key: times for figure, times in ratios(run, earlier)}
        assert found["deliveries", "1 subscriber", "recorder", ""] == Spread(180 / 120, 2.0, 240 / 90)
        assert found["deliveries", "1 subscriber", "obvious", ""].mid == 1

    def test_what_only_one_of_them_has_is_left_out(self) -> None:
        run, earlier = a_run(), a_run()
        del earlier["figures"][0]
        assert {figure.key[:3] for figure, _ in ratios(run, earlier)} == {
            figure.key[:3] for figure in figures(earlier)
        }

    def test_the_table_says_where_less_is_better(self) -> None:
        lines = as_text(a_run(), a_run()).splitlines()
        assert any(re.match(r"  recorder, quiet p99 .* 1.00× .*less is better", line) for line in lines)
        assert not any(
            "less is better" in line for line in lines if "quiet" not in line and "busy" not in line
        )

    def test_another_machine_and_other_settings_are_said(self) -> None:
        run, earlier = a_run(), a_run(rounds=1)
        earlier["machine"]["python"] = "3.13.0"
        text = as_text(run, earlier)
        assert "ANOTHER MACHINE:\n    python: 3.11.7 now, 3.13.0 then" in text
        assert "other settings:\n    rounds: 3 now, 1 then" in text
        assert "1.00×" in text

    def test_nothing_is_said_of_the_same_machine(self) -> None:
        text = as_text(a_run(), a_run())
        assert "MACHINE" not in text
        assert "settings" not in text

    def test_runs_with_other_options_are_not_compared(self) -> None:
        text = as_text(a_run(rate=1000), a_run())
        assert "NOT COMPARED, these options differ:\n    rate: 1000 now, 5000 then" in text
        assert "×" not in text

    def test_further_sizes_do_not_matter_since_cases_name_theirs(self) -> None:
        assert "NOT COMPARED" not in as_text(a_run(sizes=[500, 5000]), a_run())

    def test_neither_does_how_busy_the_machine_was(self) -> None:
        assert "NOT COMPARED" not in as_text(a_run(load_at_start=3.0), a_run(load_at_start=0.1))

    def test_runs_without_a_common_figure_say_so(self) -> None:
        earlier = a_run()
        earlier["figures"] = []
        assert "no figure is in both" in as_text(a_run(), earlier)


class TestPlot:
    def test_every_bar_is_there_with_its_median_and_spread(self) -> None:
        svg = ElementTree.fromstring(as_svg(a_run()))
        told = [title.text for title in svg.iterfind(f"{SVG}g/{SVG}title")]
        assert "recorder: 100 deliveries/s (90 to 120)" in told
        assert "recorder, busy p99: 9 ms (6 to 12)" in told
        # One for each case and system that has figures, two of latency, and the one figure of the curve.
        assert len(told) == 4 + 1 + 2 + 1

    def test_bars_are_as_long_as_the_logarithm_says(self) -> None:
        run = a_run()
        run["figures"] = [
            throughput("ingest", "arrays", name, value)
            for name, value in (("recorder", 10_000), ("obvious", 1000), ("bare", 100_000))
        ]
        bars = ElementTree.fromstring(as_svg(run)).iterfind(f"{SVG}g/{SVG}rect")
        ours, obvious, bare = [float(bar.attrib["width"]) for bar in bars]
        assert obvious == 0
        assert ours == pytest.approx(bare / 2, abs=0.2)

    def test_it_names_its_scale_its_units_and_what_it_was_measured_on(self) -> None:
        texts = [text.text for text in ElementTree.fromstring(as_svg(a_run())).iter(f"{SVG}text")]
        assert "2026-11-20, 2 × Some <CPU>, Python 3.11.7" in texts
        assert "deliveries/s, log scale; more is better" in texts
        assert "ms, log scale; less is better" in texts

    def test_what_records_nothing_is_paler(self) -> None:
        bars = list(ElementTree.fromstring(as_svg(a_run())).iterfind(f"{SVG}g/{SVG}rect"))
        assert [bar.attrib["class"] for bar in bars[:3]] == ["bar ours", "bar", "bar pale"]

    def test_a_figure_of_nothing_has_a_bar_without_length(self) -> None:
        run = a_run()
        run["figures"] = [throughput("ingest", "arrays", "recorder", 0, 0)]
        bar = ElementTree.fromstring(as_svg(run)).find(f"{SVG}g/{SVG}rect")
        assert bar is not None
        assert float(bar.attrib["width"]) == 0


class TestRender:
    def test_the_section_says_on_what_and_when(self) -> None:
        said = " ".join(as_markdown(a_run()).partition("\n\n")[0].split())
        assert said.startswith(
            "Measured on 2026-11-20 by `scripts/bench` on 2 × Some <CPU>, Python 3.11.7, over loopback: medians of 3"
        )

    def test_figures_stand_beside_how_many_times_that_the_recorder_does(self) -> None:
        lines = as_markdown(a_run()).splitlines()
        assert "| recorder | 100 | 2,000 |" in lines
        assert "| obvious | 10 (10×) | – |" in lines
        assert "| bare, records nothing | 1,230,000 (0.000081×) | – |" in lines
        assert "| recorder at 5000 deltas/s, busy | 4.5 | 9 | 18 | 6 to 12 |" in lines

    def test_the_ratio_is_that_of_rounds_that_ran_one_after_the_other_where_there_is_one(self) -> None:
        # 13 in what was kept of the pairs; the medians alone would give 10.
        lines = as_markdown(a_run()).partition("per CPU second of the server")[2].splitlines()
        assert "| obvious | 20 (13×) | – |" in lines

    def test_goals_that_are_met_and_not_met_are_there(self) -> None:
        lines = as_markdown(a_run()).splitlines()
        met = (
            "| recorder / obvious, deliveries, 1 subscriber, per CPU second | 13× (1× to 20×) | ≥ 12× | met |"
        )
        assert met in lines
        assert "| catch-up, resume | 250 rows/s | at the largest ≥ 300,000 | not met |" in lines

    @pytest.mark.parametrize(("load", "said"), [(0.4, False), (3.5, True)])
    def test_a_busy_machine_is_said(self, load: float, said: bool) -> None:
        text = " ".join(as_markdown(a_run(load_at_start=load)).split())
        assert (f"a load of {load} when it began" in text) == said

    def test_what_was_skipped_and_what_means_little_is_said(self) -> None:
        text = " ".join(as_markdown(a_run(quick=True)).split())
        assert "Not measured, as not installed there: nats." in text
        assert "its figures mean little" in text

    def test_it_is_as_it_should_be(self) -> None:
        assert list(wrong_with(as_markdown(a_run()), NAMES)) == []

    @pytest.mark.parametrize(
        ("was", "now", "complaint"),
        [
            ("2026-11-20 by", "a Friday by", "when"),
            ("| obvious | 10 (10×) | – |", "| obvious | 10 (10×) |", "not a row of 3"),
            ("| obvious | 10 (10×) | – |", "| swift | 10 (10×) | – |", "no system 'swift'"),
            ("Goals:", "Wishes:", "no such heading"),
        ],
    )
    def test_what_is_not_is_found(self, was: str, now: str, complaint: str) -> None:
        section = as_markdown(a_run())
        assert was in section
        assert any(complaint in wrong for wrong in wrong_with(section.replace(was, now), NAMES))

    def test_only_what_stands_between_the_markers_is_replaced(self) -> None:
        assert put_into(f"a\n{BEGIN}\nold\n{END}\nz\n", "new\n") == f"a\n{BEGIN}\nnew\n{END}\nz\n"

    def test_a_text_without_markers_is_refused(self) -> None:
        with pytest.raises(BenchError, match="to write between"):
            put_into("a\n", "new\n")


def test_the_documentation_has_what_the_command_prints() -> None:
    section = (
        (ROOT / "recorder" / "docs" / "benchmarks.md")
        .read_text()
        .partition(BEGIN + "\n")[2]
        .partition(END)[0]
    )
    assert list(wrong_with(section, NAMES)) == []


def test_a_kept_run_is_rendered_compared_and_drawn_by_the_command(tmp_path: Path) -> None:
    kept, other, readme, picture = (tmp_path / name for name in ("a.json", "b.json", "README.md", "plot.svg"))
    kept.write_text(json.dumps(a_run()))
    earlier = copy.deepcopy(a_run())
    earlier["at"] = "2026-11-01T00:00:00+00:00"
    other.write_text(json.dumps(earlier))
    readme.write_text(f"before\n{BEGIN}\n{END}\n")
    command = [BENCH, "--render", kept, "--into", readme, "--compare", other, "--plot", picture]
    done = _bench(*map(str, command[1:]))
    assert done.returncode == 0, done.stderr
    assert readme.read_text() == f"before\n{BEGIN}\n{as_markdown(a_run())}{END}\n"
    assert picture.read_text() == as_svg(a_run())
    assert "beside the run of 2026-11-01" in done.stdout


def test_a_run_is_not_begun_when_the_other_one_cannot_be_read(tmp_path: Path) -> None:
    done = _bench("ingest", "--compare", str(tmp_path / "nothing.json"))
    assert done.returncode == 1
    assert "can't be read" in done.stderr
    assert "round 1" not in done.stderr


def test_a_run_is_compared_with_an_earlier_one_and_drawn(tmp_path: Path) -> None:
    kept, picture = tmp_path / "figures.json", tmp_path / "plot.svg"
    short = ("ingest", "--quick", "--seconds", "0.02", "--systems", "obvious")
    first = _bench(*short, "--json", str(kept))
    assert first.returncode == 0, first.stderr
    second = _bench(*short, "--compare", str(kept), "--plot", str(picture))
    assert second.returncode == 0, second.stderr
    assert re.search(r"ingest, arrays of 100 +now +now / then", second.stdout)
    assert "NOT COMPARED" not in second.stdout
    assert "MACHINE" not in second.stdout
    assert ElementTree.parse(picture).getroot().tag == f"{SVG}svg"


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "BENCH_PYTHON": sys.executable}
    return subprocess.run([BENCH, *arguments], env=env, capture_output=True, text=True, check=False)
