"""The resources of the parts of a campaign: folders, two cases at a time, and the report.

A case that goes wrong in a way nobody foresaw is a failure of that case, and the others go on. What a failed case has
left on disk is kept; everything else is removed.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from recorder.crashtest.plan import LANES, Plan
from recorder.crashtest.report import Part

Case = tuple[str, Callable[[Path], Awaitable[None]]]
"""Its name, and what it does in a folder of its own."""
SHOWN = 5
"""How many findings of one case are written down."""


class Runner:
    """The resources that a part of the campaign uses.

    Args:
        plan: What is to be done.
        part: Where it is written down.
        on_step: Called after each case.
    """

    def __init__(self, plan: Plan, part: Part, on_step: Callable[[], None]) -> None:
        self.plan = plan
        self.part = part
        self._on_step = on_step  # called after each case
        self._failed: set[Path] = set()  # folders that are kept

    def judge(self, case: str, found: Sequence[str], folder: Path) -> bool:
        """Count a case; whether it failed.

        Args:
            case: Its name.
            found: What is wrong.
            folder: Where; it is kept then.
        """
        self.part.cases += 1
        if found:
            more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
            self._failed.add(folder)
            self.part.fail(case, "; ".join([*found[:SHOWN], *more]), str(folder))
        self._on_step()
        return bool(found)

    async def all(self, cases: Iterable[Case]) -> None:
        """Run cases, as many at once as there are lanes."""
        turn = asyncio.Semaphore(LANES)

        async def one(name: str, work: Callable[[Path], Awaitable[None]]) -> None:
            async with turn:
                folder = self.plan.folder / name.replace("/", "-")
                folder.mkdir(mode=0o700)
                try:
                    await work(folder)
                except Exception as error:
                    # The boundary of a case: whatever went wrong in it is its failure, and stands in the verdict.
                    self.judge(name, [f"{type(error).__name__}: {error}"], folder)
                finally:
                    if not any(failed.is_relative_to(folder) for failed in self._failed):
                        shutil.rmtree(folder, ignore_errors=True)

        async with asyncio.TaskGroup() as tasks:
            for name, work in cases:
                tasks.create_task(one(name, work), name=f"crashtest-{name}")
