"""What every state store must do: agree at any point with the deltas, which an independent fold is made of."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.core.delta import Entry
from recorder.core.errors import Closed, Pruned
from recorder.store.contract import SessionRow, StateRow, StateStore
from tests.contract.conftest import Factory, Stores

given_many = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
SESSIONS = ("a", "b", "c")
steps = st.lists(st.tuples(st.sampled_from(SESSIONS), st.sampled_from([0, 1, '""', None])), max_size=40)


def fold(entries: Iterable[Entry], session: str, at: int) -> StateRow | None:
    """A session's state as of a seq, by going through every delta there has been."""
    row = None
    for entry in entries:
        if entry.session_id == session and entry.seq <= at:
            row = StateRow(session, entry.seq, entry.after, entry.type == "deleted")
    return row


def folded_sessions(entries: Sequence[Entry], pruned: int) -> list[SessionRow]:
    """The sessions as they must be listed: those of which something is kept, or which lived at the cut."""
    rows = []
    for session in {entry.session_id for entry in entries}:
        own = [entry for entry in entries if entry.session_id == session]
        last, kept = own[-1], sum(entry.seq > pruned for entry in own)
        if kept or last.type != "deleted":
            rows.append(SessionRow(session, last.seq, last.recorded_at, kept, last.type == "deleted"))
    return sorted(rows, key=lambda row: -row.seq)


async def apply(stores: Stores, taken: Iterable[tuple[str, object]]) -> list[Entry]:
    for session, after in taken:
        stores.put(session, None if after is None else str(after))
        stores.clock.advance(1)
    await stores.events.flush()
    return stores.feeder.entries


async def check(stores: Stores, pruned: int = 0) -> None:
    """That everything agrees with the fold, at every point."""
    entries = stores.feeder.entries
    assert await stores.states.sessions(None, 1000) == folded_sessions(entries, pruned)
    for session in (*SESSIONS, "nobody"):
        for at in range(len(entries) + 1):
            if at < pruned:
                with pytest.raises(Pruned):
                    await stores.states.state(session, at)
                continue
            wanted = fold(entries, session, at)
            if wanted is not None and wanted.deleted and wanted.seq <= pruned:
                wanted = None  # nothing is left of what was deleted before the cut
            assert await stores.states.state(session, at) == wanted
        assert await stores.states.state(session) == await stores.states.state(session, len(entries))
    assert (await stores.states.health_check()).ok


async def test_it_is_a_state_store(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        assert isinstance(stores.states, StateStore)


async def test_it_says_in_words_what_it_promises_and_what_it_is_made_from(
    open_stores: Factory, tmp_path: Path
) -> None:
    async with open_stores(tmp_path) as stores:
        guarantee = stores.states.guarantee
        assert guarantee.order
        assert guarantee.durability
        assert guarantee.rebuilds


async def test_an_empty_one_knows_nobody(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        assert await stores.states.sessions(None, 10) == []
        assert await stores.states.state("a") is None
        assert await stores.states.state("a", 5) is None
        assert await stores.states.rebuild() == 0
        assert (await stores.states.health_check()).ok


@given_many
@given(taken=steps, cut=st.integers(0, 45))
def test_at_any_point_it_equals_a_fold_of_the_deltas_also_behind_a_cut(
    open_stores: Factory, tmp_path: Path, taken: list[tuple[str, object]], cut: int
) -> None:
    async def run(folder: Path) -> None:
        async with open_stores(folder) as stores:
            await apply(stores, taken)
            await check(stores)
            await stores.make_durable()
            await stores.events.prune(cut, "test")
            await check(stores, min(cut, len(taken)))

    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        asyncio.run(run(Path(folder)))


@given_many
@given(before=steps, cut=st.integers(0, 45), after=steps)
def test_rebuilding_gives_the_same_cache(
    open_stores: Factory,
    tmp_path: Path,
    before: list[tuple[str, object]],
    cut: int,
    after: list[tuple[str, object]],
) -> None:
    async def run(folder: Path) -> None:
        async with open_stores(folder) as stores:
            await apply(stores, before)
            await stores.make_durable()
            await stores.events.prune(cut, "test")
            await apply(stores, after)
            known = await stores.states.sessions(None, 1000)
            assert await stores.states.rebuild() == len(known)
            assert await stores.states.sessions(None, 1000) == known
            await check(stores, min(cut, len(before)))

    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        asyncio.run(run(Path(folder)))


async def test_sessions_come_in_pages_the_latest_first(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        await apply(stores, [(f"s{n % 30}", n) for n in range(100)])
        whole = folded_sessions(stores.feeder.entries, 0)
        found: list[SessionRow] = []
        while rows := await stores.states.sessions(found[-1].seq if found else None, 7):
            assert len(rows) <= 7
            found += rows
        assert found == whole
        assert await stores.states.sessions(None, 1000, 90) == [row for row in whole if row.seq > 90]


async def test_an_idle_session_that_lives_survives_pruning_and_a_deleted_one_vanishes(
    open_stores: Factory, tmp_path: Path
) -> None:
    async with open_stores(tmp_path) as stores:
        await apply(
            stores, [("idle", '{"plan":"waiting"}'), ("gone", 1), ("gone", None), ("busy", 1), ("busy", 2)]
        )
        await stores.make_durable()
        await stores.events.prune(4, "test")
        assert await stores.states.state("idle") == StateRow("idle", 1, '{"plan":"waiting"}', False)
        assert await stores.states.state("gone") is None
        assert [row.session_id for row in await stores.states.sessions(None, 10)] == ["busy", "idle"]
    async with open_stores(tmp_path) as stores:
        assert await stores.states.state("idle", 4) == StateRow("idle", 1, '{"plan":"waiting"}', False)
        stores.put("idle", None)
        await stores.events.flush()
        assert await stores.states.state("idle") == StateRow("idle", 6, None, True)
        assert await stores.states.state("idle", 5) == StateRow("idle", 1, '{"plan":"waiting"}', False)


async def test_it_is_there_again_after_an_orderly_close(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        await apply(stores, [("a", 1), ("b", 2), ("a", None), ("c", 3)])
        known = await stores.states.sessions(None, 10)
    async with open_stores(tmp_path) as stores:
        assert await stores.states.sessions(None, 10) == known


async def test_once_the_events_are_closed_it_says_so(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        await stores.events.close()
        with pytest.raises(Closed):
            await stores.states.sessions(None, 10)
        with pytest.raises(Closed):
            await stores.states.state("a")
        with pytest.raises(Closed):
            await stores.states.rebuild()
        assert not (await stores.states.health_check()).ok
