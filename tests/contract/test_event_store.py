"""What every event store must do, whatever it is made of. See `recorder.store.contract`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.core.delta import Entry
from recorder.core.errors import Closed
from recorder.store.contract import EventStore, Query
from recorder.wire.events import delta_frame
from tests.contract.conftest import Factory, Stores

given_many = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
SESSIONS = ("a", "b", "c", "ä/ \U0001f600")


async def read_all(events: EventStore, query: Query, limit: int = 1000) -> list[bytes]:
    """Every match, by as many reads as it takes; holds that each goes on and none takes more than its limit."""
    found: list[bytes] = []
    while True:
        piece = await events.read(query, limit)
        assert len(piece.items) <= limit
        found += piece.items
        if piece.done:
            return found
        if query.descending:
            assert query.before is None or piece.last_seq < query.before
            query = replace(query, before=piece.last_seq)
        else:
            assert piece.last_seq > query.after
            query = replace(query, after=piece.last_seq)


def matches(entry: Entry, query: Query) -> bool:
    """Whether an entry is asked for, written down independently of any store."""
    return all(
        (
            query.sessions is None or entry.session_id in query.sessions,
            query.types is None or entry.type in query.types,
            entry.seq > query.after,
            query.before is None or entry.seq < query.before,
            query.since is None or entry.recorded_at >= query.since,
            query.until is None or entry.recorded_at <= query.until,
            query.happened_since is None or entry.timestamp >= query.happened_since,
            query.happened_until is None or entry.timestamp <= query.happened_until,
            query.lineage is None or entry.lineage == query.lineage,
        )
    )


def expected(entries: Sequence[Entry], query: Query) -> list[bytes]:
    """The answer's frames, in order."""
    found = [entry.frame for entry in entries if matches(entry, query)]
    return found[::-1] if query.descending else found


def frames(items: Sequence[bytes]) -> list[bytes]:
    return [delta_frame(item) for item in items]


async def fill(stores: Stores) -> list[Entry]:
    """Forty entries: all types, broken lineage, times of happening out of order, times of recording with ties."""
    for n in range(40):
        session = SESSIONS[n * 7 % len(SESSIONS)]
        stores.put(
            session,
            None if n % 9 == 8 else f'{{"n":{n}, "big":123456789012345678901234567890}}',
            before='"other"' if n % 11 == 5 else None,
            kind="created" if n < 4 else None,
            timestamp=f"2026-01-{1 + n * 17 % 28:02}T00:00:00.000Z" if n % 3 else None,
            delta_id=f"id {n}\0\u2028" if n % 4 == 0 else None,
        )
        stores.clock.advance(n % 3)
    await stores.events.flush()
    return stores.feeder.entries


def times(entries: Sequence[Entry], name: str) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from([getattr(entry, name) for entry in entries])


def queries(entries: Sequence[Entry]) -> st.SearchStrategy[Query]:
    head = len(entries)
    return st.builds(
        Query,
        sessions=st.none() | st.frozensets(st.sampled_from([*SESSIONS, "nobody"]), min_size=1),
        types=st.none() | st.frozensets(st.sampled_from(["created", "updated", "deleted"]), min_size=1),
        after=st.integers(0, head + 2),
        before=st.none() | st.integers(0, head + 2),
        since=times(entries, "recorded_at"),
        until=times(entries, "recorded_at"),
        happened_since=times(entries, "timestamp"),
        happened_until=times(entries, "timestamp"),
        lineage=st.none() | st.just("broken"),
        descending=st.booleans(),
    )


