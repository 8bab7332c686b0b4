"""A campaign: its parts one after the other, in a folder that is removed at the end unless something is left to see."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from recorder.core.clock import SystemClock
from recorder.core.timestamps import format_ms
from recorder.crashtest import bit_flips, clock_jumps, disk_faults, io_faults, kills, signals, wrong_files
from recorder.crashtest.plan import Plan
from recorder.crashtest.report import Part, Verdict
from recorder.crashtest.runner import Runner

RUN: dict[str, Callable[[Runner], Awaitable[None]]] = {
    "kills": kills.run,
    "faults": io_faults.run,
    "disk": disk_faults.run,
    "files": wrong_files.run,
    "flips": bit_flips.run,
    "signals": signals.run,
    "clock": clock_jumps.run,
}
"""What each of `plan.PARTS` does."""


async def run_campaign(plan: Plan, parts: Sequence[str], on_case: Callable[[Part], None]) -> Verdict:
    """Run parts of a campaign.

    Args:
        plan: What is to be done; in a new folder inside its folder.
        parts: Of `plan.PARTS`.
        on_case: Called after each case, and at the beginning of a part, with what has come of it so far.
    """
    begin = time.monotonic()
    verdict = Verdict(plan.seed, str(plan.folder), format_ms(SystemClock().now_ms()))
    with _workplace(plan.folder) as folder:
        for name in parts:
            part, began = Part(name), time.monotonic()
            verdict.parts.append(part)
            on_case(part)
            runner = Runner(replace(plan, folder=folder), part, lambda part=part: on_case(part))  # type: ignore[misc]
            await RUN[name](runner)
            part.seconds = time.monotonic() - began
    verdict.seconds = time.monotonic() - begin
    return verdict


@contextmanager
def _workplace(inside: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="recorder-crashtest-", dir=inside))
    try:
        yield folder
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()
