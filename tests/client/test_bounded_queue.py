"""Tests of the queue between reading and taking."""

from __future__ import annotations

import asyncio

import pytest

from recorder.client.bounded_queue import BoundedQueue


async def test_items_come_out_in_order() -> None:
    handoff: BoundedQueue[int] = BoundedQueue(10, 100)
    for number in range(5):
        await handoff.put(number, 1)
    assert [await handoff.get() for _ in range(5)] == list(range(5))
    assert len(handoff) == 0


@pytest.mark.parametrize(("max_items", "max_bytes"), [(2, 10**6), (10**6, 20)])
async def test_it_is_bounded_in_count_and_in_bytes(max_items: int, max_bytes: int) -> None:
    handoff: BoundedQueue[int] = BoundedQueue(max_items, max_bytes)
    await handoff.put(1, 10)
    assert not handoff.is_full
    await handoff.put(2, 10)
    assert handoff.is_full
    waiting = asyncio.ensure_future(handoff.put(3, 10))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await handoff.get() == 1
    await waiting
    assert [await handoff.get(), await handoff.get()] == [2, 3]


async def test_there_is_room_for_one_item_however_long() -> None:
    handoff: BoundedQueue[int] = BoundedQueue(10, 100)
    await handoff.put(1, 10**9)
    assert handoff.is_full
    assert await handoff.get() == 1


async def test_whoever_waits_gets_what_comes_each_item_once() -> None:
    handoff: BoundedQueue[int] = BoundedQueue(10, 100)
    takers = [asyncio.ensure_future(handoff.get()) for _ in range(3)]
    await asyncio.sleep(0)
    takers[0].cancel()
    for number in range(2):
        await handoff.put(number, 1)
    assert sorted([await takers[1], await takers[2]]) == [0, 1]


async def test_cancelling_loses_nothing() -> None:
    handoff: BoundedQueue[int] = BoundedQueue(1, 100)
    for number in range(20):
        taker = asyncio.ensure_future(handoff.get())
        await asyncio.sleep(0)
        await handoff.put(number, 1)
        taker.cancel()
        await asyncio.wait({taker})
        assert await handoff.get() == number
    await handoff.put(1, 1)
    putter = asyncio.ensure_future(handoff.put(2, 1))
    await asyncio.sleep(0)
    putter.cancel()
    await asyncio.wait({putter})
    assert len(handoff) == 1


async def test_the_end_comes_after_what_is_left_and_again_and_again() -> None:
    handoff: BoundedQueue[int] = BoundedQueue(10, 100)
    await handoff.put(1, 1)
    handoff.end(ZeroDivisionError())
    assert await handoff.get() == 1
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await handoff.get()


async def test_a_plain_end_ends_an_iteration_for_all_that_wait() -> None:
    handoff: BoundedQueue[int] = BoundedQueue(10, 100)

    async def takes() -> str:
        try:
            await handoff.get()
        except StopAsyncIteration:
            return "ended"
        return "got something"

    takers = [asyncio.ensure_future(takes()) for _ in range(3)]
    await asyncio.sleep(0)
    handoff.end()
    assert await asyncio.gather(*takers) == ["ended"] * 3


async def test_clearing_makes_room() -> None:
    handoff: BoundedQueue[int] = BoundedQueue(1, 100)
    await handoff.put(1, 100)
    waiting = asyncio.ensure_future(handoff.put(2, 1))
    await asyncio.sleep(0)
    handoff.clear()
    await waiting
    assert await handoff.get() == 2
