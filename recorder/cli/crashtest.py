"""`recorder crashtest`: find out on one's own machine and disk whether the recorder keeps what it promises.

Recorders are started on loopback ports, in folders of their own, and harmed; nothing that runs already is touched. The
verdict is JSON on stdout (or in a file), progress goes to stderr, and the exit code is 0 where everything passed.
"""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from recorder.cli import console
from recorder.core.clock import SystemClock
from recorder.core.errors import InvalidQuery, NotFound

if TYPE_CHECKING:
    from recorder.crashtest.report import Part, Verdict

QUICK_KILLS, QUICK_FLIPS = 8, 60


def _option(name: str, metavar: str, words: str, **more: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=words, show_default=False, **more)


def crashtest(
    kills: Annotated[
        int | None, _option("--kills", "N", "How often a recorder is killed (default 200).", min=0)
    ] = None,
    flips: Annotated[
        int | None, _option("--flips", "N", "How many damaged copies are tried (default 1000).", min=0)
    ] = None,
    seed: Annotated[int | None, _option("--seed", "S", "Throw the rng of an earlier campaign again.")] = None,
    directory: Annotated[
        Path | None,
        _option("--dir", "DIR", "A directory on the disk to be tried (default: for temporary files)."),
    ] = None,
    output: Annotated[
        Path | None, _option("--output", "FILE", "Write the verdict there, not to stdout.")
    ] = None,
    only: Annotated[list[str] | None, _option("--only", "PART", "Only this part; may be repeated.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A sample of everything, for a first look.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="The verdict on one line, not laid out for people.")
    ] = False,
) -> int:
    """Test durability: kill recorders, damage their files and make their disks fail.

    Nothing but the directory is touched. The verdict is JSON; what a failed case has left on disk is kept.
    """
    # Not at the top: the other commands should not wait for these modules.
    from recorder.crashtest.campaign import run_campaign
    from recorder.crashtest.plan import PARTS, Plan

    if unknown := set(only or ()) - set(PARTS):
        raise InvalidQuery(f"--only: there is no part {min(unknown)!r}", hint=f"one of {', '.join(PARTS)}")
    folder = (directory or Path(tempfile.gettempdir())).resolve()
    if not folder.is_dir():
        raise NotFound(f"{folder}: no such directory")
    plan = Plan(
        folder,
        random.SystemRandom().randrange(10**9) if seed is None else seed,
        kills=kills if kills is not None else QUICK_KILLS if quick else 200,
        flips=flips if flips is not None else QUICK_FLIPS if quick else 1000,
        quick=quick,
    )
    console.print_status(f"seed {plan.seed}, in {folder}")
    parts = [part for part in PARTS if not only or part in only]
    try:
        verdict = asyncio.run(_until_terminated(run_campaign(plan, parts, _Telling().on_case)))
    except asyncio.CancelledError:
        console.print_status(
            "terminated: the recorders are ended, what they left is removed; there is no verdict"
        )
        return 128 + signal.SIGTERM
    text = orjson.dumps(verdict.document(), option=0 if json else orjson.OPT_INDENT_2) + b"\n"
    if output is None:
        console.out(text)
    else:
        output.write_bytes(text)
    _summarise(verdict)
    return 0 if verdict.passed else 1


async def _until_terminated(campaign: Coroutine[Any, Any, Verdict]) -> Verdict:
    """Run it; SIGTERM breaks it off as Ctrl-C does, so that nothing is left behind."""
    task = asyncio.create_task(campaign, name="crashtest-campaign")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


class _Telling:
    """Says on stderr how far a campaign is: each failure at once, the rest at intervals."""

    def __init__(self) -> None:
        self._clock = SystemClock()  # for the intervals
        self._said_at = 0.0  # when it said how far it is
        self._told = 0  # failures of the present part that were told
        self._part: Part | None = None  # the present part

    def on_case(self, part: Part) -> None:
        """Print the progress of a part when it changes."""
        if part is not self._part:
            self._part, self._told, self._said_at = part, 0, self._clock.monotonic()
            console.print_status(f"{part.name} …")
        for failure in part.failures[self._told :]:
            console.print_status(f"FAILED {failure.case}: {failure.what}")
        self._told = len(part.failures)
        if self._clock.monotonic() - self._said_at >= console.PLAIN_EVERY_SECONDS:
            self._said_at = self._clock.monotonic()
            console.print_status(f"{part.name}: {part.cases} cases, {self._told} failed")


def _summarise(verdict: Verdict) -> None:
    for part in verdict.parts:
        outcome = "passed" if part.passed else "FAILED"
        console.print_status(f"{part.name} {outcome}: {part.cases} cases in {part.seconds:.0f} s")
        for about, figures in part.figures.items():
            console.print_status(
                f"  {about}: {', '.join(f'{name} {value:,}' for name, value in figures.items())}"
            )
        for skip in part.skipped:
            console.print_status(f"  skipped: {skip.what} ({skip.why})")
    console.print_status(
        f"{'passed' if verdict.passed else 'FAILED'} in {verdict.seconds:.0f} s; seed {verdict.seed}"
    )


def torture(
    kills: Annotated[int | None, _option("--kills", "N", "As for crashtest.", min=0)] = None,
    flips: Annotated[int | None, _option("--flips", "N", "As for crashtest.", min=0)] = None,
    seed: Annotated[int | None, _option("--seed", "S", "As for crashtest.")] = None,
    directory: Annotated[Path | None, _option("--dir", "DIR", "As for crashtest.")] = None,
    json: Annotated[Path | None, _option("--json", "FILE", "As crashtest --output.")] = None,
    only: Annotated[list[str] | None, _option("--only", "PART", "As for crashtest.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="As for crashtest.")] = False,
) -> int:
    """Run the crash tests under their old name.

    Its --json FILE is now --output FILE.
    """
    return crashtest(kills, flips, seed, directory, json, only, quick)
