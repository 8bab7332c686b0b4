"""A store by itself: opened on a file, fed by the real sequencer, compared with a model of what it should hold."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from recorder.core.chain import GENESIS, content_digest, digest, link
from recorder.core.clock import Clock, FakeClock
from recorder.core.delta import Delta, Entry
from recorder.core.metrics import Metrics
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates
from recorder.store.contract import Loaded
from recorder.store.sqlite.config import StoreConfig
from recorder.store.sqlite.store import SqliteStore

DAY = 86_400.0
"""Seconds."""
SPEC_COLUMNS = "id, session_id, delta_type, before_state, after_state, timestamp, created_at"
TABLES = (
    "session_deltas", "session_states", "session_bases", "pruned_ids", "epochs", "prunes", "erasures", "erased_states",
    "heads", "job_runs", "meta", "counters"
)  # fmt: skip


class Feeder:
    """Makes entries the way the ingest does, and keeps every one that it made.

    Args:
        sequencer: Numbers them.
        clock: Tells the time of recording.
    """

    def __init__(self, sequencer: Sequencer, clock: Clock) -> None:
        self._sequencer = sequencer
        self._clock = clock
        self.entries: list[Entry] = []

    @property
    def head(self) -> int:
        """The highest seq given."""
        return self._sequencer.head

    def entry(
        self,
        session: str = "s",
        after: str | None = "1",
        *,
        before: str | None = None,
        kind: str | None = None,
        timestamp: str | None = None,
        delta_id: str | None = None,
    ) -> Entry:
        """The next entry; `after` None deletes the session."""
        kind = kind or ("deleted" if after is None else "updated")
        content = None
        if delta_id is not None:
            content = content_digest(kind, session, before, after, timestamp)
        delta = Delta(kind, session, before, after, timestamp, delta_id)
        made = self._sequencer.append(delta, self._clock.now_ms(), content)
        self.entries.append(made)
        return made


class Opened:
    """A store that is open and loaded.

    Args:
        store: It.
        loaded: Where the recording went on.
        feeder: Makes the entries that follow.
        path: Its file.
    """

    def __init__(self, store: SqliteStore, loaded: Loaded, feeder: Feeder, path: Path) -> None:
        self.store = store
        self.loaded = loaded
        self.feeder = feeder
        self.path = path

    def put(self, session: str = "s", after: str | None = "1", **fields: Any) -> Entry:
        """Append an entry."""
        entry = self.feeder.entry(session, after, **fields)
        self.store.extend([entry])
        return entry

    async def record(self, count: int, session: str = "s", *, after: str = "1") -> None:
        """Append entries of one session and wait until they are recorded."""
        for _ in range(count):
            self.put(session, after)
        await self.store.flush()


@asynccontextmanager
async def opened(
    path: Path, clock: Clock | None = None, *, metrics: Metrics | None = None, **config: Any
) -> AsyncIterator[Opened]:
    """A store on a file, loaded; closed at the end of the block, if it is not closed by then."""
    clock = clock or FakeClock()
    async with SqliteStore.open(StoreConfig(path, **config), clock, metrics or Metrics()) as store:
        loaded = await store.load()
        states = CurrentStates()
        after = ""
        while rows := await store.states.living(after):
            states.load(rows)
            after = rows[-1][0]
        sequencer = Sequencer(
            loaded.epoch, loaded.head, loaded.last_hash or GENESIS, loaded.last_recorded_at, states
        )
        yield Opened(store, loaded, Feeder(sequencer, clock), path)


def columns_of(entry: Entry) -> tuple[Any, ...]:
    """What `session_deltas` holds of an entry, in the order of `schema.COLUMNS`."""
    return (
        entry.seq,
        entry.session_id,
        entry.type,
        entry.before,
        entry.after,
        entry.timestamp,
        entry.recorded_at,
        entry.id,
        entry.id_digest,
        int(entry.before_filled),
        entry.lineage,
        entry.hash,
    )


def file_rows(path: Path, sql: str = "SELECT * FROM session_deltas ORDER BY id") -> list[tuple[Any, ...]]:
    """What a query of the file returns, by a connection of its own that only reads."""
    conn = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return conn.execute(sql).fetchall()
    finally:
        conn.close()


def typed_dump(conn: sqlite3.Connection, tables: Iterable[str] = TABLES) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in a database: each value with the type that SQLite stores it as, each table in order."""
    found = {}
    for table in tables:
        names = [name for (name,) in conn.execute("SELECT name FROM pragma_table_info(?)", (table,))]
        values = ",".join(f"typeof({name}), {name}" for name in names)
        found[table] = conn.execute(f"SELECT {values} FROM {table} ORDER BY 1, 2, 3, 4").fetchall()
    return found


def file_dump(path: Path, tables: Iterable[str] = TABLES) -> dict[str, list[tuple[Any, ...]]]:
    """`typed_dump` of a file."""
    conn = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return typed_dump(conn, tables)
    finally:
        conn.close()


async def memory_dump(store: SqliteStore, tables: Iterable[str] = TABLES) -> dict[str, list[tuple[Any, ...]]]:
    """`typed_dump` of what a store has in memory."""
    return await store._memory.run(lambda conn: typed_dump(conn, tables))


def leftovers(path: Path) -> list[str]:
    """What lies beside a database file, but for its lock."""
    return sorted(
        item.name
        for item in path.parent.iterdir()
        if item.name not in (path.name, f"{path.name}.lock", f"{path.name}.tenure")
    )


def verify_chain(rows: Iterable[tuple[Any, ...]], previous: bytes) -> None:
    """That each row's hash follows from the one before it, the first from `previous`."""
    for (
        seq,
        session,
        kind,
        before,
        after,
        happened,
        recorded,
        delta_id,
        id_digest,
        filled,
        lineage,
        found,
    ) in rows:
        digests = (None if before is None else digest(before), None if after is None else digest(after))
        extras = (delta_id, id_digest, bool(filled), lineage)
        previous = link(previous, seq, (session, kind), digests, (happened, recorded), extras)
        assert found == previous, f"the chain breaks at {seq}"
