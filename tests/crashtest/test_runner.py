"""The runner that cases stand on: two at a time, none brings down another, evidence is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

from recorder.crashtest.plan import Plan
from recorder.crashtest.report import Part
from recorder.crashtest.runner import Runner


async def test_a_case_that_breaks_is_a_failure_whose_folder_is_kept_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    part, steps = Part("kills"), []
    runner = Runner(Plan(tmp_path, 7), part, lambda: steps.append(part.cases))

    async def breaks(folder: Path) -> None:
        (folder / "evidence").touch()
        raise OSError("no")

    async def passes(folder: Path) -> None:
        await asyncio.sleep(0)
        assert not runner.judge("good", [], folder)

    async def finds(folder: Path) -> None:
        assert runner.judge("many", [f"finding {n}" for n in range(8)], folder)

    await runner.all([("kills/bad", breaks), ("kills/good", passes), ("kills/many", finds)])
    assert (part.cases, steps) == (3, [1, 2, 3])
    assert {failure.case: failure.what for failure in part.failures} == {
        "kills/bad": "OSError: no",
        "many": "finding 0; finding 1; finding 2; finding 3; finding 4; and 3 more",
    }
    assert (tmp_path / "kills-bad" / "evidence").exists()
    assert (tmp_path / "kills-many").exists()
    assert not (tmp_path / "kills-good").exists()
