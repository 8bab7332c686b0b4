"""The documentation says what the code does: settings, errors, metrics, events, routes and commands are all in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recorder.api.app import ROUTES
from recorder.cli.commands import TABLE
from recorder.config.settings import settings_markdown
from recorder.core.errors import BY_CODE
from recorder.core.metrics import Metrics

ROOT = Path(__file__).resolve().parents[1]
DOCS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "recorder" / "docs").glob("*.md")}


def section(page: str, name: str) -> str:
    """Return the part of a page between two markers."""
    match = re.search(rf"<!-- {name}[^>]*-->\n(.*?)<!-- /{name} -->", DOCS[page], re.DOTALL)
    assert match is not None, f"{page}.md has no section {name}"
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
    assert section("settings", "settings") == settings_markdown().strip()


def test_the_table_of_errors_is_the_one_the_code_makes() -> None:
    assert section("http", "errors") == errors_markdown()


def test_every_metric_is_in_the_table() -> None:
    named = set(re.findall(r"`(recorder_[a-z_]+)`", section("operations", "metrics")))
    metrics = Metrics()
    rendered = {
        line.split()[2]
        for line in metrics.render().decode().splitlines()
        if line.startswith("# HELP") and " Deprecated: " not in line
    }
    files = ("app.py", "server/gateway.py")
    source = "".join((ROOT / "recorder" / name).read_text(encoding="utf-8") for name in files)
    gauges = set(re.findall(r'gauge\(\s*"(recorder_[a-z_]+)"', source))
    made = {name for name in rendered | gauges if not name.endswith("_created")}
    assert named == made


@pytest.mark.parametrize("route", sorted({route.path for route in ROUTES}))
def test_every_route_is_documented(route: str) -> None:
    shown = route.replace(":path}", "}").replace("session_id", "sessionId")
    assert shown == "/" or shown in DOCS["http"]


@pytest.mark.parametrize(
    "event",
    ["hello", "delta", "state", "live", "reset", "heartbeat", "conflated", "ack", "error", "pong", "head"],
)
def test_every_event_is_documented(event: str) -> None:
    assert f"| `{event}` |" in DOCS["wire"]


def test_every_command_is_documented() -> None:
    for entry in TABLE:
        if not entry.replaced_by:
            assert re.search(rf"[`, ]{entry.name}\b", DOCS["cli"]), f"{entry.name} is not in cli.md"


def test_speed_is_measured_by_the_benchmark_that_it_names() -> None:
    assert "scripts/bench" in section("benchmarks", "speed")


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_every_link_of_the_readme_leads_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).is_file()] == []
