"""`recorder stats`: from a file, from a server, for programs and for people."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recorder.cli.stats import _bytes, _duration, _label, _lines

Invoke = Callable[..., tuple[int, bytes, str]]


def test_figures_of_a_file_are_one_json_object(invoke: Invoke, database: Path) -> None:
    code, out, _ = invoke("stats", "--db", str(database))
    assert code == 0
    figures = json.loads(out)
    assert (figures["deltaCount"], figures["sessionCount"], figures["head"]) == (4, 3, 5)


def test_figures_of_a_server_are_passed_on(invoke: Invoke, server: Any) -> None:
    code, out, _ = invoke("stats", "--url", server.url)
    figures = json.loads(out)
    assert (code, figures["enabled"], figures["head"]) == (0, True, 0)
    assert figures["dbPath"] == f"{server.folder}/data/sessions.sqlite"


def test_figures_are_a_list_for_people_on_a_terminal(database: Path, on_terminal: Callable[..., str]) -> None:
    lines = on_terminal("-m", "recorder", "stats", "--db", str(database)).splitlines()
    found = dict(re.split(r"  +", line, maxsplit=1) for line in lines)
    assert found["database file"] == str(database)
    assert (found["deltas kept"], found["newest seq"]) == ("4", "5")
    assert re.fullmatch(r"[0-9.]+ KiB", found["file size"])
    text = on_terminal("-m", "recorder", "stats", "--json", "--db", str(database))
    assert json.loads(text)["deltaCount"] == 4


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3,072.0 GiB")],
)
def test_a_size_is_in_its_largest_unit(count: int, text: str) -> None:
    assert _bytes(count) == text


@pytest.mark.parametrize(("ms", "text"), [(0, "none"), (250, "250 ms"), (1500, "1,500 ms"), (60_000, "60 s")])
def test_a_time_span_has_its_unit(ms: int, text: str) -> None:
    assert _duration(ms) == text


def test_every_figure_of_a_server_has_words(server: Any, invoke: Invoke) -> None:
    figures = json.loads(invoke("stats", "--url", server.url)[1])
    words = [line.split("  ")[0] for line in _lines(figures)]
    assert len(words) == len(figures) - 1  # `enabled` is said by "recording"
    assert not [word for word in words if re.search("[A-Z]", word)]


def test_a_figure_that_a_newer_server_has_is_shown_with_its_name_as_words() -> None:
    assert _label("tapeRowCount") == "tape row count"
