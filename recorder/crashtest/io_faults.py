"""Each system call that a recorder makes on its files, failing in turn: once at each place, and for as long as it takes.

Which calls there are is found out first, by watching one publish and the snapshot after it. See `test` for what must
hold; beside it a failed write or sync must be noticed: by the snapshot, or by whoever publishes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recorder.crashtest.outage import OutageTest, open_outage_test
from recorder.crashtest.runner import Case, Runner
from recorder.crashtest.server_process import until
from recorder.crashtest.strace import FAILING, READING, NoStrace, Trace, attached

ERRORS = ("EIO", "ENOSPC", "EROFS")
PER_SERVER = 20
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
        """The fault in strace's syntax."""
        return f"{self.call}:error={self.error}:when={self.when}"


async def run(runner: Runner) -> None:
    """Run every fault in each mode."""
    cases: list[Case] = []
    for mode in ("snapshot", "commit"):
        found: list[Fault] = []
        await runner.all([(f"faults/{mode}/watched", partial(_watch, runner, mode, found))])
        wanted = set(runner.plan.sample(mode, [fault.spec for fault in found], 5))
        chosen = [fault for fault in found if fault.spec in wanted]
        cases += [
            (f"faults/{mode}/{start}", partial(_run, runner, mode, chosen[start : start + PER_SERVER]))
            for start in range(0, len(chosen), PER_SERVER)
        ]
    await runner.all(sorted(cases, key=lambda case: int(case[0].rpartition("/")[2])))


def faults_of(trace: Trace) -> list[Fault]:
    """Return all faults for the observed calls."""
    found = []
    for call, count in sorted(trace.most().items()):
        errors = ERRORS if call in FAILING else ERRORS[:1]
        times = [str(number) for number in range(1, count + 1)] + ["1+"]
        found += [Fault(call, error, when) for when in times for error in errors]
    return found


async def _watch(runner: Runner, mode: str, found: list[Fault], folder: Path) -> None:
    """Find out what a publish and the snapshot after it do."""
    async with open_outage_test(folder, mode) as test:
        await test.until_calm()
        try:
            async with attached(test.server.pid, folder, test.files(), FAILING + READING) as trace:
                await test.until_acked(10)
                await test.until_saved()
        except NoStrace as reason:
            runner.part.skip(f"faults in {mode} mode", str(reason))
            return
    found += faults_of(trace)
    missing = [] if found else ["strace saw no system call on the recorder's files"]
    runner.judge(f"faults/{mode}/watched", missing, folder)


async def _run(runner: Runner, mode: str, faults: list[Fault], folder: Path) -> None:
    async with open_outage_test(folder, mode) as test:
        await test.until_acked()
        for fault in faults:
            found = await _run_fault(runner, mode, test, fault)
            if runner.judge(f"faults/{mode}/{fault.spec}", found, folder):
                return
        runner.judge(f"faults/{mode} after {faults[-1].spec}", await test.finish(), folder)


async def _run_fault(runner: Runner, mode: str, test: OutageTest, fault: Fault) -> list[str]:
    """Run one fault until the recorder has recovered; return what is wrong."""
    await test.until_calm()
    last, refused = (await test.last_snapshot())["startedAt"], test.refused
    server = test.server
    async with attached(server.pid, server.folder, test.files(), [fault.call], fault.spec) as trace:
        if fault.when.endswith("+"):
            await until("the fault felt, or a snapshot taken in spite of it", partial(_has_felt, test, last))
        else:
            await test.until_acked(10)
            await until("a snapshot tried", partial(_has_run, test, last))
    await test.until_calm()
    failed = [run for run in await test.snapshots() if run["startedAt"] > last and run["outcome"] != "ok"]
    hits = [call for call in trace.calls() if call.is_injected]
    felt = bool(failed) or test.refused > refused
    runner.part.count(mode, faults=1, hit=bool(hits), felt=felt)
    found = list(test.ledger.wrong)
    # A directory's sync may be let pass: what it is for are the names of files that the next try makes anew.
    directory = f"<{server.database.parent}>"
    unseen = [call for call in hits if call.name in MUST_BE_FELT and directory not in call.text]
    if unseen and not felt:
        found.append(f"nobody noticed that {unseen[0].name} failed: {unseen[0].text}")
    return found


async def _has_run(test: OutageTest, last: str) -> bool:
    """Return whether a snapshot was attempted after the one that began at `last`."""
    return str((await test.last_snapshot())["startedAt"]) > last


async def _has_felt(test: OutageTest, last: str) -> bool:
    """Return whether the fault took effect: after more was published, the recorder is not ready or a
    snapshot failed.
    """
    await test.publish(10)
    await test.until_seen()
    ready = await test.server.get("/readyz")
    run = await test.last_snapshot()
    return ready.status_code != 200 or (run["startedAt"] > last and run["outcome"] == "ok")
