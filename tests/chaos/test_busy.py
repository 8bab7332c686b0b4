"""Delivery while everything else goes on: snapshots, pruning, exports, resumes from the beginning.

Proved by order and by nobody being closed, not by a clock: how fast it is, is for the benchmark to say.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.support.app import App, running_app, some, turn, turn_until
from tests.support.wire import Wire


@asynccontextmanager
async def file_held_up(app: App) -> AsyncIterator[None]:
    """Within the block the disk does not answer: the thread that writes the file stands still."""
    go_on, holds = threading.Event(), threading.Event()

    def hold(conn: object) -> None:
        holds.set()
        go_on.wait()

    holding = asyncio.create_task(app.recorder.recording._file.run(hold), name="held-up")
    await turn_until(holds.is_set)
    try:
        yield
    finally:
        go_on.set()
        await holding


async def test_a_snapshot_that_hangs_holds_up_neither_recording_nor_delivery_nor_history(
    tmp_path: Path,
) -> None:
    """Rows flow while a snapshot runs."""
    async with running_app(tmp_path) as app, app.connect("/publish") as out, app.connect() as live:
        await out.event()
        await live.until("live")
        await app.publish(*some(1000))
        assert await live.deltas(1000) == list(range(1, 1001))
        async with file_held_up(app):
            snapshot = asyncio.create_task(app.recorder.maintenance.snapshot(), name="snapshot")
            for n in range(20):
                await out.texts(some(50))
                assert [event["seq"] for event in await out.take(50)][-1] == 1050 + 50 * n
                assert (await live.deltas(app.head))[-1] == app.head
            async with app.connect("/ws?since=earliest") as history:
                assert await history.deltas(2000) == list(range(1, 2001))
            assert not snapshot.done()
            assert app.recorder.recording.durable == 0
        await snapshot
        await app.recorder.maintenance.snapshot()
        assert app.recorder.recording.durable == 2000
        assert app.gateway.metrics.slow_closed == 0


async def test_deliveries_go_on_while_snapshots_prunes_exports_and_resumes_run(tmp_path: Path) -> None:
    """Nothing of it reaches those who watch."""
    total = 6000
    async with (
        running_app(tmp_path, snapshot_interval=20) as app,
        app.connect() as live,
        app.connect("/publish") as out,
    ):
        await out.event()
        await live.until("live")
        await app.publish(*some(2000))
        over = asyncio.Event()

        async def publish() -> None:
            while app.head < total:
                batch = some(100)
                await out.texts(batch)
                await out.take(len(batch))
            over.set()

        async def watch() -> list[int]:
            return await live.deltas(total)

        async def resume() -> int:
            times = 0
            while not over.is_set():
                async with app.connect("/ws?since=earliest") as wire:
                    await follow_to_live(wire)
                times += 1
            return times

        async def maintain() -> int:
            times = 0
            while not over.is_set():
                await app.recorder.maintenance.snapshot()
                await app.recorder.recording.prune(app.head - 1500, "test")
                await turn(3)
                times += 1
            return times

        async def export() -> int:
            times = 0
            async with httpx.AsyncClient(trust_env=False) as http:
                while not over.is_set():
                    text = (await http.get(f"{app.url}/api/export")).text
                    assert len(text.splitlines()) >= 1000
                    times += 1
            return times

        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch(), name="watch")
            others = [tasks.create_task(work(), name=work.__name__) for work in (resume, maintain, export)]
            tasks.create_task(publish(), name="publish")
        assert watching.result() == list(range(1, total + 1))
        assert all(task.result() > 0 for task in others)
        assert app.recorder.recording.oldest > 2000
        assert app.gateway.metrics.slow_closed == 0


async def follow_to_live(wire: Wire) -> None:
    """From the beginning to live, gapless, or from a reset on."""
    last = 0
    while True:
        event = await wire.event()
        if event["event"] == "reset":
            last = event["head"]
        elif event["event"] == "delta":
            assert last in (0, event["seq"] - 1)
            last = event["seq"]
        elif event["event"] == "live":
            assert last <= event["seq"]
            return
