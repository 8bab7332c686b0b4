"""One connection, one thread: whole functions in turn, whatever becomes of who asked."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from recorder.core.errors import Closed, OutOfMemory
from recorder.store.sqlite import files
from recorder.store.sqlite.connection import connect_file, connect_sqlite, open_file, open_memory


async def test_functions_run_whole_in_turn_on_a_thread_of_their_own() -> None:
    async with open_memory() as database:
        done: list[str] = []

        def work(name: str) -> str:
            done.append(f"{name} begins")
            done.append(f"{name} ends")
            return threading.current_thread().name

        names = await asyncio.gather(*[database.run(lambda conn, n=n: work(n)) for n in "abc"])
        assert done == [f"{n} {what}" for n in "abc" for what in ("begins", "ends")]
        assert len(set(names)) == 1
        assert threading.current_thread().name not in names


async def test_an_error_goes_to_who_asked_and_the_next_is_served() -> None:
    async with open_memory() as database:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await database.run(lambda conn: conn.execute("SELECT * FROM absent"))
        assert await database.run(lambda conn: conn.execute("SELECT 1").fetchone()) == (1,)


async def test_what_has_begun_is_carried_out_though_who_asked_was_cancelled() -> None:
    async with open_memory() as database:
        begun, go_on = threading.Event(), threading.Event()

        def work(conn: sqlite3.Connection) -> None:
            begun.set()
            go_on.wait(10)
            conn.execute("CREATE TABLE made(x)")

        task = asyncio.create_task(database.run(work))
        await asyncio.get_running_loop().run_in_executor(None, begun.wait, 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        go_on.set()
        assert await database.run(lambda conn: conn.execute("SELECT count(*) FROM made").fetchone()) == (0,)


async def test_closing_carries_out_what_waits_and_then_says_that_it_is_closed() -> None:
    async with open_memory() as database:
        waiting = asyncio.create_task(database.run(lambda conn: conn.execute("SELECT 7").fetchone()))
        await asyncio.sleep(0)
        await asyncio.gather(database.close(), database.close())
        assert await waiting == (7,)
        with pytest.raises(Closed):
            await database.run(lambda conn: None)


async def test_a_file_is_never_made_by_opening_it(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        async with open_file(tmp_path / "x.sqlite"):
            pass
    assert os.listdir(tmp_path) == []


async def test_a_file_that_cannot_be_opened_leaves_no_thread_behind(tmp_path: Path) -> None:
    threads = threading.active_count()
    with pytest.raises(sqlite3.OperationalError):
        await open_file(tmp_path / "x.sqlite").__aenter__()
    assert threading.active_count() == threads


async def test_a_file_of_any_name_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "a ?#%41ä'.sqlite"
    assert files.create_if_missing(path)
    async with open_file(path) as database:
        name = await database.run(lambda conn: conn.execute("PRAGMA database_list").fetchone()[2])
    assert name == str(path)


async def test_a_file_is_written_with_a_journal_that_is_gone_and_synced_after_each_commit(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.sqlite"
    files.create_if_missing(path)
    async with open_file(path) as database:
        for name, value in (("journal_mode", "delete"), ("synchronous", 3), ("auto_vacuum", 2)):
            assert await database.run(lambda conn, n=name: conn.execute(f"PRAGMA {n}").fetchone()) == (value,)


def test_a_schema_that_is_no_text_is_damage_and_no_error_of_the_decoding(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with closing(connect_sqlite(str(path))) as conn:
        conn.execute("CREATE TABLE named(x)")
        conn.execute("PRAGMA writable_schema = ON")
        conn.execute("UPDATE sqlite_master SET name = CAST(x'6e61ff' AS TEXT), sql = CAST(x'ff' AS TEXT)")
    for connect in (lambda: connect_sqlite(str(path)), lambda: connect_file(path)):
        with (
            pytest.raises(sqlite3.DatabaseError, match=r"malformed database schema \(na\\xff\)") as caught,
            closing(connect()) as conn,
        ):
            conn.execute("SELECT * FROM named")
        assert caught.value.sqlite_errorcode == sqlite3.SQLITE_CORRUPT


@pytest.mark.parametrize("raised", [MemoryError(), "ioerr"])
async def test_a_lack_of_memory_is_told_apart_from_every_other_error(raised: MemoryError | str) -> None:
    error = sqlite3.OperationalError("disk I/O error") if raised == "ioerr" else raised
    if isinstance(error, sqlite3.OperationalError):
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_NOMEM

    def work(conn: sqlite3.Connection) -> None:
        raise error  # type: ignore[misc]

    async with open_memory() as database:
        with pytest.raises(OutOfMemory) as told:
            await database.run(work)
        assert told.value.http_status == 503
        assert await database.run(lambda conn: conn.execute("SELECT 1").fetchone()) == (1,)
