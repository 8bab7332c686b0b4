"""Which file the database is: locked under every name, known again whatever lies at its path."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from recorder.core.errors import StoreError, StoreLocked, StoreUnreadable
from recorder.store.sqlite.identity import (
    BESIDE_BYTES,
    COPIED,
    beside,
    locked,
    read_beside,
    refuse_bind_mount,
)
from recorder.store.sqlite.rows import set_meta
from tests.support.log_lines import log_lines
from tests.support.store import file_rows, opened

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
        assert len(it.store._identity.lock._held) == 1
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


# What is in the file


async def test_a_file_copied_over_while_it_runs_is_never_written_to_and_nothing_in_it_is_durable(
    path: Path,
) -> None:
    foreign = path.with_name("foreign.sqlite")
    async with opened(foreign) as it:
        await it.record(500)
    async with opened(path) as it:
        await it.record(10)
        await it.store.snapshot()
        await it.record(5)
        mine = path.read_bytes()  # noqa: ASYNC240
        path.write_bytes(foreign.read_bytes())  # noqa: ASYNC240
        for _ in range(2):
            with pytest.raises(StoreError, match=r"file_replaced.*put the right file back"):
                await it.store.snapshot()
            assert it.store.durable == 0
        assert path.read_bytes() == foreign.read_bytes()  # noqa: ASYNC240
        path.write_bytes(mine)  # noqa: ASYNC240
        await it.store.snapshot()
        assert it.store.durable == 15
    assert len(file_rows(path)) == 15


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE session_deltas SET hash = zeroblob(32) WHERE id = 10",
        "DELETE FROM session_deltas WHERE id = 10",
        "UPDATE meta SET value = 'other' WHERE key = 'tenure'",
        "UPDATE meta SET value = '1' WHERE key = 'turn'",
        "DELETE FROM meta",
        "DROP TABLE meta",
    ],
)
async def test_a_file_that_another_program_changes_while_it_runs_is_not_written_to(
    path: Path, change: str
) -> None:
    with contextlib.suppress(StoreError):  # the orderly stop cannot save, and says so
        async with opened(path) as it:
            await it.record(10)
            await it.store.snapshot()
            await it.record(5)
            with closing(sqlite3.connect(path, isolation_level=None)) as conn:
                conn.execute(change)
            before = path.read_bytes()  # noqa: ASYNC240
            with pytest.raises(StoreError, match="file_replaced"):
                await it.store.snapshot()
            assert (it.store.durable, path.read_bytes()) == (0, before)  # noqa: ASYNC240


async def test_an_earlier_state_of_the_same_file_put_back_while_it_runs_is_not_written_to(path: Path) -> None:
    async with opened(path) as it:
        await it.record(10)
        await it.store.snapshot()
        earlier = path.read_bytes()  # noqa: ASYNC240
        await it.record(5)
        await it.store.snapshot()
        path.write_bytes(earlier)  # noqa: ASYNC240
        await it.record(1)
        with pytest.raises(StoreError, match="file_replaced"):
            await it.store.snapshot()
        path.unlink()  # noqa: ASYNC240
        await it.store.snapshot()
        assert it.store.durable == 16
    assert len(file_rows(path)) == 16


# Which epoch a start goes on with


async def crashed(path: Path, folder: Path, *, commit: bool) -> tuple[Path, str]:
    """A recording as a crash leaves it, with a copy of the file as of seq 50 inside; and its epoch."""
    async with opened(path, commit=commit) as it:
        await it.record(50)
        await it.store.snapshot()
        shutil.copy(path, path.with_name("copy"))
        await it.record(50)
        await it.store.snapshot()
        await it.record(3)
        shutil.copytree(path.parent, folder)
        return folder / path.name, it.loaded.epoch


@pytest.mark.parametrize(
    ("harm", "goes_on"),
    [
        ("nothing", True),
        ("an older copy is put back", False),
        ("a copy made by a command is put back", False),
        ("the file beside it is removed", False),
        ("the file beside it is damaged", False),
        ("the file beside it is of another recording", False),
        ("the file beside it lags by a turn", True),
    ],
)
async def test_after_a_crash_in_commit_mode_the_epoch_goes_on_only_with_the_file_that_was_there(
    path: Path, tmp_path: Path, harm: str, goes_on: bool
) -> None:
    killed, epoch = await crashed(path, tmp_path / "killed", commit=True)
    place = read_beside(killed)
    assert place is not None
    if harm == "an older copy is put back":
        shutil.copy(killed.with_name("copy"), killed)
    elif harm == "a copy made by a command is put back":
        with closing(sqlite3.connect(killed)) as conn, conn:
            set_meta(conn, **COPIED)
    elif harm == "the file beside it is removed":
        beside(killed).unlink()
    elif harm == "the file beside it is damaged":
        beside(killed).write_bytes(bytes(BESIDE_BYTES))
    elif harm == "the file beside it is of another recording":
        beside(killed).write_text(json.dumps({**asdict(place), "recording": "x"}))
    elif harm == "the file beside it lags by a turn":
        older = {**asdict(place), "turn": place.turn - 1, "seq": 50, "hash": ""}
        beside(killed).write_text(json.dumps(older))
    if harm == "an older copy is put back":
        for segment in killed.parent.glob("*.commits.*"):
            segment.unlink()  # what it has does not follow a copy of seq 50: the start would be refused
    async with opened(killed, commit=True) as it:
        assert (it.loaded.epoch == epoch) == goes_on
        assert it.loaded.head in (50, 100, 103)
        again = it.loaded.epoch
    async with opened(killed, commit=True) as it:
        assert it.loaded.epoch == again


async def test_a_commit_segment_that_is_gone_ends_the_epoch(path: Path, tmp_path: Path) -> None:
    killed, epoch = await crashed(path, tmp_path / "killed", commit=True)
    for segment in killed.parent.glob("*.commits.*"):
        segment.unlink()
    async with opened(killed, commit=True) as it:
        assert (it.loaded.epoch != epoch, it.loaded.head) == (True, 100)


@pytest.mark.parametrize("left", [b"", b"\0" * 400, b"{}"], ids=["empty", "zeros", "of no use"])
async def test_what_a_power_cut_leaves_of_the_file_beside_it_ends_the_epoch_with_a_warning(
    path: Path, tmp_path: Path, left: bytes
) -> None:
    killed, epoch = await crashed(path, tmp_path / "killed", commit=True)
    beside(killed).write_bytes(left)
    with log_lines("WARNING") as lines:
        async with opened(killed, commit=True) as it:
            assert (it.loaded.epoch != epoch, it.loaded.head) == (True, 103)
    assert any("cannot be read" in str(line.get("reason")) for line in lines)
    async with opened(killed, commit=True) as again:
        assert again.loaded.epoch == it.loaded.epoch


async def test_a_crash_between_the_first_transaction_and_the_file_beside_it_keeps_the_epoch(
    path: Path, tmp_path: Path
) -> None:
    killed, epoch = await crashed(path, tmp_path / "killed", commit=True)
    before = beside(killed).read_bytes()
    async with opened(killed, commit=True) as it:
        assert it.loaded.epoch == epoch
        shutil.copytree(killed.parent, tmp_path / "again")
    again = tmp_path / "again" / killed.name
    beside(again).write_bytes(before)
    async with opened(again, commit=True) as it:
        assert (it.loaded.epoch, it.loaded.head) == (epoch, 103)


async def test_a_file_of_an_orderly_stop_put_back_after_more_was_recorded_begins_a_new_epoch(
    path: Path,
) -> None:
    await made(path)
    copy = path.read_bytes()  # noqa: ASYNC240
    async with opened(path) as it:
        await it.record(2)
        epoch = it.loaded.epoch
    path.write_bytes(copy)  # noqa: ASYNC240
    async with opened(path) as it:
        assert (it.loaded.head, it.loaded.epoch > epoch) == (3, True)


async def test_a_file_that_an_older_release_stopped_in_order_goes_on_in_its_epoch(path: Path) -> None:
    await made(path)
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(
            "DELETE FROM meta WHERE key IN ('recording', 'tenure', 'prior_tenure', 'turn', 'segment')"
        )
        (epoch,) = conn.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    beside(path).unlink()
    async with opened(path) as it:
        assert (it.loaded.head, it.loaded.epoch) == (3, epoch)
    async with opened(path, new_epoch=True) as it:
        assert it.loaded.epoch > epoch


async def test_a_note_of_a_loss_that_is_no_json_is_none(path: Path) -> None:
    async with opened(path) as it:
        await it.record(1)
        await it.store.set_metadata(last_loss="other")
        await it.store.snapshot()
    async with opened(path) as it:
        assert it.store.last_loss is None
