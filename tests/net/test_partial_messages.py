"""Messages that are begun and not ended: bounded over all connections, the largest first, at nobody else's cost."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from recorder.config.settings import load_settings
from recorder.core.errors import InvalidSetting, TooMany
from recorder.core.metrics import Metrics
from recorder.net.partial_messages import PartialMessages
from tests.support.app import App, delta, running_app, turn_until
from tests.support.http import bare, request
from tests.support.wire import CONT, TEXT, Wire, frame

KIB = 1024
FEW = {"max_message_bytes": 256 * KIB, "max_partial_message_bytes": 1024 * KIB}


def unfinished(app: App) -> PartialMessages:
    return app.gateway.upgrades.partial_messages


async def begin(app: App, wire: Wire, size: int, *, fragmented: bool) -> None:
    """The beginning of a message: a fragment that is not the last, or a frame that is not all there."""
    whole = frame(TEXT, b" " * (size if fragmented else 200 * KIB), fin=not fragmented)
    before = unfinished(app).total
    await wire.raw(whole if fragmented else whole[:size])
    # What a frame begins with is read and kept no longer.
    await turn_until(lambda: unfinished(app).total >= before + size - 14)


@pytest.mark.parametrize("fragmented", [True, False])
@pytest.mark.parametrize("target", ["/publish", "/ws"])
async def test_many_beginnings_come_to_no_more_than_the_limit(
    target: str, fragmented: bool, tmp_path: Path
) -> None:
    async with running_app(tmp_path, **FEW) as app, AsyncExitStack() as stack:
        hub = app.recorder.hub
        wires = [await stack.enter_async_context(app.connect(target)) for _ in range(13)]
        for number, wire in enumerate(wires[:10]):
            await begin(app, wire, (60 + number) * KIB, fragmented=fragmented)
        await begin(app, wires[10], 195 * KIB, fragmented=fragmented)
        assert app.gateway.metrics.rejected == {}
        sizes = 645 * KIB
        assert sizes + 194 * KIB < unfinished(app).total <= sizes + 195 * KIB
        # No room for it, and yet it is not the one that goes.
        await wires[11].raw(frame(TEXT, b" " * (189 * KIB), fin=False))
        await turn_until(lambda: "unfinished_bytes" in app.gateway.metrics.rejected)
        ended = await wires[10].ending()
        assert (ended.code, "MAX_PARTIAL_MESSAGE_BYTES" in ended.reason) == (4429, True)
        # Nor for this one, which is the largest itself by then.
        await wires[12].raw(frame(TEXT, b" " * (250 * KIB), fin=False))
        await turn_until(lambda: app.gateway.metrics.rejected["unfinished_bytes"] == 2)
        assert (await wires[12].ending()).code == 4429
        assert unfinished(app).total <= 1024 * KIB
        assert app.gateway.connections.publishers + hub.subscribers == 11
    assert unfinished(app).total == 0


async def test_what_is_whole_or_gone_counts_no_more(tmp_path: Path) -> None:
    async with running_app(tmp_path, **FEW) as app:
        async with app.connect("/publish") as wire:
            await wire.event()
            text = b'{"type":"updated","sessionId":"s","after":"' + b"x" * (100 * KIB) + b'"}'
            for cut in (1, 100, 70 * KIB):
                whole = frame(TEXT, text)
                await wire.raw(whole[:cut])
                await turn_until(lambda cut=cut: cut - 14 <= unfinished(app).total > 0)  # type: ignore[misc]
                await wire.raw(whole[cut:])
                assert (await wire.event())["event"] == "ack"
                assert unfinished(app).total == 0
            await wire.raw(frame(TEXT, text[:1000], fin=False) + frame(CONT, text[1000:2000], fin=False))
            await turn_until(lambda: unfinished(app).total == 2000)
            await wire.raw(frame(CONT, text[2000:]))
            assert (await wire.event())["event"] == "ack"
            assert unfinished(app).total == 0
            await wire.raw(frame(TEXT, text, fin=False))
            await turn_until(lambda: unfinished(app).total)
        await turn_until(lambda: unfinished(app).total == 0)
        assert app.gateway.metrics.rejected == {}


async def test_a_publisher_that_gives_way_is_answered_for_what_was_whole_and_nothing_more_is_kept(
    tmp_path: Path,
) -> None:
    async with running_app(tmp_path, **FEW) as app, AsyncExitStack() as stack:
        out = await stack.enter_async_context(app.connect("/publish"))
        await out.event()
        await out.text(delta())
        await out.raw(frame(TEXT, b" " * (200 * KIB), fin=False))
        await turn_until(lambda: unfinished(app).total == 200 * KIB)
        for _ in range(8):
            wire = await stack.enter_async_context(app.connect("/publish"))
            await wire.raw(frame(TEXT, b" " * (110 * KIB), fin=False))
        await turn_until(lambda: "unfinished_bytes" in app.gateway.metrics.rejected)
        # It sends on and on, and all of it is thrown away.
        for _ in range(5):
            await out.raw(frame(CONT, b" " * (100 * KIB), fin=False))
        ended = await out.ending()
        assert [event["event"] for event in ended.events] == ["ack"]
        assert ended.code == 4429
        await turn_until(lambda: unfinished(app).total == 8 * 110 * KIB)


async def test_bodies_and_heads_of_http_count_too(tmp_path: Path) -> None:
    async with running_app(tmp_path, **FEW) as app, AsyncExitStack() as stack:
        head = request(
            app, "POST /api/deltas", [("content-type", "application/json"), ("content-length", "250000")]
        )
        for _ in range(5):
            connection = await stack.enter_async_context(bare(app))
            await connection.send(head + b" " * (150 * KIB))
        await turn_until(lambda: unfinished(app).total == 5 * 150 * KIB)
        long_head = await stack.enter_async_context(bare(app))
        await long_head.send(request(app, "GET /healthz", [("x-long", "x" * (100 * KIB))])[:-4])
        await turn_until(lambda: unfinished(app).total > 840 * KIB)
        largest = await stack.enter_async_context(bare(app))
        await largest.send(head + b" " * (200 * KIB))
        await turn_until(lambda: "unfinished_bytes" in app.gateway.metrics.rejected)
        await largest.send(b" ")
        status, _ = await largest.head()
        assert status == 429
        await long_head.send(b"\r\n\r\n")
        assert (await long_head.head())[0] == 200
        await turn_until(lambda: unfinished(app).total == 5 * 150 * KIB)
        async with httpx.AsyncClient(base_url=app.url, trust_env=False) as http:
            assert (await http.post("/api/deltas", json=delta())).status_code == 201
            assert f"recorder_partial_message_bytes {5 * 150 * KIB}" in (await http.get("/metrics")).text
    assert unfinished(app).total == 0


async def test_a_body_that_waits_for_room_still_counts_and_gives_way(tmp_path: Path) -> None:
    async with (
        running_app(tmp_path, **FEW) as app,
        httpx.AsyncClient(base_url=app.url, trust_env=False) as http,
    ):
        ingest = app.recorder.ingest
        gate = asyncio.Event()
        rooms = iter([False, True])  # the second one is behind the body

        async def room() -> None:
            if next(rooms):
                await gate.wait()

        ingest.until_capacity = room  # type: ignore[method-assign]
        body = b'{"type":"updated","sessionId":"s","after":"' + b"x" * (100 * KIB) + b'"}'
        sending = asyncio.create_task(http.post("/api/deltas", content=body), name="sending")
        await turn_until(lambda: unfinished(app).total == len(body))
        (holder,) = unfinished(app)._held
        holder.give_up(TooMany("no room"))
        gate.set()
        assert (await sending).status_code == 429
        assert (app.head, unfinished(app).total) == (0, 0)


def test_the_largest_go_until_the_rest_has_room() -> None:
    class Holder:
        gone = False

        def give_up(self, error: TooMany) -> None:
            self.gone = True

    held, metrics = [Holder() for _ in range(5)], Metrics()
    account = PartialMessages(100, metrics)
    for holder, size in zip(held, (20, 30, 40, 5, 5), strict=True):
        account.hold(holder, size)
    assert account.total == 100
    account.hold(held[3], 60)
    assert [holder.gone for holder in held] == [False, False, False, True, False]
    account.hold(held[4], 10)
    assert (account.total, metrics.rejected) == (100, {"unfinished_bytes": 1})
    account.hold(held[0], 0)
    account.hold(held[0], 0)
    assert account.total == 80


def test_a_limit_below_one_message_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="MAX_PARTIAL_MESSAGE_BYTES"):
        load_settings(max_message_bytes=200_000, max_partial_message_bytes=100_000)


def traced() -> int:
    """Bytes that Python holds."""
    return tracemalloc.get_traced_memory()[0]


@contextmanager
def without_collector() -> Iterator[None]:
    """What nobody holds any more goes at once, or stays; traced."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("compression", [False, True])