async def test_it_is_an_event_store(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        assert isinstance(stores.events, EventStore)


async def test_it_says_in_words_what_it_promises(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        guarantee = stores.events.guarantee
        assert guarantee.order
        assert guarantee.durability
        assert guarantee.loss_window_ms >= 0
        assert guarantee.rebuilds == "", "an authority is not rebuilt from anything"


async def test_an_empty_one_has_nothing_and_says_so(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        events = stores.events
        assert (events.recorded, events.durable, events.oldest, events.count) == (0, 0, 1, 0)
        for query in (Query(), Query(descending=True)):
            piece = await events.read(query, 100)
            assert (list(piece.items), piece.done) == ([], True)
        await events.flush()
        assert (await events.health_check()).ok


async def test_entries_come_back_in_their_order_and_byte_for_byte(
    open_stores: Factory, tmp_path: Path
) -> None:
    async with open_stores(tmp_path) as stores:
        entries = await fill(stores)
        assert frames(await read_all(stores.events, Query())) == [entry.frame for entry in entries]
        assert frames(await read_all(stores.events, Query(descending=True), 7)) == [
            entry.frame for entry in reversed(entries)
        ]


async def test_what_is_flushed_is_recorded_and_numbers_have_no_gap(
    open_stores: Factory, tmp_path: Path
) -> None:
    async with open_stores(tmp_path) as stores:
        for n in range(5000):
            stores.put("s", str(n))
        await stores.events.flush()
        assert (stores.events.recorded, stores.events.count, stores.events.oldest) == (5000, 5000, 1)
        items = await read_all(stores.events, Query())
        assert [int(item.partition(b",")[0].rpartition(b":")[2]) for item in items] == list(range(1, 5001))


async def test_what_is_durable_is_recorded(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        stores.put()
        assert stores.events.durable <= stores.events.recorded
        await stores.make_durable()
        assert stores.events.durable == stores.events.recorded == 1


@given_many
@given(data=st.data())
def test_every_filter_in_both_directions_and_any_page_size(
    open_stores: Factory, tmp_path: Path, data: st.DataObject
) -> None:
    async def run(folder: Path) -> None:
        async with open_stores(folder) as stores:
            entries = await fill(stores)
            for query, limit in data.draw(
                st.lists(st.tuples(queries(entries), st.integers(1, 50)), min_size=8)
            ):
                assert frames(await read_all(stores.events, query, limit)) == expected(entries, query)

    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        asyncio.run(run(Path(folder)))


async def test_many_sessions_are_found_as_few_are(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        for n in range(300):
            stores.put(f"s{n % 100}", str(n))
        await stores.events.flush()
        for wanted in (1, 49, 50, 51, 90):
            query = Query(sessions=frozenset(f"s{n}" for n in range(wanted)))
            for asked in (query, replace(query, descending=True)):
                assert frames(await read_all(stores.events, asked, 40)) == expected(
                    stores.feeder.entries, asked
                )


async def test_positions_exclude_and_times_include_their_bounds(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        entries = [stores.put()]
        for _ in range(4):
            stores.clock.advance(1)
            entries.append(stores.put())
        await stores.events.flush()

        async def seqs(**fields: Any) -> list[int]:
            items = await read_all(stores.events, Query(**fields))
            return [int(item.partition(b",")[0].rpartition(b":")[2]) for item in items]

        assert await seqs(after=2, before=4) == [3]
        assert await seqs(since=entries[1].recorded_at, until=entries[3].recorded_at) == [2, 3, 4]
        assert await seqs(happened_since=entries[4].timestamp) == [5]
        assert await seqs(since="2999-01-01T00:00:00.000Z") == []
        assert await seqs(until="1999-01-01T00:00:00.000Z") == []


async def test_a_walk_goes_on_while_more_is_recorded(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        entries = stores.feeder.entries
        for query in (Query(), Query(types=frozenset({"updated"}))):
            found: list[bytes] = []
            for _ in range(20):
                stores.put()
                stores.put()
                await stores.events.flush()
                piece = await stores.events.read(query, 1)
                found += piece.items
                query = replace(query, after=piece.last_seq)
            found += await read_all(stores.events, query)
            assert frames(found) == [entry.frame for entry in entries]


async def test_who_asks_beyond_the_end_is_not_sent_back(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        stores.put()
        await stores.events.flush()
        for query in (Query(after=1), Query(after=5), Query(after=5, until="1999-01-01T00:00:00.000Z")):
            piece = await stores.events.read(query, 10)
            assert (list(piece.items), piece.done) == ([], True)
            assert piece.last_seq >= query.after


async def test_a_prune_removes_the_oldest_and_leaves_the_rest_gapless(
    open_stores: Factory, tmp_path: Path
) -> None:
    async with open_stores(tmp_path) as stores:
        entries = await fill(stores)
        await stores.make_durable()
        assert await stores.events.prune(25, "test") == 25
        assert (stores.events.oldest, stores.events.count, stores.events.recorded) == (26, 15, 40)
        kept = entries[25:]
        for query in (Query(), Query(descending=True), Query(sessions=frozenset({"a"})), Query(after=3)):
            assert frames(await read_all(stores.events, query, 4)) == expected(kept, query)
        assert await stores.events.prune(25, "test") == 0
        assert await stores.events.prune(3, "test") == 0
        assert await stores.events.prune(26, "test") == 1


async def test_after_everything_was_pruned_numbers_go_on(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        await fill(stores)
        await stores.make_durable()
        assert await stores.events.prune(10**12, "test") == 40
        assert (stores.events.oldest, stores.events.count, stores.events.recorded) == (41, 0, 40)
        assert stores.put().seq == 41
        await stores.events.flush()
        assert (stores.events.oldest, stores.events.count) == (41, 1)
    async with open_stores(tmp_path) as stores:
        assert (stores.events.oldest, stores.events.count, stores.events.recorded) == (41, 1, 41)


async def test_what_was_closed_in_order_is_there_again(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        entries = await fill(stores)
        stores.put()
        entries = list(stores.feeder.entries)
    async with open_stores(tmp_path) as stores:
        assert stores.events.recorded == stores.events.durable == 41
        assert frames(await read_all(stores.events, Query())) == [entry.frame for entry in entries]


async def test_closing_records_what_is_queued_and_closing_twice_is_fine(
    open_stores: Factory, tmp_path: Path
) -> None:
    async with open_stores(tmp_path) as stores:
        for _ in range(3000):
            stores.put()
        await stores.events.close()
        await stores.events.close()
        assert stores.events.durable == 3000


async def test_once_closed_it_says_so_whatever_is_asked(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        entry = stores.put()
        await stores.events.close()
        with pytest.raises(Closed):
            stores.events.extend([entry])
        with pytest.raises(Closed):
            await stores.events.read(Query(), 10)
        with pytest.raises(Closed):
            await stores.events.prune(1, "test")
        health = await stores.events.health_check()
        assert not health.ok
        assert "closed" in health.reason
