"""Waiting for room or for recording: told once, in turn, and never for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from recorder.core.errors import (
    Closed,
    OutcomeUnknown,
    RecorderError,
    Unavailable,
)
from tests.support.ingest import Setup, delta, refused


class Called:
    """A waiter that counts, and may do something when it is told."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.times = 0
        self.then = then
        self.aborted = False

    def on_capacity(self) -> None:
        self.times += 1
        self.then()

    on_recorded = on_capacity

    def on_rolled_back(self, error: RecorderError) -> None:
        self.on_capacity()

    def abort(self) -> None:
        self.aborted = True


def test_one_waiter_that_raises_is_ended_and_the_others_are_told() -> None:
    setup = Setup(room=1)
    broken, fine = Called(lambda: 1 // 0), Called()
    for tell in (setup.ingest.wait_recorded, setup.ingest.wait_for_capacity):
        tell(broken)
        tell(fine)
        setup.ingest.on_progress()
    assert (broken.times, broken.aborted) == (2, True)
    assert (fine.times, fine.aborted) == (2, False)
    assert setup.metrics.callback_errors == {"publisher": 2}


def test_who_waits_for_room_is_told_once_in_turn_while_there_is_room() -> None:
    setup = Setup(room=1)
    setup.take(delta())
    assert setup.ingest.is_full
    first = Called(lambda: setup.take(delta()))
    second = Called()
    setup.ingest.wait_for_capacity(first)
    setup.ingest.wait_for_capacity(second)
    setup.ingest.on_progress()
    assert (first.times, second.times) == (0, 0)
    setup.record()
    assert (first.times, second.times) == (1, 0)  # the first has taken the room
    setup.record()
    setup.record()
    assert (first.times, second.times) == (1, 1)


def test_who_waits_for_recording_is_told_once_at_the_next_progress() -> None:
    setup = Setup()
    waiter = Called(lambda: setup.ingest.wait_recorded(waiter) if waiter.times == 1 else None)
    setup.ingest.wait_recorded(waiter)
    setup.record()
    assert waiter.times == 1
    setup.record()
    setup.record()
    assert waiter.times == 2


async def test_an_await_for_room_and_for_recording_ends_when_there_is() -> None:
    setup = Setup(room=1)
    setup.take(delta())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        room = tasks.create_task(setup.ingest.until_capacity(), name="room")
        recorded = tasks.create_task(setup.ingest.until_recorded(1), name="recorded")
        await asyncio.sleep(0)
        setup.ingest.on_progress()
        await asyncio.sleep(0)
        assert not room.done()
        assert not recorded.done()
        setup.record()
    await setup.ingest.until_capacity()
    await setup.ingest.until_recorded(1)


async def test_of_many_that_await_room_only_as_many_go_on_as_there_is_room_for() -> None:
    setup = Setup(room=1)
    setup.take(delta())

    async def publish() -> None:
        await setup.ingest.until_capacity()
        setup.take(delta())

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(publish(), name=f"publisher-{number}")
        await asyncio.sleep(0)
        for taken in range(1, 5):
            setup.record()
            for _ in range(4):
                await asyncio.sleep(0)
            assert len(setup.wire.entries) == taken + 1


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    setup = Setup(room=1)
    setup.take(delta())
    for wait in (setup.ingest.until_capacity(), setup.ingest.until_recorded(1)):
        task = asyncio.create_task(wait, name="waiting")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not setup.ingest._capacity_waiters
    assert not setup.ingest._recorded_waiters
    setup.record()


async def test_who_gives_up_in_the_very_moment_is_not_told() -> None:
    setup = Setup()
    setup.take(delta())
    task = asyncio.create_task(setup.ingest.until_recorded(1), name="waiting")
    await asyncio.sleep(0)
    task.cancel()
    setup.record()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_once_closed_it_takes_nothing_more() -> None:
    setup = Setup()
    setup.take(delta())
    setup.ingest.close()
    setup.ingest.close()
    error = refused(setup, b"{}")
    assert isinstance(error, Closed)
    assert error.retry
    assert setup.metrics.refused == {"closed": 1}


async def test_what_was_accepted_before_closing_is_still_waited_for() -> None:
    setup = Setup()
    setup.take(delta())
    setup.ingest.close()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(setup.ingest.until_recorded(1), name="recorded")
        await asyncio.sleep(0)
        setup.record()


async def test_when_recording_fails_nobody_waits_for_ever() -> None:
    setup = Setup(room=1)
    setup.take(delta())
    told = Called()
    setup.ingest.wait_for_capacity(told)
    room = asyncio.create_task(setup.ingest.until_capacity(), name="room")
    recorded = asyncio.create_task(setup.ingest.until_recorded(1), name="recorded")
    await asyncio.sleep(0)
    setup.queue.fatal_error = "disk full"
    setup.ingest.on_progress()
    async with asyncio.timeout(5):
        await room
        with pytest.raises(OutcomeUnknown, match=r"not known whether this is recorded \(disk full\)"):
            await recorded
        with pytest.raises(OutcomeUnknown):
            await setup.ingest.until_recorded(1)
    assert told.times == 1
    assert isinstance(refused(setup, b"{}"), Unavailable)
