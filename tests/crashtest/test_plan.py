"""The same seed throws the same rng for a case, whatever runs beside it."""

from __future__ import annotations

from pathlib import Path

from recorder.crashtest.plan import Plan


def test_dice_are_the_same_for_a_case_whichever_run_beside_it() -> None:
    plan = Plan(Path(), 7)
    assert plan.rng("a").random() == Plan(Path("x"), 7, kills=1).rng("a").random() != plan.rng("b").random()
    assert plan.sample("a", ["x", "y", "z"], 2) == ["x", "y", "z"]
    quick = Plan(Path(), 7, quick=True).sample("a", ["x", "y", "z"], 2)
    assert len(quick) == 2
    assert set(quick) < {"x", "y", "z"}
