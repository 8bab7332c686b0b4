"""The campaign's short form, with real processes: it passes, says what it did, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from recorder.crashtest.campaign import RUN
from recorder.crashtest.plan import PARTS

Invoke = Callable[..., tuple[int, bytes, str]]


def crashtest(invoke: Invoke, folder: Path, *options: str) -> dict[str, object]:
    """The verdict's only part."""
    code, out, err = invoke("crashtest", "--dir", str(folder), "--seed", "1", *options)
    verdict = orjson.loads(out)
    (part,) = verdict["parts"]
    if part["skipped"]:
        pytest.skip(str(part["skipped"]))
    assert code == 0, (verdict, err)
    assert list(folder.iterdir()) == []
    return dict(part)


def test_every_part_that_is_named_runs() -> None:
    assert tuple(RUN) == PARTS


@pytest.mark.timeout(120)
def test_killed_in_both_modes_recorders_keep_what_they_promised(invoke: Invoke, tmp_path: Path) -> None:
    part = crashtest(invoke, tmp_path, "--only", "kills", "--kills", "4")
    figures = part["figures"]
    assert isinstance(figures, dict)
    assert {mode: figures[mode]["kills"] for mode in figures} == {"snapshot": 2, "commit": 2}
    assert figures["commit"]["lostAcked"] == figures["commit"]["lostShown"] == 0


@pytest.mark.timeout(120)
def test_damaged_files_are_refused_named_or_prove_harmless(invoke: Invoke, tmp_path: Path) -> None:
    part = crashtest(invoke, tmp_path, "--only", "flips", "--flips", "40", "--quick")
    figures = part["figures"]
    assert isinstance(figures, dict)
    assert sum(figures[name]["flips"] for name in figures) == 40
    assert not any("failed" in figures[name] for name in figures)


@pytest.mark.timeout(120)
def test_stopped_or_killed_at_bad_moments_recorders_have_everything(invoke: Invoke, tmp_path: Path) -> None:
    part = crashtest(invoke, tmp_path, "--only", "signals", "--quick")
    assert part["cases"] == 4


def test_whatever_the_clock_says_the_order_holds(invoke: Invoke, tmp_path: Path) -> None:
    part = crashtest(invoke, tmp_path, "--only", "clock", "--quick")
    figures = part["figures"]
    assert isinstance(figures, dict)
    assert {mode: figures[mode]["times"] for mode in figures} == {"snapshot": 4, "commit": 4}


@pytest.mark.timeout(600)
def test_files_that_are_not_what_the_recorder_left_are_noticed(invoke: Invoke, tmp_path: Path) -> None:
    part = crashtest(invoke, tmp_path, "--only", "files", "--quick")
    assert part["cases"] == 9


@pytest.mark.timeout(120)
def test_a_disk_in_trouble_harms_nothing_that_was_acked(invoke: Invoke, tmp_path: Path) -> None:
    part = crashtest(invoke, tmp_path, "--only", "disk", "--quick")
    assert part["cases"] == 3


@pytest.mark.timeout(180)
def test_system_calls_that_fail_are_felt_and_got_over(invoke: Invoke, tmp_path: Path) -> None:
    part = crashtest(invoke, tmp_path, "--only", "faults", "--quick")
    figures = part["figures"]
    assert isinstance(figures, dict)
    assert all(figures[mode]["hit"] for mode in ("snapshot", "commit"))


@pytest.mark.timeout(120)
def test_terminated_it_leaves_neither_recorders_nor_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "recorder", "crashtest", "--only", "kills", "--dir", str(tmp_path)]
    # Of its own standard error nothing must be lost when it is full, so it goes to a file.
    with (tmp_path.parent / f"{tmp_path.name}.log").open("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            while not (recorders := serving(tmp_path)):
                assert process.poll() is None
                time.sleep(0.05)
            process.terminate()
            assert process.wait(60) == 128 + signal.SIGTERM
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        assert "terminated" in log.read().splitlines()[-1]
    assert recorders
    assert serving(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def serving(folder: Path) -> list[int]:
    """The processes whose command line names a folder as where they record."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"serve" in words and any(word.startswith(bytes(folder)) for word in words):
                found.append(int(path.parent.name))
    return found


def test_what_is_asked_wrongly_is_refused_before_anything_is_done(invoke: Invoke, tmp_path: Path) -> None:
    code, out, err = invoke("crashtest", "--dir", str(tmp_path), "--only", "killing")
    assert (code, out) == (2, b"")
    assert f"one of {', '.join(PARTS)}" in err
    assert invoke("crashtest", "--dir", str(tmp_path / "none"))[0] == 1
    assert list(tmp_path.iterdir()) == []
