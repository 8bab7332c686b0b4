"""The seam between history and live: no gap and no duplicate, in whatever order everything happens.

`tests.support.catchup` does one thing when told; hypothesis tells it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from recorder.core.errors import Unavailable
from recorder.core.position import Position
from recorder.core.timestamps import format_ms
from recorder.wire.subscribe import Since, Subscription
from tests.support.catchup import EPOCH, KINDS, SESSIONS, Scene, check, filled


def some_of(values: Sequence[str]) -> st.SearchStrategy[frozenset[str] | None]:
    return st.none() | st.frozensets(st.sampled_from(values), min_size=1, max_size=2)


sinces = st.one_of(
    st.sampled_from([Since("latest"), Since("earliest"), Since("state")]),
    st.integers(0, 25).map(lambda seq: Since("seq", seq=seq)),
    st.integers(0, 25).map(lambda seq: Since("position", position=Position(EPOCH, seq))),
    st.just(Since("position", position=Position("OLD", 3))),
    st.integers(0, 12).map(lambda ms: Since("time", time=format_ms(ms))),
)
subscriptions = st.builds(Subscription, some_of(SESSIONS), some_of(KINDS), sinces)
deltas = st.tuples(st.sampled_from(SESSIONS), st.sampled_from(KINDS))
steps = st.one_of(
    st.tuples(st.just("pour"), st.lists(deltas, min_size=1, max_size=6)),
    st.tuples(st.just("tick")),
    st.tuples(st.just("commit"), st.integers(1, 5)),
    st.tuples(st.just("prune"), st.integers(1, 4)),
    st.tuples(st.just("serve"), st.integers(1, 3)),
    st.tuples(st.just("turn"), st.integers(1, 3)),
    st.tuples(st.just("writable"), st.booleans()),
    st.tuples(st.just("subscribe"), subscriptions),
)


def play(script: list[tuple[Any, ...]], *, recording: bool, tail_bytes: int) -> Scene:
    async def run() -> Scene:
        scene = Scene(recording=recording, tail_bytes=tail_bytes)
        for step in script:
            await scene.do(*step)
        await scene.settle()
        scene.close()
        return scene

    # Small enough that the tail is handed out in pieces, too.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recorder.engine.catchup.CHUNK_BYTES", 250)
        return asyncio.run(run())


@settings(max_examples=300)
@given(
    st.lists(deltas, min_size=6, max_size=20),
    st.integers(0, 20),
    st.integers(0, 10),
    subscriptions,
    st.lists(steps, min_size=5, max_size=40),
    st.sampled_from([0, 300, 1000, 100_000]),
    st.sampled_from([True, True, True, False]),
)
def test_no_gap_and_no_duplicate_whatever_happens_meanwhile(
    poured: list[tuple[str, str]],
    committed: int,
    pruned: int,
    first: Subscription,
    script: list[tuple[Any, ...]],
    tail_bytes: int,
    recording: bool,
) -> None:
    before = [("pour", poured), ("tick",), ("commit", committed), ("prune", pruned)]
    scene = play([*before, ("subscribe", first), *script], recording=recording, tail_bytes=tail_bytes)
    for told in scene.sink.told:
        check(scene.world, told, is_last=told is scene.sink.told[-1])


def test_from_a_time_to_come_the_first_delta_is_that_of_the_time() -> None:
    wanted = Subscription(since=Since("time", time=format_ms(4)))
    pours = [("pour", [("a", "created")])] * 4
    scene = play([*filled(6), ("subscribe", wanted), ("turn", 1), *pours], recording=True, tail_bytes=0)
    [told] = scene.sink.told
    check(scene.world, told, is_last=True)


def test_a_reader_overtaken_by_pruning_in_the_middle_of_history_is_told_so() -> None:
    scene = play(
        [
            *filled(10),
            ("subscribe", Subscription(since=Since("earliest"))),
            ("turn", 2),
            ("serve", 2),
            ("turn", 3),
            ("prune", 5),
        ],
        recording=True,
        tail_bytes=0,
    )
    events = scene.sink.told[0].events
    assert events[:2] == [("delta", 1), ("delta", 2)]
    assert (events[2][0], events[2][1]["reason"], events[2][1]["oldest"]) == ("reset", "pruned", 6)
    assert [event[0] for event in events[3:]] == ["state", "state", "state", "live"]


def test_what_is_published_and_not_yet_recorded_is_part_of_history() -> None:
    scene = play(
        [
            *filled(6, committed=3),
            ("subscribe", Subscription(since=Since("seq", seq=1))),
            ("turn", 5),
            ("serve", 1),
        ],
        recording=True,
        tail_bytes=0,
    )
    assert [event[1] for event in scene.sink.told[0].events[:-1]] == [2, 3, 4, 5, 6]


def test_without_a_recording_a_reader_who_falls_behind_the_tail_is_reset_again() -> None:
    scene = play(
        [
            *filled(3),
            ("subscribe", Subscription(since=Since("earliest"))),
            ("writable", False),
            ("turn", 3),
            *filled(8),
        ],
        recording=False,
        tail_bytes=300,
    )
    names = [event[0] for event in scene.sink.told[0].events]
    assert names.count("reset") == 2
    assert names[-1] == "live"


def test_a_history_that_cannot_be_read_ends_the_subscription_and_says_why() -> None:
    async def run() -> None:
        for error in (Unavailable("not now"), ZeroDivisionError()):
            scene = Scene(recording=True, tail_bytes=0)
            for step in (*filled(3), ("subscribe", Subscription(since=Since("earliest"))), ("turn", 3)):
                await scene.do(*step)
            ((future, _),) = scene.world.store.asked
            future.set_exception(error)
            (outcome,) = await asyncio.gather(*scene.world.tasks, return_exceptions=True)
            assert scene.sink.told[0].events == [("failed", "unavailable")]
            assert isinstance(outcome, ZeroDivisionError) == isinstance(error, ZeroDivisionError)
            scene.close()

    asyncio.run(run())


def test_what_to_resume_from_is_never_a_place_that_was_not_reached() -> None:
    async def run() -> list[str]:
        scene = Scene(recording=True, tail_bytes=0)
        seen = []
        for step in filled(9, pruned=2):
            await scene.do(*step)
        for since in (
            Since("seq", seq=4),
            Since("seq", seq=1),
            Since("time", time=format_ms(3)),
            Since("latest"),
        ):
            await scene.do("writable", False)
            await scene.do("subscribe", Subscription(since=since))
            seen.append(scene.feed.resume_from)
            await scene.do("turn", 4)
            seen.append(scene.feed.resume_from)
            await scene.do("writable", True)
            await scene.do("turn", 3)
            scene.world.store.serve(2)
            await scene.do("turn", 1)
            seen.append(scene.feed.resume_from)
        await scene.settle()
        scene.close()
        return [*seen, scene.feed.resume_from]

    assert asyncio.run(run()) == [
        *("4", "E:4", "E:6"),
        *("1", "state", "E:9"),
        *("1970-01-01T00:00:00.003Z", "E:5", "E:7"),
        *("E:9", "E:9", "E:9"),
        "E:9",
    ]
