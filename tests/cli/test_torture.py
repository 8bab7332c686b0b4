"""The campaign's short form, with real processes: it passes, says what it did, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from recorder.torture.campaign import RUN
from recorder.torture.plan import PARTS

Invoke = Callable[..., tuple[int, bytes, str]]


def torture(invoke: Invoke, folder: Path, *options: str) -> dict[str, object]:
    """The verdict's only part."""
    code, out, err = invoke("torture", "--dir", str(folder), "--seed", "1", *options)
    verdict = orjson.loads(out)
    assert code == 0, (verdict, err)
    assert list(folder.iterdir()) == []
    (part,) = verdict["parts"]
    return dict(part)


def test_every_part_that_is_named_runs() -> None:
    assert tuple(RUN) == PARTS


@pytest.mark.timeout(120)
def test_killed_in_both_modes_recorders_keep_what_they_promised(invoke: Invoke, tmp_path: Path) -> None:
    part = torture(invoke, tmp_path, "--only", "kills", "--kills", "4")
    figures = part["figures"]
    assert isinstance(figures, dict)
    assert {mode: figures[mode]["kills"] for mode in figures} == {"snapshot": 2, "commit": 2}
    assert figures["commit"]["lostAcked"] == figures["commit"]["lostShown"] == 0


@pytest.mark.timeout(120)
def test_damaged_files_are_refused_named_or_prove_harmless(invoke: Invoke, tmp_path: Path) -> None:
    part = torture(invoke, tmp_path, "--only", "flips", "--flips", "40", "--quick")
    figures = part["figures"]
    assert isinstance(figures, dict)
    assert sum(figures[name]["flips"] for name in figures) == 40
    assert not any("failed" in figures[name] for name in figures)


@pytest.mark.timeout(120)
def test_stopped_or_killed_at_bad_moments_recorders_have_everything(invoke: Invoke, tmp_path: Path) -> None:
    part = torture(invoke, tmp_path, "--only", "signals", "--quick")
    assert part["cases"] == 4


def test_whatever_the_clock_says_the_order_holds(invoke: Invoke, tmp_path: Path) -> None:
    part = torture(invoke, tmp_path, "--only", "clock", "--quick")
    figures = part["figures"]
    assert isinstance(figures, dict)
    assert {mode: figures[mode]["times"] for mode in figures} == {"snapshot": 2, "commit": 2}


def test_what_is_asked_wrongly_is_refused_before_anything_is_done(invoke: Invoke, tmp_path: Path) -> None:
    code, out, err = invoke("torture", "--dir", str(tmp_path), "--only", "killing")
    assert (code, out) == (2, b"")
    assert f"one of {', '.join(PARTS)}" in err
    assert invoke("torture", "--dir", str(tmp_path / "none"))[0] == 1
    assert list(tmp_path.iterdir()) == []
