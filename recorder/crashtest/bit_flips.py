"""Random bit flips and truncations of everything a recording consists of: the database, its journal, the segments of the
commit log, the key, the lock.

What is damaged must be refused at the start, with everything left as it was; or named by the doctor; or it was none:
what a recorder that starts on it ends up with is, row by row, what it ends up with on the original. A cut of what was
written last cannot be seen in what is left: that is found with a signed head that was kept elsewhere, and counted apart.

The checks run in two processes of their own, which a damaged file may bring down; a sample is tried with real recorders.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from recorder.crashtest.damage import Content, Damage, Outcome, content_of, draw, judge
from recorder.crashtest.inspect import inspect_files
from recorder.crashtest.plan import LANES
from recorder.crashtest.recordings import MAKE, Recording, make
from recorder.crashtest.runner import Runner
from recorder.crashtest.server_process import ServerDied, ServerProcess

SHARES = {"stopped": 4, "logged": 4, "torn": 2}
"""How often each recording is taken, of ten times."""
REAL, QUICK = 12, 2
"""How many are tried with real recorders, too."""


async def run(runner: Runner) -> None:
    """Damage copies of recordings and judge the outcomes."""
    if runner.plan.flips:
        await runner.all([("flips", partial(_run, runner))])


async def _run(runner: Runner, folder: Path) -> None:
    recordings = []
    for name in MAKE:
        recording = await make(name, folder / "recordings")
        if recording is None:
            runner.part.skip(f"flips of what is {name}", "no recorder could be killed at that moment")
        else:
            recordings.append(recording)
    with ProcessPoolExecutor(LANES, get_context("spawn")) as pool:
        trials = _Trials(runner, folder, pool)
        for recording in recordings:
            await trials.prepare(recording)
        turn = asyncio.Semaphore(LANES)

        async def one(number: int) -> None:
            async with turn:
                await trials.run(number)

        async with asyncio.TaskGroup() as tasks:
            for number in range(1, runner.plan.flips + 1):
                tasks.create_task(one(number), name=f"crashtest-flip-{number}")


class _Trials:
    """Damages recordings and writes down what becomes of it.

    Args:
        runner: Where.
        folder: For the copies.
        pool: Where the checks run.
    """

    def __init__(self, runner: Runner, folder: Path, pool: ProcessPoolExecutor) -> None:
        self._bench = runner
        self._folder = folder
        self._pool = pool
        self._real = QUICK if runner.plan.quick else REAL  # how many are tried with real recorders, too
        self._controls: list[tuple[Recording, Content]] = []  # and what a recorder ends up with on each

    async def prepare(self, recording: Recording) -> None:
        """Check that a recording is sound, and keep what a recorder recovers from it."""
        copy = recording.copy(self._folder / f"control-{recording.name}")
        found = await asyncio.to_thread(inspect_files, copy.database, copy.key, self._folder / "look")
        self._bench.judge(f"flips/{recording.name} undamaged", found, self._folder)
        content = await asyncio.get_running_loop().run_in_executor(self._pool, content_of, copy)
        self._controls.append((recording, content))

    async def run(self, number: int) -> None:
        """Run one trial."""
        rng = self._bench.plan.rng(f"flips/{number}")
        shares = [SHARES[recording.name] for recording, _ in self._controls]
        recording, control = rng.choices(self._controls, shares)[0]
        damage, copy = draw(recording, rng), self._folder / f"copy-{number}"
        work = partial(judge, recording, damage, control, copy)
        outcome = await _outcome(asyncio.get_running_loop().run_in_executor(self._pool, work))
        found = [outcome.what] if not outcome.kind else []
        if number <= self._real and outcome.kind:
            found += await _really(recording, damage, outcome, self._folder / f"real-{number}")
        self._bench.part.count(recording.name, flips=1, **{outcome.kind or "failed": 1})
        if not self._bench.judge(f"flips/{number}: {recording.name}, {damage}", found, copy):
            shutil.rmtree(copy)


async def _outcome(judged: Awaitable[Outcome]) -> Outcome:
    try:
        return await judged
    except BrokenExecutor as error:
        return Outcome("", f"it brought the process down: {error}")


async def _really(recording: Recording, damage: Damage, outcome: Outcome, folder: Path) -> list[str]:
    """Repeat a trial with a real server; return what differs."""
    recording.copy(folder)
    damage.do(folder)
    async with ServerProcess(folder, "--durability", recording.durability) as server:
        try:
            await server.start()
            code = await server.stop()
        except ServerDied as error:
            return [] if outcome.kind == "refused" else [f"a real recorder does not start: {error}"]
        if outcome.kind == "refused":
            return [f"a real recorder starts, though this should be refused: {outcome.what}"]
    shutil.rmtree(folder)
    return [f"a real recorder stopped with {code}"] if code else []
