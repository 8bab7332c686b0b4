"""The files under `scripts/deploy/` are valid, and name what exists: settings, commands, metrics, routes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from recorder.config.settings import Settings
from recorder.core.metrics import Metrics

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "scripts" / "deploy"


def metrics() -> set[str]:
    """Return the names of every metric, as the documentation lists them and as the code renders them."""
    page = (ROOT / "recorder" / "docs" / "operations.md").read_text(encoding="utf-8")
    rendered = re.findall(r"^# HELP (recorder_\w+)", Metrics().render().decode(), re.MULTILINE)
    return set(re.findall(r"`(recorder_[a-z_]+)`", page)) | set(rendered)


def settings() -> set[str]:
    """Return the names of every setting, as the environment spells them."""
    return {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("name", ["prometheus-alerts.yml", "grafana-dashboard.json"])
def test_alerts_and_panels_ask_for_metrics_that_exist(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    asked = {re.sub("_bucket$", "", found) for found in re.findall(r"\brecorder_[a-z_]+", text)}
    assert asked
    assert asked - metrics() == set()


def test_the_dashboard_for_grafana_is_json_with_a_query_in_each_panel() -> None:
    sheet = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    assert len({panel["id"] for panel in sheet["panels"]}) == len(sheet["panels"])
    assert all(target["expr"] for panel in sheet["panels"] for target in panel["targets"])


@pytest.mark.parametrize("name", ["recorder.service", "Containerfile"])
def test_the_settings_of_unit_and_container_exist(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith(("Environment=", "ENV "))]
    named = {found for line in lines for found in re.findall(r"\b([A-Z_]+)=", line)}
    assert "PERSIST" in named
    assert named - settings() == set()


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = (DEPLOY / "recorder.service").read_text(encoding="utf-8")
    file = tmp_path / "recorder.service"
    file.write_text(unit.replace("/opt/recorder/bin/recorder serve", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if file.name in line] == []


def test_nginx_accepts_the_configuration(tmp_path: Path) -> None:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    whole = tmp_path / "nginx.conf"
    whole.write_text(
        f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n"
        f"access_log off;\ninclude {DEPLOY}/nginx-http.conf;\n"
        f"server {{ listen 127.0.0.1:1; include {DEPLOY}/nginx.conf; }}\n}}\n"
    )
    done = subprocess.run(
        [nginx, "-t", "-q", "-c", whole, "-p", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
