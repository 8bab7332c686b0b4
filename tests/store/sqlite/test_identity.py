"""Which file the database is: locked under every name, known again whatever lies at its path."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recorder.core.errors import StoreLocked, StoreUnreadable
from recorder.store.sqlite.identity import locked, refuse_bind_mount
from tests.support.store import opened

# The lock

HOLD = (
    "import sys; from pathlib import Path; from recorder.store.sqlite.identity import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
)


@contextmanager
def held_by_another(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        try:
            yield other
        finally:
            other.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite"


def test_a_second_one_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    """Mistake 27: two processes on one file, and the last snapshot won."""
    path = tmp_path / "x.sqlite"
    with held_by_another(path) as other:
        with pytest.raises(StoreLocked, match=f"in use by process {other.pid} "), locked(path):
            pytest.fail("two hold it")
        other.kill()
    with locked(path):
        assert path.with_name("x.sqlite.lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_left_by_a_process_that_is_gone_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.with_name("x.sqlite.lock").write_text("4194304\n")
    with locked(path):
        pass
    assert path.with_name("x.sqlite.lock").read_text() == ""


async def test_within_one_process_too_a_file_has_one_store(path: Path) -> None:
    async with opened(path):
        with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
            async with opened(path):
                pass
    async with opened(path):
        pass


def test_a_lock_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite.lock").symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(StoreUnreadable, match=r"x\.sqlite\.lock: .*set DB_PATH"),
        locked(tmp_path / "x.sqlite"),
    ):
        pass
    assert not (tmp_path / "elsewhere").exists()


async def made(path: Path) -> None:
    """A file with a few entries."""
    async with opened(path) as it:
        await it.record(3)


async def test_a_second_name_of_the_file_is_refused_while_it_is_in_use(path: Path) -> None:
    await made(path)
    other, link = path.with_name("other.sqlite"), path.with_name("link.sqlite")
    os.link(path, other)
    link.symlink_to(path)
    with held_by_another(path):
        for name in (other, link):
            with pytest.raises(StoreLocked, match=f"{name.name} is in use by another process"):
                async with opened(name):
                    pass
    async with opened(other) as it:
        assert it.loaded.head == 3
        with pytest.raises(StoreLocked, match="under another name"), locked(path):
            pass


async def test_removing_the_lock_file_lets_nobody_in(path: Path) -> None:
    await made(path)
    with held_by_another(path):
        path.with_name("sessions.sqlite.lock").unlink()
        with pytest.raises(StoreLocked, match="with its lock file removed"):
            async with opened(path):
                pass


@pytest.mark.parametrize("how", ["created", "erased", "removed and made again"])
async def test_a_file_that_took_the_place_is_locked_from_its_first_moment(path: Path, how: str) -> None:
    async with opened(path) as it:
        await it.record(3)
        await it.store.snapshot()
        if how == "erased":
            await it.store.erase("s", "", lambda: 3)
        elif how == "removed and made again":
            os.unlink(path)
            await it.store.snapshot()
        path.with_name("sessions.sqlite.lock").unlink()
        with pytest.raises(StoreLocked), locked(path):
            pass
        assert len(it.store._lock._held) == 1
    with locked(path):
        pass


async def test_readers_and_writers_of_the_file_are_not_disturbed_by_the_lock(path: Path) -> None:
    async with opened(path) as it:
        await it.record(3)
        await it.store.snapshot()
        program = (
            "import sqlite3, sys; conn = sqlite3.connect(sys.argv[1], timeout=0)\n"
            "conn.execute('BEGIN EXCLUSIVE'); print(conn.execute('SELECT count(*) FROM session_deltas').fetchone()[0])"
        )
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", program, path], capture_output=True, check=True
        )
        assert done.stdout == b"3\n"
        await it.record(1)
        await it.store.snapshot()


def test_a_database_that_is_mounted_by_itself_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    path, mounts = folder / "s.sqlite", tmp_path / "mountinfo"
    path.touch()
    name = str(path).replace(" ", "\\040")
    mounts.write_text(f"1 2 8:1 / / rw - ext4 /dev/a rw\n3 1 8:2 /x {name} rw,relatime - ext4 /dev/b rw\n")
    with pytest.raises(StoreUnreadable, match=f"mount its directory {folder} instead"):
        refuse_bind_mount(path, mounts)
    refuse_bind_mount(folder / "another.sqlite", mounts)
    refuse_bind_mount(path, tmp_path / "not there")