async def test_a_connection_holds_nothing_of_the_last_message_that_it_has_read(compression: bool) -> None:
    """The parser would hold its last frame as long as it waits for the next: a thousand idle ones, as many messages."""
    with without_collector():
        async with running_app(None, compression=compression) as app, AsyncExitStack() as stack:
            offer = [("sec-websocket-extensions", "permessage-deflate")] if compression else []
            before = traced()
            for size in (70 * KIB, 1024 * KIB, 1024 * KIB, 1024 * KIB):
                wire = await stack.enter_async_context(app.connect("/publish", offer))
                await wire.event()
                await wire.raw(frame(TEXT, b" " * size))
                assert (await wire.event())["code"] == "invalid_json"
                await wire.raw(frame(TEXT, b" " * size, fin=False) + frame(CONT))
                assert (await wire.event())["code"] == "invalid_json"
            # The thread that looked into a message lets go of it just after the answer.
            await turn_until(lambda: traced() - before < 700 * KIB)


async def test_a_request_holds_nothing_of_a_body_that_was_refused() -> None:
    with without_collector():
        async with running_app(None) as app, httpx.AsyncClient(base_url=app.url, trust_env=False) as http:
            body = b" " * (1024 * KIB)
            before = traced()
            for _ in range(3):
                assert (await http.post("/api/deltas", content=body)).status_code == 400
            await turn_until(lambda: traced() - before < 700 * KIB)


async def test_a_connection_that_is_gone_leaves_nothing_of_what_it_had_begun() -> None:
    with without_collector():
        async with running_app(None) as app:
            before = traced()
            for whole in (True, False):
                async with AsyncExitStack() as stack:
                    for _ in range(3):
                        wire = await stack.enter_async_context(app.connect("/publish"))
                        sent = frame(TEXT, b" " * (1024 * KIB), fin=False)
                        already = unfinished(app).total
                        await wire.raw(sent if whole else sent[:-1])
                        await turn_until(lambda already=already: unfinished(app).total > already + 1000 * KIB)  # type: ignore[misc]
                        del sent
                    assert traced() - before > 3_000 * KIB
                await app.until_gone()
                assert traced() - before < 700 * KIB
