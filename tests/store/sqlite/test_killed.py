"""`kill -9` at any moment: the file opens, holds a prefix that is whole, and the next start begins a new epoch."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recorder.core.chain import GENESIS
from tests.store.sqlite.recording_child import state_of
from tests.support.store import file_rows, opened, verify_chain

ROOT = Path(__file__).resolve().parents[3]
KILLS = 10


@contextmanager
def python(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process with the project on its path, killed at the end."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, *arguments], env=env, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def record_and_kill(path: Path, lines: int) -> tuple[str, int]:
    """Let a process record on a file and kill it after it has said so many lines: its epoch, and what it had saved."""
    with python("-m", "tests.store.sqlite.recording_child", str(path)) as child:
        assert child.stdout is not None
        epoch = child.stdout.readline().strip()
        durable = 0
        for _ in range(lines):
            word, _, seq = child.stdout.readline().strip().partition(" ")
            durable = int(seq) if word == "durable" else durable
        child.kill()
        # What it said between the last look and its end counts too.
        for line in child.stdout:
            word, _, seq = line.strip().partition(" ")
            durable = int(seq) if word == "durable" and seq else durable
    return epoch, durable


def check_file(path: Path) -> int:
    """That what a file holds is sound and made of whole entries without a gap; the highest seq."""
    assert file_rows(path, "PRAGMA integrity_check") == [("ok",)]
    rows = file_rows(path)
    cut = file_rows(path, "SELECT last_seq, last_hash FROM prunes ORDER BY id DESC LIMIT 1") or [(0, GENESIS)]
    assert [row[0] for row in rows] == list(range(cut[0][0] + 1, cut[0][0] + 1 + len(rows)))
    assert all(row[4] == state_of(row[0]) for row in rows)
    verify_chain(rows, cut[0][1])
    return cut[0][0] + len(rows)


async def test_killed_at_any_moment_it_leaves_the_last_snapshot_whole(tmp_path: Path) -> None:
    path = tmp_path / "data" / "sessions.sqlite"
    clean, head = "", 0
    for n in range(KILLS):
        epoch, durable = record_and_kill(path, random.Random(n).randrange(1, 30))
        assert clean in ("", epoch), "a clean stop keeps the epoch"
        # The journal of an unfinished transaction is rolled back by whoever opens the file for writing.
        async with opened(path) as it:
            assert it.loaded.epoch > epoch
            clean = it.loaded.epoch
            assert it.loaded.head >= max(durable, head)
            head = it.loaded.head
        assert check_file(path) == head
    assert len(file_rows(path, "SELECT * FROM epochs")) == KILLS + 1


FULL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from recorder.core.errors import StoreError
from tests.support.store import columns_of, file_rows, leftovers, opened

async def main(path):
    async with opened(path) as it:
        await it.record(100)
        await it.store.snapshot()
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        for room in (0, 5_000, 50_000, 200_000):
            await it.record(400, after='"' + "x" * 1000 + '"')
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, hard))
            try:
                await it.store.snapshot()
            except StoreError as error:
                print(error)
            else:
                raise SystemExit("the disk was not full")
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            assert it.store.is_dirty
            await it.store.snapshot()
            assert leftovers(path) == []
            assert file_rows(path) == [columns_of(entry) for entry in it.feeder.entries]
    print("fine")

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_full_disk_fails_the_snapshot_and_nothing_else(tmp_path: Path) -> None:
    """Retried, and whole afterwards."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY, "files may not grow here"
    with python("-c", FULL_DISK, str(tmp_path / "data" / "sessions.sqlite")) as child:
        said, _ = child.communicate()
    lines = said.splitlines()
    assert lines[-1] == "fine"
    assert len(lines) == 5
    assert all("sessions.sqlite: " in line and "is the disk full" in line for line in lines[:-1])
