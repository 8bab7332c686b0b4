"""Any interleaving of append, snapshot, prune, compaction, cancellation, restart and crash, against a plain model."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from recorder.core.chain import GENESIS
from recorder.core.clock import FakeClock
from recorder.core.delta import Entry
from tests.support.store import (
    Opened,
    columns_of,
    file_dump,
    file_rows,
    leftovers,
    memory_dump,
    opened,
    verify_chain,
)

KEEP_IDS = 4
SESSIONS = ("a", "b", "ä/'\"\\ \U0001f600", "\u2028")
STATES = (
    "0",
    '""',
    "false",
    "{}",
    "1" * 30,
    '"\\u0000\\ud83d"',
    '{"a":[1,{"b":null}],"\u2028":"\U0001f600"}',
    '"%s"' % ("x" * 9000),
)
# An id may hold anything but lone surrogates: NUL, what separates items, quotes.
IDS = ("i", "I", "\0", "a\0b", "\x1e", "'\"\\", "\U0001f600", " ")
SAME = ("session_deltas", "session_states", "session_bases", "pruned_ids", "epochs", "prunes", "counters")
"""Tables that file and memory hold alike, once a snapshot has succeeded."""

deltas = st.lists(
    st.tuples(
        st.sampled_from(SESSIONS), st.none() | st.sampled_from(STATES), st.none() | st.sampled_from(IDS)
    ),
    min_size=1,
    max_size=12,
)


class StoreMachine(RuleBasedStateMachine):
    """The store beside a list of all entries and the seq through which they were pruned."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "0" / "sessions.sqlite"
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.stack = AsyncExitStack()
        self.entries: list[Entry] = []  # everything recorded that no crash has undone
        self.pruned = 0
        self.on_disk = (0, 0)  # head and pruned, as far as the last snapshot that succeeded
        self.epoch = ""
        self.crashes = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def open(self) -> None:
        self.stack = AsyncExitStack()
        self.it: Opened = self.run(
            self.stack.enter_async_context(opened(self.path, self.clock, keep_ids=KEEP_IDS))
        )

    @initialize()
    def begin(self) -> None:
        self.open()
        self.epoch = self.it.loaded.epoch

    @rule(taken=deltas, flush=st.booleans())
    def append(self, taken: list[tuple[str, str | None, str | None]], flush: bool) -> None:
        for session, after, delta_id in taken:
            self.entries.append(self.it.put(session, after, delta_id=delta_id))
        self.clock.advance(1)
        if flush:
            self.run(self.it.store.flush())

    @rule()
    def snapshot(self) -> None:
        result = self.run(self.it.store.snapshot())
        self.on_disk = (len(self.entries), self.pruned)
        assert result.head == self.it.store.durable == len(self.entries)
        assert not self.it.store.is_dirty
        self.compare_file()

    @rule(steps=st.integers(0, 30))
    def snapshot_that_is_cancelled(self, steps: int) -> None:
        async def run() -> None:
            task = asyncio.create_task(self.it.store.snapshot())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.it.store._file.run(lambda conn: None)  # its turn comes after whatever was under way

        self.run(run())
        self.run(self.it.store.flush())

    @rule(through=st.integers(0, 200), policy=st.sampled_from(["count", "age"]))
    def prune(self, through: int, policy: str) -> None:
        through = min(through, self.it.store.durable)
        removed = self.run(self.it.store.prune(through, policy))
        assert removed == max(0, through - self.pruned)
        self.pruned = max(self.pruned, through)

    @rule(steps=st.integers(0, 4))
    def prune_that_is_cancelled(self, steps: int) -> None:
        async def run() -> None:
            task = asyncio.create_task(self.it.store.prune(self.it.store.durable, "count"))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.it.store._memory.run(lambda conn: None)

        self.run(run())
        self.pruned = self.it.store.oldest - 1

    @rule()
    def compact(self) -> None:
        self.run(self.it.store.compact())

    @rule()
    def restart(self) -> None:
        self.run(self.stack.aclose())
        assert leftovers(self.path) == []
        self.on_disk = (len(self.entries), self.pruned)
        self.open()
        assert self.it.loaded.epoch == self.epoch, "a clean stop keeps the epoch"

    @precondition(lambda self: self.crashes < 3)
    @rule()
    def crash(self) -> None:
        """What the file holds now is what a process finds that starts after this one was killed."""
        self.crashes += 1
        before, self.path = self.path, self.folder / str(self.crashes) / "sessions.sqlite"
        self.path.parent.mkdir()
        for file in before.parent.glob("sessions.sqlite*"):
            if file.suffix != ".lock":
                shutil.copy(file, self.path.parent / file.name)
        durable, old_epoch = self.it.store.durable, self.epoch
        self.run(self.stack.aclose())
        self.open()
        head = self.it.loaded.head
        assert self.on_disk[0] <= durable <= head, "nothing that was durable is lost"
        assert self.it.loaded.pruned >= self.on_disk[1]
        self.entries = self.entries[:head]
        self.pruned = self.it.loaded.pruned
        self.epoch = self.it.loaded.epoch
        assert self.epoch > old_epoch

    @invariant()
    def memory_holds_the_model(self) -> None:
        store = self.it.store
        self.run(store.flush())
        assert (store.recorded, store.oldest) == (len(self.entries), self.pruned + 1)
        assert store.count == len(self.entries) - self.pruned
        conn: sqlite3.Connection = self.run(store._memory.run(lambda conn: conn))
        rows = conn.execute("SELECT * FROM session_deltas ORDER BY id").fetchall()
        assert rows == [columns_of(entry) for entry in self.entries[self.pruned :]]
        receipt = conn.execute("SELECT last_hash FROM prunes ORDER BY id DESC LIMIT 1").fetchone()
        verify_chain(rows, receipt[0] if receipt else GENESIS)
        assert self.run(store.ids(0))[-KEEP_IDS:] == self.expected_ids()

    def expected_ids(self) -> list[tuple[str, int, bytes | None]]:
        named = [(entry.id, entry.seq, entry.id_digest) for entry in self.entries if entry.id is not None]
        pruned = {row[0]: row for row in named if row[1] <= self.pruned}
        last = sorted(
            [*pruned.values(), *(row for row in named if row[1] > self.pruned)], key=lambda row: row[1]
        )
        return last[-KEEP_IDS:]

    def compare_file(self) -> None:
        """File and memory are equal, value for value and type for type; the file stands alone and is sound."""
        assert file_dump(self.path, SAME) == self.run(memory_dump(self.it.store, SAME))
        assert leftovers(self.path) == []
        conn = sqlite3.connect(self.path)
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        conn.close()

    def teardown(self) -> None:
        try:
            self.run(self.stack.aclose())
            kept = [columns_of(entry) for entry in self.entries[self.pruned :]]
            assert file_rows(self.path) == kept, "closing leaves everything on disk"
        finally:
            self.loop.close()
            shutil.rmtree(self.folder)


TestAnyInterleaving = StoreMachine.TestCase
TestAnyInterleaving.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
