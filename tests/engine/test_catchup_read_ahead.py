"""Reading history ahead: by one slice and no more, within a bound, never past an erasure, and let go at the end."""

from __future__ import annotations

import asyncio

from recorder.engine.catchup import MAX_AHEAD
from recorder.wire.subscribe import Since, Subscription
from tests.support.catchup import Scene, check, filled


async def _ahead_by_a_slice() -> Scene:
    """A reader that takes nothing more after its first slice, with nine entries in history."""
    scene = Scene(recording=True, tail_bytes=0)
    for step in (*filled(9), ("subscribe", Subscription(since=Since("earliest"))), ("turn", 3)):
        await scene.do(*step)
    await scene.do("writable", False)
    await scene.do("serve", 2)
    await scene.do("turn", 4)
    assert scene.sink.told[0].events == [("delta", 1), ("delta", 2)]
    return scene


def test_the_next_slice_is_read_while_the_reader_takes_the_one_before_and_no_more_than_that() -> None:
    async def run() -> None:
        scene = await _ahead_by_a_slice()
        assert len(scene.world.store.asked) == 1
        await scene.do("serve", 3)
        await scene.do("turn", 4)
        assert scene.world.store.asked == []
        assert len(scene.sink.told[0].events) == 2
        await scene.do("writable", True)
        await scene.do("turn", 4)
        assert [event[1] for event in scene.sink.told[0].events] == [1, 2, 3, 4, 5]
        await scene.settle()
        check(scene.world, scene.sink.told[0], is_last=True)
        assert scene.world.ahead == 0
        scene.close()

    asyncio.run(run())


def test_only_so_many_slices_are_held_that_were_read_ahead() -> None:
    async def run() -> None:
        scene = Scene(recording=True, tail_bytes=0)
        scene.world.ahead = MAX_AHEAD
        for step in (*filled(9), ("subscribe", Subscription(since=Since("earliest"))), ("turn", 3)):
            await scene.do(*step)
        await scene.do("writable", False)
        await scene.do("serve", 2)
        await scene.do("turn", 4)
        assert scene.world.store.asked == []
        await scene.settle()
        check(scene.world, scene.sink.told[0], is_last=True)
        assert scene.world.ahead == MAX_AHEAD
        scene.close()

    asyncio.run(run())


def test_what_was_read_ahead_of_an_erasure_is_read_again() -> None:
    async def run() -> None:
        scene = await _ahead_by_a_slice()
        await scene.do("serve", 3)
        await scene.do("turn", 2)
        scene.feed.tell_erased("elsewhere", 4, 1, "1970-01-01T00:00:00.000Z")
        await scene.do("writable", True)
        await scene.do("turn", 4)
        assert [event[0] for event in scene.sink.told[0].events] == ["delta", "delta", "erased"]
        assert len(scene.world.store.asked) == 1
        await scene.do("serve", 1)
        await scene.do("turn", 4)
        assert scene.sink.told[0].events[3:] == [("delta", 3)]
        scene.close()

    asyncio.run(run())


def test_what_is_read_ahead_when_a_subscription_ends_is_let_go() -> None:
    async def run() -> None:
        scene = await _ahead_by_a_slice()
        ((future, _),) = scene.world.store.asked
        assert scene.world.ahead == 1
        scene.feed.stop()
        await scene.do("turn", 3)
        assert future.cancelled()
        assert scene.world.ahead == 0
        scene.close()

    asyncio.run(run())
