"""Work that is done again and again: whatever it raises, it is done the next time, too."""

from __future__ import annotations

import asyncio

import pytest

from recorder.engine.periodic import SWEEP_SECONDS, periodically, sweep_pause
from tests.support.app import turn_until


async def test_a_call_that_raises_does_not_end_the_next_ones() -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise ZeroDivisionError("by accident")

    async with periodically("test", call, 0) as task:
        await turn_until(lambda: len(calls) > 3)
        assert not task.done()
    assert task.cancelled()
    assert task not in asyncio.all_tasks()


@pytest.mark.parametrize(("shortest", "pause"), [(60, SWEEP_SECONDS), (0.4, 0.1), (0, 0.005)])
def test_looks_come_often_enough_for_the_shortest_time_and_not_without_end(
    shortest: float, pause: float
) -> None:
    assert sweep_pause(shortest) == pytest.approx(pause)
