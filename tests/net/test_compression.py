"""permessage-deflate over the wire: for those who offer it, the same bytes for all, and no bomb goes off."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import orjson
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.protocol import State

from recorder.engine import fanout
from recorder.net.ws_protocol import EXTENSION
from recorder.wire.deflate import packed_frame
from tests.support.app import App, delta, running_app, some
from tests.support.wire import CONT, TEXT, frame

OFFER = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]
DEFLATED = 4  # the reserved bit that says so


def client(app: App, target: str = "/ws", **options: Any) -> connect:
    return connect(app.url.replace("http", "ws") + target, proxy=None, **options)


async def until(wire: ClientConnection, kind: str) -> list[dict[str, Any]]:
    events = [orjson.loads(await wire.recv())]
    while events[-1]["event"] != kind:
        events.append(orjson.loads(await wire.recv()))
    return events


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def test_history_states_and_live_deltas_come_compressed_to_who_offers_it(tmp_path: Path) -> None:
    async with running_app(tmp_path, compression="on") as app:
        await app.publish(*some(50, size=2000))
        for since in ("earliest", "state"):
            async with client(app, f"/ws?since={since}") as wire, app.connect(f"/ws?since={since}") as plain:
                assert wire.protocol.extensions
                assert await until(wire, "live") == await plain.until("live")
                await app.publish(*some(20, size=2000))
                last = [orjson.loads(await wire.recv()) for _ in range(20)]
                assert last == await plain.take(20)


async def test_each_frame_is_compressed_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bytes] = []
    monkeypatch.setattr(fanout, "packed_frame", lambda data: (calls.append(data), packed_frame(data))[1])
    async with (
        running_app(None, compression="on") as app,
        client(app) as one,
        client(app) as two,
        client(app, "/ws?session=s") as three,
    ):
        for wire in (one, two, three):
            await until(wire, "live")
        app.publish_nowait(*some(10, size=1000))
        for wire in (one, two, three):
            assert [orjson.loads(await wire.recv())["seq"] for _ in range(10)] == list(range(1, 11))
    assert len(calls) == 10


async def test_who_does_not_offer_it_or_wants_a_smaller_window_gets_everything_as_it_is() -> None:
    async with running_app(None, compression="on") as app:
        small = [ClientPerMessageDeflateFactory(server_max_window_bits=10)]
        async with client(app, extensions=small, compression=None) as wire, app.connect() as plain:
            await plain.until("live")
            await until(wire, "live")
            assert not any(socket.compresses for socket in app.gateway.connections._sockets)
            app.publish_nowait(*some(3, size=1000))
            assert [event["seq"] for event in await plain.take(3)] == [1, 2, 3]
            assert orjson.loads(await wire.recv())["seq"] == 1


async def test_it_is_off_unless_it_is_switched_on() -> None:
    async with running_app(None) as app, client(app) as wire:
        await until(wire, "live")
        assert wire.protocol.extensions == []


async def test_publishers_may_compress_what_they_send() -> None:
    async with running_app(None, compression="on") as app, client(app, "/publish") as wire:
        await wire.recv()
        await wire.send(orjson.dumps(some(100, size=1000)).decode())
        assert orjson.loads(await wire.recv())["count"] == 100


@pytest.mark.parametrize("fragments", [1, 50])
async def test_a_decompression_bomb_is_closed_with_memory_flat(fragments: int) -> None:
    bomb = deflated(b" " * (256 << 20))
    async with running_app(None, compression="on", max_message_bytes=100_000) as app:
        async with app.connect("/publish", OFFER) as wire:
            await wire.event()
            size = len(bomb) // fragments + 1
            pieces = [bomb[at : at + size] for at in range(0, len(bomb), size)]
            tracemalloc.start()
            try:
                for n, piece in enumerate(pieces):
                    opcode, fin = (TEXT, DEFLATED) if n == 0 else (CONT, 0), n == len(pieces) - 1
                    await wire.raw(frame(opcode[0], piece, fin=fin, rsv=opcode[1]))
                ending = await wire.ending()
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert (ending.code, peak < 3_000_000) == (1009, True)
        await app.until_gone()
        async with app.connect("/publish") as again:
            await again.event()
            await again.text(delta())
            assert (await again.event())["event"] == "ack"


@pytest.mark.parametrize("data", [b"\xff\xff\xff", deflated(b"{}")[:-1] + b"\x07", b"\x00" * 3000])
async def test_what_cannot_be_decompressed_is_closed_as_a_broken_rule(data: bytes) -> None:
    async with running_app(None, compression="on") as app, app.connect("/publish", OFFER) as wire:
        await wire.event()
        await wire.send(TEXT, data, rsv=DEFLATED)
        assert (await wire.ending()).code in (1002, 1007)


async def test_a_compressed_frame_that_was_not_agreed_on_breaks_the_rules() -> None:
    async with running_app(None, compression="on") as app, app.connect("/publish") as wire:
        await wire.event()
        await wire.send(TEXT, deflated(b"{}"), rsv=DEFLATED)
        assert (await wire.ending()).code == 1002


async def test_closing_is_as_ever() -> None:
    async with running_app(None, compression="on") as app:
        async with client(app) as wire:
            await until(wire, "live")
        assert wire.state is State.CLOSED
        assert wire.close_code == websockets.CloseCode.NORMAL_CLOSURE
        await app.until_gone()


def test_no_connection_keeps_a_window() -> None:
    assert EXTENSION.server_no_context_takeover
    assert EXTENSION.client_no_context_takeover
