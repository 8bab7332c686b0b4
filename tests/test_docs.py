"""The README says what the code does: settings, errors, metrics, events, routes and commands are all in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recorder.api.app import ROUTES
from recorder.cli.main import app
from recorder.config.settings import settings_markdown
from recorder.core.errors import BY_CODE
from recorder.core.metrics import Metrics

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    match = re.search(rf"<!-- {name}[^>]*-->\n(.*?)<!-- /{name} -->", README, re.DOTALL)
    assert match is not None, f"the README has no section {name}"
    return match[1].strip()


def errors_markdown() -> str:
    """The table of errors, from the tree itself."""
    rows = [
        f"| `{code}` | {cls.http_status} | {cls.close_code or ''} | {(cls.__doc__ or '').splitlines()[0]} |"
        for code, cls in sorted(BY_CODE.items())
        if code != "error"
    ]
    return "\n".join(["| code | HTTP | close code | meaning |", "|---|---|---|---|", *rows])


def test_the_table_of_settings_is_the_one_the_code_makes() -> None:
    assert section("settings") == settings_markdown().strip()


def test_the_table_of_errors_is_the_one_the_code_makes() -> None:
    assert section("errors") == errors_markdown()


def test_every_metric_is_in_the_table() -> None:
    named = set(re.findall(r"`(recorder_[a-z_]+)`", section("metrics")))
    metrics = Metrics()
    rendered = {
        line.split()[2]
        for line in metrics.render().decode().splitlines()
        if line.startswith("# HELP") and " Deprecated: " not in line
    }
    source = (Path(__file__).parent.parent / "recorder/api/health.py").read_text(encoding="utf-8")
    gauges = set(re.findall(r'gauge\(\s*"(recorder_[a-z_]+)"', source))
    made = {name for name in rendered | gauges if not name.endswith("_created")}
    assert named == made


@pytest.mark.parametrize("route", sorted({route.path for route in ROUTES}))
def test_every_route_is_documented(route: str) -> None:
    shown = route.replace(":path}", "}").replace("session_id", "sessionId")
    assert shown == "/" or shown in README


@pytest.mark.parametrize(
    "event",
    ["hello", "delta", "state", "live", "reset", "heartbeat", "conflated", "ack", "error", "pong", "head"],
)
def test_every_event_is_documented(event: str) -> None:
    assert f"| `{event}` |" in README


def test_every_command_is_documented() -> None:
    commands = re.search(r"## The command line\n(.*?)\n## ", README, re.DOTALL)
    assert commands is not None
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        assert re.search(rf"[`, ]{name}\b", commands[1]), f"{name} is not in the README"


def test_speed_is_measured_by_the_benchmark_that_it_names() -> None:
    assert "scripts/bench" in section("speed")
