"""The one writer: groups, bounds that are told and not enforced, and an end that everybody hears of."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from loguru import logger

from recorder.core.chain import GENESIS
from recorder.core.clock import FakeClock
from recorder.core.delta import Entry
from recorder.core.errors import Closed, StoreError
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates
from recorder.store.sqlite import schema
from recorder.store.sqlite import writer as writer_module
from recorder.store.sqlite.connection import Database, open_memory
from recorder.store.sqlite.span import append_entries
from recorder.store.sqlite.writer import GROUP_ROWS, Writer
from tests.support.store import Feeder, columns_of


class Writing:
    """A writer at work on a database of its own.

    Args:
        writer: It.
        database: Where it writes.
        feeder: Makes entries.
    """

    def __init__(self, writer: Writer, database: Database, feeder: Feeder) -> None:
        self.writer = writer
        self.database = database
        self.feeder = feeder

    def put(self, count: int = 1) -> list[Entry]:
        made = [self.feeder.entry(after=str(n)) for n in range(count)]
        for entry in made:
            self.writer.extend([entry])
        return made

    async def statements(self) -> list[str]:
        """From now on, what is executed."""
        seen: list[str] = []
        await self.database.run(lambda conn: conn.set_trace_callback(seen.append))
        return seen


@asynccontextmanager
async def writing(
    on_progress: Callable[[], None] = lambda: None,
    *,
    max_entries: int = 10**9,
    max_bytes: int = 1 << 40,
    log_entries: bool = False,
) -> AsyncIterator[Writing]:
    async with open_memory() as database:
        await database.run(schema.create)
        writer = Writer(
            database, 0, on_progress, max_entries=max_entries, max_bytes=max_bytes, log_entries=log_entries
        )
        task = asyncio.create_task(writer.run())
        feeder = Feeder(Sequencer("E", 0, GENESIS, "", CurrentStates()), FakeClock())
        try:
            yield Writing(writer, database, feeder)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_what_waits_is_committed_as_one_group() -> None:
    async with writing() as it:
        seen = await it.statements()
        it.put(1000)
        await it.writer.flush()
        assert (seen.count("BEGIN IMMEDIATE"), seen.count("COMMIT")) == (1, 1)
        assert len(seen) < 12


async def test_a_group_is_bounded_so_that_readers_get_their_turn() -> None:
    async with writing() as it:
        seen = await it.statements()
        it.put(3 * GROUP_ROWS)
        await it.writer.flush()
        assert seen.count("COMMIT") == 3


async def test_a_reader_between_two_groups_sees_whole_groups() -> None:
    async with writing() as it:
        it.put(3 * GROUP_ROWS)
        counts = []
        while it.writer.waiting:
            counts.append(
                await it.database.run(
                    lambda conn: conn.execute(
                        "SELECT count(*), (SELECT sum(count) FROM session_states) FROM session_deltas"
                    ).fetchone()
                )
            )
        assert all(rows % GROUP_ROWS == 0 and rows == (counted or 0) for rows, counted in counts)


async def test_the_columns_are_what_the_entry_says() -> None:
    async with writing() as it:
        entries = it.put(5)
        entries.append(it.feeder.entry("t", None, before="[1]", delta_id="\0"))
        it.writer.extend([entries[-1]])
        await it.writer.flush()
        rows = await it.database.run(
            lambda conn: conn.execute("SELECT * FROM session_deltas ORDER BY id").fetchall()
        )
        assert rows == [columns_of(entry) for entry in entries]


async def test_it_tells_of_each_group() -> None:
    told: list[int] = []
    async with writing(lambda: told.append(it.writer.recorded)) as it:
        it.put(2 * GROUP_ROWS + 5)
        await it.writer.flush()
        assert told == [GROUP_ROWS, 2 * GROUP_ROWS, 2 * GROUP_ROWS + 5]
        assert it.writer.recorded_bytes == sum(len(entry.frame) for entry in it.feeder.entries)


async def test_it_says_when_it_is_full_by_count_or_by_bytes_and_drops_nothing() -> None:
    async with writing(max_entries=10) as it:
        it.put(9)
        assert it.writer.capacity == 1
        it.put(11)
        assert it.writer.capacity == 0
        await it.writer.flush()
        assert it.writer.capacity == 10
        assert it.writer.recorded == 20
    async with writing(max_bytes=1000) as it:
        while it.writer.capacity:
            it.put()
        assert sum(len(entry.frame) for entry in it.feeder.entries) >= 1000
        await it.writer.flush()
        assert it.writer.waiting == 0 < it.writer.capacity


async def test_flushing_waits_for_what_is_there_and_not_for_what_keeps_coming() -> None:
    def go_on() -> None:
        # As under a load that never lets up: the queue is never empty when a group is done.
        if it.writer.recorded < 200_000 and not flushed.done():
            it.put(50)

    async with writing(go_on) as it:
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        it.put(50)
        await it.writer.flush()
        flushed.set_result(None)
        assert it.writer.recorded == 50
        await it.writer.flush()
        assert it.writer.waiting == 0


async def test_any_error_ends_recording_for_good_and_everybody_hears_of_it() -> None:
    told: list[str | None] = []
    async with writing(lambda: told.append(it.writer.fatal_error)) as it:
        it.put()
        await it.writer.flush()
        await it.database.run(lambda conn: conn.execute("DROP TABLE session_states"))
        it.put()
        waiting = asyncio.create_task(it.writer.flush())
        with pytest.raises(StoreError, match="nothing can be recorded: OperationalError: no such table"):
            await it.writer.flush()
        with pytest.raises(StoreError):
            await waiting
        with pytest.raises(StoreError, match="nothing can be recorded"):
            it.put()
        assert told[-1] == it.writer.fatal_error is not None
        assert it.writer.recorded == 1


async def test_an_error_that_is_not_sqlites_ends_it_too() -> None:
    async with writing() as it:
        entry = it.feeder.entry()
        entry.timestamp = "\ud800"  # cannot be encoded; the ingest would have refused it
        it.writer.extend([entry])
        with pytest.raises(StoreError, match="UnicodeEncodeError"):
            await it.writer.flush()


async def test_a_group_that_fails_leaves_nothing_of_itself() -> None:
    async with writing() as it:
        it.put(10)
        await it.writer.flush()

        def refuse(conn: sqlite3.Connection) -> None:
            conn.execute(
                "CREATE TRIGGER no BEFORE INSERT ON session_deltas WHEN new.id = 15 BEGIN SELECT raise(ABORT, 'no'); END"
            )

        await it.database.run(refuse)
        it.put(10)
        with pytest.raises(StoreError, match="no"):
            await it.writer.flush()
        assert await it.database.run(
            lambda conn: conn.execute("SELECT max(id) FROM session_deltas").fetchone()
        ) == (10,)


async def test_closed_it_takes_nothing_more_and_records_what_it_has() -> None:
    async with writing() as it:
        it.put(10)
        it.writer.close()
        with pytest.raises(Closed):
            it.put()
        await it.writer.flush()
        assert it.writer.recorded == 10


@pytest.mark.parametrize("asked", [False, True])
async def test_each_entry_has_its_line_in_the_log_where_that_is_asked_for(asked: bool) -> None:
    lines: list[tuple[str, dict[str, object]]] = []
    logger.enable("recorder")
    sink = logger.add(
        lambda message: lines.append((message.record["message"], message.record["extra"])), level="DEBUG"
    )
    try:
        async with writing(log_entries=asked) as it:
            it.put(2)
            await it.writer.flush()
    finally:
        logger.remove(sink)
        logger.disable("recorder")
    saved = [extra for message, extra in lines if message == "delta saved"]
    assert saved == [{"session_id": "s", "type": "updated", "seq": n} for n in (1, 2)] * asked


async def test_a_group_that_finds_no_memory_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [MemoryError(), MemoryError()]

    def short(conn: sqlite3.Connection, entries: list[Entry]) -> None:
        if failures:
            raise failures.pop()
        append_entries(conn, entries)

    monkeypatch.setattr(writer_module, "append_entries", short)
    monkeypatch.setattr(writer_module, "FIRST_PAUSE", 0.001)
    async with writing() as it:
        writer = it.writer
        writer.extend([it.feeder.entry() for _ in range(3)])
        await writer.flush()
        assert writer.recorded == 3
        assert writer.fatal_error is None


async def test_what_does_not_follow_what_was_appended_ends_recording_before_any_of_it_is_taken() -> None:
    async with writing() as it:
        writer, feed = it.writer, it.feeder
        writer.extend([feed.entry()])
        feed.entry()
        with pytest.raises(StoreError, match="do not follow seq 1"):
            writer.extend([feed.entry()])
        assert writer.waiting <= 1
        with pytest.raises(StoreError, match="nothing can be recorded"):
            writer.extend([feed.entry()])
