"""Each system call that a recorder makes on its files, failing in turn: once at each place, and for as long as it takes.

Which calls there are is found out first, by watching one publish and the snapshot after it. See `scene` for what must
hold; beside it a failed write or sync must be noticed: by the snapshot, or by whoever publishes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recorder.crashtest.outage import Scene, open_scene
from recorder.crashtest.runner import Bench, Case
from recorder.crashtest.server_process import until
from recorder.crashtest.strace import FAILING, READING, NoStrace, Trace, attached

ERRORS = ("EIO", "ENOSPC", "EROFS")
PER_SCENE = 20
"""Faults that one recorder lives through, before it is killed and what it has is compared."""
MUST_BE_FELT = ("pwrite64", "write", "fsync", "fdatasync", "ftruncate")


@dataclass(frozen=True, slots=True)
class Fault:
    """A call that fails.

    Args:
        call: Its name.
        error: What it fails with.
        when: At which of its times in a thread, from 1; `1+` for all of them.
    """

    call: str
    error: str
    when: str

    @property
    def spec(self) -> str:
        """As strace wants it."""
        return f"{self.call}:error={self.error}:when={self.when}"


async def run(bench: Bench) -> None:
    """Every fault in each mode."""
    cases: list[Case] = []
    for mode in ("snapshot", "commit"):
        found: list[Fault] = []
        await bench.all([(f"faults/{mode}/watched", partial(_watch, bench, mode, found))])
        wanted = set(bench.plan.sample(mode, [fault.spec for fault in found], 5))
        chosen = [fault for fault in found if fault.spec in wanted]
        cases += [
            (f"faults/{mode}/{start}", partial(_run, bench, mode, chosen[start : start + PER_SCENE]))
            for start in range(0, len(chosen), PER_SCENE)
        ]
    await bench.all(sorted(cases, key=lambda case: int(case[0].rpartition("/")[2])))


def faults_of(trace: Trace) -> list[Fault]:
    """All faults of what was watched."""
    found = []
    for call, count in sorted(trace.most().items()):
        errors = ERRORS if call in FAILING else ERRORS[:1]
        times = [str(number) for number in range(1, count + 1)] + ["1+"]
        found += [Fault(call, error, when) for when in times for error in errors]
    return found


async def _watch(bench: Bench, mode: str, found: list[Fault], folder: Path) -> None:
    """Find out what a publish and the snapshot after it do."""
    async with open_scene(folder, mode) as scene:
        await scene.until_calm()
        try:
            async with attached(scene.victim.pid, folder, scene.files(), FAILING + READING) as trace:
                await scene.until_acked(10)
                await scene.until_saved()
        except NoStrace as reason:
            bench.part.skip(f"faults in {mode} mode", str(reason))
            return
    found += faults_of(trace)
    missing = [] if found else ["strace saw no system call on the recorder's files"]
    bench.judge(f"faults/{mode}/watched", missing, folder)


async def _run(bench: Bench, mode: str, faults: list[Fault], folder: Path) -> None:
    async with open_scene(folder, mode) as scene:
        await scene.until_acked()
        for fault in faults:
            found = await _endure(bench, mode, scene, fault)
            if bench.judge(f"faults/{mode}/{fault.spec}", found, folder):
                return
        bench.judge(f"faults/{mode} after {faults[-1].spec}", await scene.finish(), folder)


async def _endure(bench: Bench, mode: str, scene: Scene, fault: Fault) -> list[str]:
    """One fault, until all is well again; what is wrong."""
    await scene.until_calm()
    last, refused = (await scene.last_snapshot())["startedAt"], scene.refused
    victim = scene.victim
    async with attached(victim.pid, victim.folder, scene.files(), [fault.call], fault.spec) as trace:
        if fault.when.endswith("+"):
            await until("the fault felt, or a snapshot taken in spite of it", partial(_has_felt, scene, last))
        else:
            await scene.until_acked(10)
            await until("a snapshot tried", partial(_has_run, scene, last))
    await scene.until_calm()
    failed = [run for run in await scene.snapshots() if run["startedAt"] > last and run["outcome"] != "ok"]
    hits = [call for call in trace.calls() if call.is_injected]
    felt = bool(failed) or scene.refused > refused
    bench.part.count(mode, faults=1, hit=bool(hits), felt=felt)
    found = list(scene.ledger.wrong)
    # A directory's sync may be let pass: what it is for are the names of files that the next try makes anew.
    directory = f"<{victim.database.parent}>"
    unseen = [call for call in hits if call.name in MUST_BE_FELT and directory not in call.text]
    if unseen and not felt:
        found.append(f"nobody noticed that {unseen[0].name} failed: {unseen[0].text}")
    return found


async def _has_run(scene: Scene, last: str) -> bool:
    """Whether a snapshot was tried after one that began then."""
    return str((await scene.last_snapshot())["startedAt"]) > last


async def _has_felt(scene: Scene, last: str) -> bool:
    """Whether it is red, having published more; or a snapshot is none the worse."""
    await scene.publish(10)
    await scene.until_seen()
    ready = await scene.victim.get("/readyz")
    run = await scene.last_snapshot()
    return ready.status_code != 200 or (run["startedAt"] > last and run["outcome"] == "ok")
