"""The listing of all states: in order, shared, in slices, and without what was erased."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from recorder.core.session_filter import Scope, Sessions
from recorder.engine import state_listing
from recorder.engine.session_states import CurrentStates
from recorder.engine.state_listing import Listing, Listings
from tests.support.app import delta, running_app, some, turn, turn_until


def states_of(count: int, seed: int = 1) -> CurrentStates:
    """Sessions whose last seqs are in any order."""
    states, seqs = CurrentStates(), list(range(1, count + 1))
    Random(seed).shuffle(seqs)
    for n, seq in enumerate(seqs):
        states.put(f"s{n:06d}", seq, f'{{"n":{n}}}', None)
    return states


def all_of(
    listing: Listing, sessions: Sessions = None, max_bytes: int = 1 << 20
) -> list[tuple[int, str, str]]:
    found, at = [], 0
    while at < len(listing):
        states, at = listing.read(at, sessions, max_bytes)
        assert len(states) <= state_listing.SLICE_STATES
        assert len(states) <= 1 or sum(len(text) for _, _, text in states) <= max_bytes
        found += states
    return found


@pytest.mark.parametrize("count", [0, 1, 500, 999, 35_000])
async def test_all_states_come_by_seq_whatever_the_slices(count: int) -> None:
    states = states_of(count)
    listing = states.snapshot(count)
    await listing.order()
    assert all_of(listing) == states.listing()
    assert all_of(listing, max_bytes=100) == states.listing()


async def test_seqs_that_lie_close_together_are_ordered_too() -> None:
    states = CurrentStates()
    for n in range(25_000):
        states.put(f"s{n}", 1 if n < 20_000 else 25_000 - n + 1, "1", None)
    listing = states.snapshot(1)
    await listing.order()
    assert [seq for seq, _, _ in all_of(listing)] == sorted(seq for seq, _, _ in states.listing())


async def test_ordering_many_gives_way_to_others() -> None:
    listing = states_of(100_000).snapshot(100_000)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(others(), name="others")
    await listing.order()
    counting.cancel()
    assert turns >= 2 * 100_000 // state_listing.BUCKET_STATES


async def test_a_scope_sees_its_own_and_looks_at_few_at_once() -> None:
    states = states_of(20_000)
    listing = states.snapshot(20_000)
    await listing.order()
    scope = Scope(frozenset(), ("s0000",))
    assert all_of(listing, scope) == states.listing(scope)
    nothing, at = listing.read(0, Scope(frozenset(), ("t",)), 1 << 20)
    assert (nothing, at) == ([], state_listing.SLICE_LOOKS)


async def test_later_changes_do_not_touch_it_and_an_erasure_does() -> None:
    states = states_of(10)
    listing = states.snapshot(10)
    await listing.order()
    before = states.listing()
    states.put("s000001", 11, '"later"', None)
    states.put("s000002", 12, None, None)
    assert all_of(listing) == before
    listing.erase("s000003", 12)
    assert [name for _, name, _ in all_of(listing)] == [name for _, name, _ in before if name != "s000003"]


async def test_readers_share_one_and_get_another_where_too_much_has_happened() -> None:
    states, made = states_of(100), []
    held = True

    def snapshot(sessions: frozenset[str] | None) -> Listing:
        made.append(sessions)
        return states.snapshot(100 + len(made), sessions)

    listings = Listings(snapshot, lambda seq: held)
    first = await listings.get(None, 101)
    assert await listings.get(Scope(frozenset(), ("s",)), 101 + 25) is first
    assert await listings.get(None, 101 + 26) is not first
    few = await listings.get(frozenset({"s000001"}), 101)
    assert (len(few), made) == (1, [None, None, frozenset({"s000001"})])
    second = await listings.get(None, 103)
    held = False  # what came after it is not to be replayed any more
    assert await listings.get(None, 103) is not second


async def test_nothing_is_kept_of_it_once_nobody_reads_it() -> None:
    states = states_of(100)
    listings = Listings(lambda sessions: states.snapshot(100, sessions), lambda seq: True)
    await listings.get(None, 100)
    assert list(listings._alive) == []


async def test_many_that_come_back_after_a_crash_share_one_listing_and_miss_nothing(tmp_path: Path) -> None:
    async with running_app(tmp_path, max_concurrent_catchups=2) as app, AsyncExitStack() as stack:
        for start in range(0, 20_000, 5_000):
            await app.publish(*[delta(f"s{n}", n) for n in range(start, start + 5_000)])
        readers = [
            await stack.enter_async_context(app.connect("/ws?since=gone:1", receive_buffer=2048))
            for _ in range(20)
        ]
        hub = app.recorder.hub
        await turn_until(lambda: hub.catching_up == 20)
        app.narrow()
        await turn(300)
        await app.publish(*some(50, "late"))
        late = await stack.enter_async_context(app.connect("/ws?since=state"))
        assert [event["event"] for event in await late.take(2)] == ["hello", "state"]
        assert len(hub._listings._alive) == 1
        seen = await late.until("live")
        assert [event["seq"] for event in seen if event["event"] == "delta"] == list(range(20_001, 20_051))
        for reader in readers[:2]:
            reader.open_wide()
            events = await reader.until("live")
            assert [event["seq"] for event in events if event["event"] == "state"] == list(range(1, 20_001))
            assert [event["seq"] for event in events if event["event"] == "delta"] == list(
                range(20_001, 20_051)
            )


async def test_those_that_do_not_read_keep_nobody_from_catching_up(tmp_path: Path) -> None:
    async with running_app(tmp_path, max_concurrent_catchups=1) as app, AsyncExitStack() as stack:
        await app.publish(*[delta(f"s{n}", n, after={"pad": "x" * 3000}) for n in range(4_000)])
        for query in ("since=state", "since=earliest") * 5:
            await stack.enter_async_context(app.connect(f"/ws?{query}", receive_buffer=2048))
        await turn_until(lambda: app.recorder.hub.catching_up == 10)
        app.narrow()
        for query in ("since=state", "since=earliest"):
            async with app.connect(f"/ws?{query}") as wire:
                assert len(await wire.until("live")) == 4_002


async def test_what_is_erased_amid_the_states_is_not_sent_any_more(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*[delta(f"s{n}", n, after={"pad": "x" * 2000}) for n in range(3_000)])
        async with app.connect("/ws?since=state", receive_buffer=2048) as wire:
            app.narrow()
            (connection,) = app.gateway.connections._sockets
            await turn_until(lambda: not connection.is_writable)
            await app.recorder.eraser.erase("s2999")
            wire.open_wide()
            events = await wire.until("live")
            told = [event["event"] for event in events if event.get("sessionId") == "s2999"]
            assert told == ["erased"]
