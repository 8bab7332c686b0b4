"""The recorder without a server: opened, used, closed, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from recorder.app import open_recorder, prepare_recorder
from recorder.core.errors import Closed, InvalidDelta, NotRecording, StoreLocked
from recorder.core.metrics import Metrics
from tests.support.app import delta, running_app, settings_for, some, turn
from tests.support.leaks import held, until_released
from tests.support.wire import PATIENCE, connect


def gauge(metrics: Metrics, name: str) -> float:
    (line,) = [line for line in metrics.render().decode().splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def test_it_publishes_subscribes_and_is_there_again_after_a_clean_stop(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    async with open_recorder(settings) as recorder:
        epoch = recorder.hub.epoch
        accepted = await recorder.publish(orjson.dumps(some(5)))
        assert (accepted.first_seq, accepted.seq, accepted.count, accepted.epoch) == (1, 5, 5, epoch)
        lines = b"\n".join(map(orjson.dumps, some(2)))
        assert (await recorder.publish(lines, lines=True)).seq == 7
    async with open_recorder(settings) as recorder:
        assert (recorder.hub.epoch, recorder.hub.head) == (epoch, 7)
        async with recorder.subscribe(since=f"{epoch}:5") as events:
            assert [(await anext(events)).get("seq") for _ in range(3)] == [6, 7, 7]
            assert (await recorder.publish(orjson.dumps(delta()))).seq == 8
            assert (await anext(events))["seq"] == 8


async def test_with_recording_off_there_is_no_trace_on_disk(tmp_path: Path) -> None:
    async with running_app(None, db_path=tmp_path / "data" / "sessions.sqlite") as app:
        async with app.connect("/publish") as out, app.connect() as wire:
            await wire.until("live")
            await out.texts(some(200))
            assert await wire.deltas(200) == list(range(1, 201))
            assert [event["seq"] for event in (await out.take(201))[1:]] == list(range(1, 201))
        for what in ("recording", "maintenance", "eraser"):
            with pytest.raises(NotRecording):
                getattr(app.recorder, what)
    assert os.listdir(tmp_path) == []


async def test_with_recording_off_memory_stays_bounded(tmp_path: Path) -> None:
    async with running_app(None) as app:
        tail = app.recorder.hub.tail
        tail._max_bytes = 100_000
        for _ in range(20):
            app.publish_nowait(*some(50, size=1000))
        assert tail._bytes <= 100_000


async def test_what_is_refused_is_refused_whole(tmp_path: Path) -> None:
    async with open_recorder(settings_for(tmp_path)) as recorder:
        with pytest.raises(InvalidDelta) as refused:
            await recorder.publish(orjson.dumps([*some(3), {"type": "updated", "sessionId": "s"}]))
        assert refused.value.index == 3
        assert recorder.hub.head == 0


async def test_before_it_is_loaded_and_after_it_is_closed_it_says_so(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    async with prepare_recorder(settings) as loading:
        assert loading.not_ready() == "loading"
        assert gauge(loading.metrics, "recorder_ready") == 0
        recorder = await loading.load()
        assert recorder.not_ready() is None
        assert gauge(loading.metrics, "recorder_ready") == 1
    assert recorder.not_ready() == "stopping"
    with pytest.raises(Closed):
        await recorder.publish(orjson.dumps(delta()))


async def test_one_that_is_closed_before_it_was_loaded_leaves_the_file_alone(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    async with open_recorder(settings) as recorder:
        await recorder.publish(orjson.dumps(some(3)))
        epoch = recorder.hub.epoch
    before = settings.db_path.read_bytes()
    async with prepare_recorder(settings):
        pass
    assert settings.db_path.read_bytes() == before
    async with open_recorder(settings) as recorder:
        assert recorder.hub.epoch == epoch


async def test_two_in_one_process_share_no_file_and_no_figures(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    async with open_recorder(settings_for(one)) as first, open_recorder(settings_for(two)) as second:
        await first.publish(orjson.dumps(some(3)))
        assert (first.metrics.accepted, second.metrics.accepted, second.hub.head) == (3, 0, 0)
        with pytest.raises(StoreLocked):
            async with open_recorder(settings_for(one)):
                pass


async def test_an_error_in_the_block_closes_everything_and_comes_out(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)

    async def fail() -> None:
        async with open_recorder(settings) as recorder:
            await recorder.publish(orjson.dumps(some(3)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with open_recorder(settings) as recorder:
        assert recorder.hub.head == 3


@pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc, which is not here"
)
async def test_fifty_recorders_opened_and_closed_leave_no_task_no_thread_and_no_file(tmp_path: Path) -> None:
    async def one() -> None:
        opened = open_recorder(settings_for(tmp_path))
        async with opened as recorder, recorder.subscribe(since="earliest") as events:
            await recorder.publish(orjson.dumps(delta()))
            await anext(events)

    await one()
    before, tasks = held(), asyncio.all_tasks()
    for _ in range(50):
        await one()
    await turn()
    assert asyncio.all_tasks() == tasks
    await until_released(before)


@pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc, which is not here"
)
async def test_two_hundred_connections_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*some(500))

        async def one(number: int) -> None:
            target = ("/ws?since=earliest", "/ws", "/publish", "/ws?session=s&since=state")[number % 4]
            async with connect(app.url, target) as wire:
                await wire.event()
                if target == "/publish":
                    await wire.texts(some(3))
                leave = number // 4 % 3
                if leave == 0:
                    await wire.close()
                elif leave == 1:
                    wire.reset()

        await one(0)
        await app.until_gone()
        before, tasks = held(), asyncio.all_tasks()
        for start in range(0, 200, 20):
            await asyncio.gather(*(one(start + number) for number in range(20)))
        await app.until_gone()
        await app.recorder.recording.flush()
        await turn()
        assert asyncio.all_tasks() == tasks
        await until_released(before)
        assert app.recorder.hub.fanout.receivers == 0
        assert app.server.server_state.connections == set()


@pytest.mark.parametrize("durability", ["snapshot", "commit"])
async def test_an_observer_that_raises_ends_neither_recording_nor_anything_else(
    tmp_path: Path, durability: str
) -> None:
    """One exception in a callback that is told of progress once ended recording for good."""
    async with running_app(tmp_path, durability=durability) as app, app.connect("/publish") as out:
        await out.until("hello")
        app.recorder.recording.on_progress(lambda: 1 // 0)
        told: list[int] = []
        app.recorder.recording.on_progress(lambda: told.append(1))
        for seq in (1, 2):
            await out.text(delta())
            assert (await out.event())["seq"] == seq
        await app.recorder.maintenance.snapshot()
        assert app.recorder.recording.fatal_error is None
        assert app.recorder.recording.durable == 2
        assert app.recorder.not_ready() is None
        assert len(told) >= 2
        assert app.gateway.metrics.callback_errors["progress"] == len(told)
    async with running_app(tmp_path, durability=durability) as app:
        assert app.head == 2


EMBEDDED = """
import asyncio, importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("websockets", "uvicorn", "starlette", "httptools"):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Blocked())
import recorder

async def main():
    settings = recorder.load_settings(persist="1", db_path=sys.argv[1])
    async with recorder.open_recorder(settings) as opened, opened.subscribe(since="earliest") as events:
        assert (await opened.publish(b'{"type":"created","sessionId":"s","after":{}}')).seq == 1
        print((await anext(events))["seq"])

asyncio.run(main())
print([name for name in sys.modules if name.startswith(("recorder.net", "recorder.server", "recorder.api"))])
"""


def test_an_embedded_recorder_works_where_no_server_is_installed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDED, str(tmp_path / "sessions.sqlite")],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout.split("\n")) == (0, ["1", "[]", ""]), done.stderr
