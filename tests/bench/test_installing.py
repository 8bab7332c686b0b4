"""What systems of the benchmark need: found, said when it isn't there, and got where that may be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bench_suite.installing import install
from bench_suite.needs import NOTHING, Needs, find_program, missing, versions
from bench_suite.systems import NAMES, named
from bench_suite.systems.base import Options

BENCH = str(Path(__file__).resolve().parents[2] / "scripts" / "bench")


@pytest.fixture
def bench_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what is installed, empty."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.usefixtures("bench_home")
class TestMissing:
    def test_a_program_is_said_with_its_package(self) -> None:
        needs = Needs(program="no-such-daemon", apt="no-such-package")
        assert missing(needs) == ["no-such-daemon (Debian: apt-get install no-such-package)"]

    def test_a_program_that_is_there_is_not(self) -> None:
        assert missing(Needs(program=Path(sys.executable).name)) == []

    def test_a_daemon_outside_of_path_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "somed").write_text("#!/bin/sh\n")
        (tmp_path / "somed").chmod(0o755)
        monkeypatch.setenv("PATH", "")
        monkeypatch.setattr("bench_suite.needs._DAEMONS", str(tmp_path))
        assert find_program("somed") == str(tmp_path / "somed")

    def test_packages_are_said_with_their_version(self) -> None:
        assert missing(Needs(npm=("ws@8.1.0", "@some/thing@2.0.0"), pip=("aiohttp==3.0.0",))) == [
            "npm's package ws@8.1.0 (scripts/bench --install)",
            "npm's package @some/thing@2.0.0 (scripts/bench --install)",
            "pip's package aiohttp==3.0.0 (scripts/bench --install)",
        ]

    def test_packages_of_another_version_are_missing(self, bench_home: Path) -> None:
        _npm_package(bench_home, "ws", "8.1.0")
        _npm_package(bench_home, "@some/thing", "2.0.0")
        _pip_package(bench_home, "aiohttp", "3.0.0")
        there = Needs(npm=("ws@8.1.0", "@some/thing@2.0.0"), pip=("aiohttp==3.0.0",))
        assert missing(there) == []
        assert versions(there) == {"ws": "8.1.0", "@some/thing": "2.0.0", "aiohttp": "3.0.0"}
        others = Needs(npm=("ws@8.2.0",), pip=("aiohttp==3.0.1",))
        assert [lacking.split(" (")[0] for lacking in missing(others)] == [
            "npm's package ws@8.2.0",
            "pip's package aiohttp==3.0.1",
        ]

    def test_an_environment_that_has_lost_its_interpreter_has_nothing(self, bench_home: Path) -> None:
        _pip_package(bench_home, "aiohttp", "3.0.0")
        assert missing(Needs(pip=("aiohttp==3.0.0",))) == []
        (bench_home / "python" / "bin" / "python").unlink()
        assert missing(Needs(pip=("aiohttp==3.0.0",)))


@pytest.mark.usefixtures("bench_home")
class TestInstall:
    def test_what_cannot_be_had_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        system = named("obvious", Options())
        monkeypatch.setattr(
            type(system), "needs", Needs(program="no-such-daemon", apt="x", npm=("ws@8.1.0",))
        )
        said: list[str] = []
        assert not install([system], said.append)
        assert said[-1].startswith("obvious: still lacks no-such-daemon")
        assert "npm isn't there (Debian: apt-get install npm)" in said

    def test_nothing_is_done_where_everything_is_there(self) -> None:
        said: list[str] = []
        assert install([named("obvious", Options()), named("bare", Options())], said.append)
        assert said == ["obvious: there", "bare: there"]

    def test_pip_installs_into_an_environment_of_its_own(self, tmp_path: Path, bench_home: Path) -> None:
        wheel = _wheel(tmp_path)
        needs = Needs(pip=(f"{wheel.name.split('-')[0]}==1.5",))
        assert missing(needs)
        command = (
            "from bench_suite.installing import _install_pip; import sys; _install_pip(sys.argv[1:], print)"
        )
        done = subprocess.run(
            [sys.executable, "-c", command, str(wheel)],
            env={**os.environ, "PYTHONPATH": str(Path(BENCH).parent)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert missing(needs) == [], done.stdout
        assert (bench_home / "python" / "bin" / "python").exists()


def test_a_system_that_lacks_something_is_skipped_visibly(tmp_path: Path) -> None:
    """Without redis-server in sight, wherever it is installed."""
    kept = tmp_path / "figures.json"
    code = (
        "import sys, bench_suite.needs as i; from bench_suite.cli import main; i.find_program = lambda name: None;"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [
        sys.executable, "-c", code, "ingest", "--quick", "--seconds", "0.02", "--systems", "obvious,redis-always",
        "--json", str(kept),
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(Path(BENCH).parent)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run_of = json.loads(kept.read_text())
    assert run_of["skipped"] == {"redis-always": "redis-server (Debian: apt-get install redis-server)"}
    assert "redis-always" not in run_of["systems"]
    assert {figure["system"] for figure in run_of["figures"]} == {"obvious"}
    assert "redis-always    SKIPPED: lacks redis-server (Debian: apt-get install redis-server)" in done.stdout


def test_the_recorder_and_its_baseline_need_nothing_else() -> None:
    alone = {name for name in NAMES if named(name, Options()).needs == NOTHING}
    assert alone == {"recorder", "recorder-commit", "obvious", "bare"}


def _npm_package(home: Path, name: str, version: str) -> None:
    folder = home / "node" / "node_modules" / name
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": version}))


def _pip_package(home: Path, name: str, version: str) -> None:
    interpreter = home / "python" / "bin" / "python"
    interpreter.parent.mkdir(parents=True, exist_ok=True)
    interpreter.touch()
    folder = home / "python" / "lib" / "python3.11" / "site-packages" / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def _wheel(folder: Path) -> Path:
    """A package of one module, made here, so that no network is needed."""
    source = folder / "source" / "tiny_thing-1.5.dist-info"
    source.mkdir(parents=True)
    (source.parent / "tiny_thing.py").write_text("")
    (source / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny_thing\nVersion: 1.5\n")
    (source / "WHEEL").write_text(
        "Wheel-Version: 1.0\nGenerator: here\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    (source / "RECORD").write_text(
        "tiny_thing.py,,\n" + "".join(f"{source.name}/{name},,\n" for name in ("METADATA", "WHEEL", "RECORD"))
    )
    made = shutil.make_archive(str(folder / "tiny_thing-1.5-py3-none-any"), "zip", source.parent)
    return Path(made).rename(folder / "tiny_thing-1.5-py3-none-any.whl")
