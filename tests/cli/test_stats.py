"""`recorder stats` from a database file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Invoke = Callable[..., tuple[int, bytes, str]]


def test_figures_of_a_file_are_one_json_object(invoke: Invoke, database: Path) -> None:
    code, out, _ = invoke("stats", "--db", str(database))
    assert code == 0
    figures = json.loads(out)
    assert (figures["deltaCount"], figures["sessionCount"], figures["head"]) == (4, 3, 5)
