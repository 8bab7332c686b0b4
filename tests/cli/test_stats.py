"""`recorder stats` from a database file and from a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    assert lines[0].split() == ["dbPath", str(database)]
    assert lines[2].split() == ["deltaCount", "4"]
    text = on_terminal("-m", "recorder", "stats", "--json", "--db", str(database))
    assert json.loads(text)["deltaCount"] == 4
