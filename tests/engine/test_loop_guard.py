"""A recorder is used on the event loop on which it was opened; elsewhere everything is an error, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from recorder.app import Recorder, open_recorder
from recorder.core.errors import WrongEventLoop
from recorder.engine.loop_guard import LoopGuard, one_loop
from tests.support.app import delta, settings_for, some


async def elsewhere(call: Callable[[], Awaitable[Any]]) -> Any:
    """Await something on an event loop of its own, in a thread of its own."""

    async def run() -> Any:
        return await call()

    return await asyncio.to_thread(asyncio.run, run())


async def subscribe(recorder: Recorder) -> None:
    async with recorder.subscribe():
        pass


async def accept(recorder: Recorder) -> None:
    recorder.ingest.accept(orjson.dumps(delta()))


CALLS: dict[str, Callable[[Recorder], Awaitable[Any]]] = {
    "publish": lambda recorder: recorder.publish(orjson.dumps(delta())),
    "publish a long one": lambda recorder: recorder.publish(orjson.dumps(some(200, size=1000))),
    "accept": accept,
    "subscribe": subscribe,
    "snapshot": lambda recorder: recorder.maintenance.snapshot(),
    "read": lambda recorder: recorder.recording.hash_at(1),
    "erase": lambda recorder: recorder.eraser.erase("s"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_in_another_thread_is_refused_and_changes_nothing(name: str, tmp_path: Path) -> None:
    async with open_recorder(settings_for(tmp_path)) as recorder:
        with pytest.raises(WrongEventLoop, match=r"belongs to another thread.*run_coroutine_threadsafe"):
            await elsewhere(lambda: CALLS[name](recorder))
        assert recorder.hub.head == 0
        assert (await recorder.publish(orjson.dumps(delta()))).seq == 1


async def test_the_way_that_the_error_names_works(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with open_recorder(settings_for(tmp_path)) as recorder:

        def publish() -> int:
            publishing = recorder.publish(orjson.dumps(delta()))
            return asyncio.run_coroutine_threadsafe(publishing, loop).result(20).seq

        seqs = await asyncio.gather(*[asyncio.to_thread(publish) for _ in range(20)])
        assert sorted(seqs) == list(range(1, 21))


async def test_one_that_is_closed_elsewhere_stays_open_and_can_be_closed_where_it_belongs(
    tmp_path: Path,
) -> None:
    opened = open_recorder(settings_for(tmp_path))
    recorder = await opened.__aenter__()
    subscription = recorder.subscribe(since="earliest")
    events = await subscription.__aenter__()
    for context in (opened, subscription):
        with pytest.raises(WrongEventLoop):
            await elsewhere(lambda context=context: context.__aexit__(None, None, None))  # type: ignore[misc]
    assert recorder.not_ready() is None
    assert (await recorder.publish(orjson.dumps(delta()))).seq == 1
    assert [(await anext(events))["event"] for _ in range(2)] == ["live", "delta"]
    await subscription.__aexit__(None, None, None)
    await opened.__aexit__(None, None, None)
    assert recorder.not_ready() == "stopping"


def test_a_loop_that_came_after_is_another_one() -> None:
    async def make() -> LoopGuard:
        guard = LoopGuard("thing")
        guard.check()
        return guard

    async def check(guard: LoopGuard) -> None:
        guard.check_thread()
        guard.check()

    guard = asyncio.run(make())
    with pytest.raises(WrongEventLoop, match="this thing belongs to another event loop"):
        asyncio.run(check(guard))
    asyncio.run(check(LoopGuard("made before any loop")))


async def test_an_error_that_leaves_the_block_reaches_what_was_opened() -> None:
    seen: list[BaseException] = []

    @one_loop("thing")
    @asynccontextmanager
    async def thing() -> AsyncIterator[int]:
        try:
            yield 7
        except ZeroDivisionError as error:
            seen.append(error)

    async with thing() as number:
        assert number == 7
        raise ZeroDivisionError
    assert len(seen) == 1
