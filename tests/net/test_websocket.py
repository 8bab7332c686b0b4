"""One connection: messages, pings and every way it can end, with any bytes from the other side."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from recorder.core.clock import FakeClock
from recorder.net.ws_protocol import MAX_REASON_BYTES
from tests.support.app import delta, running_app
from tests.support.wire import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Wire,
    close_payload,
    frame,
)

PING_MESSAGE = b'{"op":"ping"}'


async def hello(wire: Wire) -> None:
    assert (await wire.event())["event"] == "hello"


# Messages


async def test_a_message_in_fragments_with_control_frames_between_is_one_message() -> None:
    async with running_app(None) as app, app.connect("/publish") as wire:
        await hello(wire)
        text = '{"type":"created","sessionId":"ä€𝄞","after":"ü"}'.encode()
        await wire.send(TEXT, b"", fin=False)
        for at in range(len(text)):  # every code point of more than a byte is split
            await wire.send(CONT, text[at : at + 1], fin=False)
            if at % 7 == 0:
                await wire.send(PING, bytes([at]))
                assert await wire.frame() == (PONG, True, bytes([at]))
        await wire.send(CONT, b"")
        assert (await wire.event())["count"] == 1


async def test_messages_that_arrive_byte_by_byte_are_the_same_messages() -> None:
    async with running_app(None) as app, app.connect() as wire:
        await hello(wire)
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame(TEXT, PING_MESSAGE) + frame(PING, b"x" * 125) + frame(TEXT, PING_MESSAGE):
            await wire.raw(bytes([byte]))
        assert (await wire.event())["event"] == "live"
        # Nothing is promised about the order of a pong and what else there is to say.
        got = sorted([(await wire.frame()).payload for _ in range(3)])
        assert got == sorted([b'{"event":"pong"}', b'{"event":"pong"}', b"x" * 125])


async def test_a_ping_is_answered_with_its_payload_and_a_pong_nobody_asked_for_is_ignored() -> None:
    async with running_app(None) as app, app.connect("/publish") as wire:
        await hello(wire)
        await wire.send(PONG, b"unasked")
        for payload in (b"", b"\x00\xff", b"p" * 125):
            await wire.send(PING, payload)
            assert await wire.frame() == (PONG, True, payload)


async def test_pings_behind_one_another_get_their_pongs_in_order() -> None:
    async with running_app(None) as app, app.connect("/publish") as wire:
        await hello(wire)
        await wire.raw(b"".join([frame(PING, str(n).encode()) for n in range(300)]))
        assert [(await wire.frame()).payload for _ in range(300)] == [str(n).encode() for n in range(300)]


async def test_a_pong_does_not_wait_for_what_came_along_with_its_ping() -> None:
    async with running_app(None) as app, app.connect("/publish") as wire:
        await hello(wire)
        await wire.raw(frame(TEXT, b"{", fin=False) + frame(PING, b"first") + frame(CONT, b"}"))
        assert await wire.frame() == (PONG, True, b"first")
        assert (await wire.event())["event"] == "error"


# What breaks the rules


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, '"ä'.encode()[:-1]), 1007),
        (frame(TEXT, b"\xc3", fin=False) + frame(CONT, b"\x28"), 1007),
        (frame(TEXT, b"\xed\xa0\x80"), 1007),  # a surrogate
        (frame(BINARY, b"{}"), 1003),
        (frame(BINARY, b"{", fin=False), 1003),
        (frame(TEXT, b"x" * 2001), 1009),
        (frame(TEXT, b"x" * 1500, fin=False) + frame(CONT, b"x" * 501), 1009),
        (frame(TEXT, b"{}", masked=False), 1002),
        (frame(TEXT, b"{}", rsv=1), 1002),
        (frame(TEXT, b"{}", rsv=4), 1002),
        (frame(3, b""), 1002),
        (frame(7, b""), 1002),
        (frame(11, b""), 1002),
        (frame(CONT, b"{}"), 1002),
        (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
        (frame(PING, b"", fin=False), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(CLOSE, b"x"), 1002),
        (frame(CLOSE, close_payload(999)), 1002),
        (frame(CLOSE, close_payload(1005)), 1002),
        (frame(CLOSE, close_payload(1006)), 1002),
        (frame(CLOSE, close_payload(1015)), 1002),
        (frame(CLOSE, close_payload(2999)), 1002),
        (frame(CLOSE, close_payload(5000)), 1002),
        (frame(CLOSE, close_payload(1000) + b"\xff"), 1007),
        # No broken rule: a close frame may stand between fragments.
        (frame(TEXT, b"{", fin=False) + frame(CLOSE, close_payload(1000)), 1000),
    ],
)
@pytest.mark.parametrize("target", ["/publish", "/ws"])
async def test_what_breaks_the_rules_is_closed_with_its_code(data: bytes, code: int, target: str) -> None:
    async with running_app(None, max_message_bytes=2000) as app:
        async with app.connect(target) as wire:
            if target == "/ws" and code == 1009:
                data = frame(TEXT, b"x" * (1 << 20), fin=False) + frame(CONT, b"x")
            await wire.raw(data)
            ending = await wire.ending()
            assert (ending.code, ending.events[0]["event"]) == (code, "hello")
        await app.until_gone()


@pytest.mark.parametrize(
    ("broken", "code"),
    [(frame(BINARY, b"x"), 1003), (frame(TEXT, b"\xff"), 1007), (frame(TEXT, b"{}", masked=False), 1002)],
)
async def test_what_came_before_a_broken_frame_is_answered_and_what_came_after_is_not_taken(
    tmp_path: Path, broken: bytes, code: int
) -> None:
    async with running_app(tmp_path) as app, app.connect("/publish") as wire:
        good = b"".join(
            [frame(TEXT, f'{{"type":"created","sessionId":"s{n}","after":1}}'.encode()) for n in range(200)]
        )
        await wire.raw(good + broken + good)
        ending = await wire.ending()
        assert [event.get("seq") for event in ending.events[1:]] == list(range(1, 201))
        assert (ending.code, app.head) == (code, 200)


async def test_who_is_still_sending_what_is_too_big_can_read_that_it_was() -> None:
    """Closing a socket with bytes unread resets the connection, and the close code would be lost with it."""
    async with running_app(None, max_message_bytes=1000) as app, app.connect("/publish") as wire:
        await hello(wire)
        await wire.raw(frame(TEXT, b"x" * 3_000_000)[:2_000_000])
        got = await wire.frame()
        assert (got.opcode, got.payload[:2]) == (CLOSE, close_payload(1009))
        await wire.raw(b"x" * 1_000_000)
        with pytest.raises(EOFError):
            await wire.frame()


# Closing


@pytest.mark.parametrize("target", ["/ws", "/publish"])
@pytest.mark.parametrize(
    "payload", [b"", close_payload(1000), close_payload(4999, "gründlich"), close_payload(1001, "r" * 123)]
)
async def test_a_close_frame_is_echoed_and_then_the_server_ends_the_connection(
    payload: bytes, target: str
) -> None:
    async with running_app(None) as app, app.connect(target) as wire:
        await wire.send(CLOSE, payload)
        got = await wire.frame()
        while got.opcode == TEXT:
            got = await wire.frame()
        assert got == (CLOSE, True, payload)
        with pytest.raises(EOFError):
            await wire.frame()
        await app.until_gone()


async def test_what_comes_after_a_close_frame_is_not_taken() -> None:
    async with running_app(None) as app, app.connect("/publish") as wire:
        await hello(wire)
        late = frame(TEXT, b'{"type":"created","sessionId":"s","after":1}') + frame(PING, b"late")
        await wire.raw(frame(CLOSE, close_payload(1000)) + late)
        ending = await wire.ending()
        assert (ending.code, ending.events, app.head) == (1000, [], 0)


async def test_closing_first_the_server_waits_for_the_answer_and_takes_nothing_meanwhile() -> None:
    async with running_app(None) as app, app.connect("/publish") as wire:
        await hello(wire)
        (connection,) = app.gateway.connections._sockets
        connection.close(1012, "ö" * 200)
        connection.close(1000, "twice")
        connection.write(b"nothing follows a close frame")
        got = await wire.frame()
        assert got.payload[:2] == close_payload(1012)
        assert got.payload[2:].decode() == "ö" * (MAX_REASON_BYTES // 2)
        for n in range(50):
            await wire.raw(
                frame(TEXT, b'{"type":"created","sessionId":"s","after":1}') * 200 + frame(PING, bytes([n]))
            )
        assert len(connection._inbox) == 0
        await wire.send(CLOSE, got.payload)
        with pytest.raises(EOFError):
            await wire.frame()
        assert app.head == 0
        await app.until_gone()


async def test_who_never_answers_a_close_frame_is_cut_at_the_deadline() -> None:
    clock = FakeClock()
    async with running_app(None, clock=clock) as app, app.connect() as wire:
        await wire.until("live")
        (connection,) = app.gateway.connections._sockets
        connection.close(1012)
        assert (await wire.frame()).payload == close_payload(1012)
        clock.advance(9.9)
        app.sweep()
        assert app.gateway.connections._sockets
        clock.advance(0.2)
        app.sweep()
        with pytest.raises((EOFError, ConnectionResetError)):
            await wire.frame()
        await app.until_gone()


@pytest.mark.parametrize("target", ["/ws?since=earliest", "/publish"])
async def test_who_goes_without_a_word_is_forgotten(tmp_path: Path, target: str) -> None:
    async with running_app(tmp_path) as app:
        half = frame(TEXT, PING_MESSAGE)[:9]
        for leave, begin in (
            (Wire.half_close, b""),
            (Wire.half_close, half),
            (Wire.reset, b""),
            (Wire.reset, half),
        ):
            async with app.connect(target) as wire:
                await hello(wire)
                await wire.raw(begin)
                leave(wire)
                await app.until_gone()
            assert app.recorder.hub.fanout.receivers == 0
            assert app.server.server_state.connections == set()


async def test_a_connection_lost_between_its_goodbye_and_its_answers_harms_nobody(tmp_path: Path) -> None:
    """Its answers become true when it is gone: writing them to a closed transport would end the recording."""
    async with running_app(tmp_path) as app, app.connect("/publish") as other:
        await hello(other)
        for _ in range(20):
            async with app.connect("/publish") as wire:
                await hello(wire)
                await wire.raw(
                    frame(TEXT, b'{"type":"created","sessionId":"s","after":1}') * 50
                    + frame(CLOSE, close_payload(1000))
                )
                wire.reset()
        await other.text(delta())
        assert (await other.event())["event"] == "ack"
        assert app.recorder.recording.fatal_error is None


async def test_who_half_closes_after_its_goodbye_still_gets_its_answers(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, app.connect("/publish") as wire:
        await wire.raw(
            b"".join([frame(TEXT, b'{"type":"created","sessionId":"s","after":1}')] * 300)
            + frame(CLOSE, close_payload(1000))
        )
        wire.half_close()
        ending = await wire.ending()
        assert (ending.code, len(ending.events)) == (1000, 301)
        await app.until_gone()


async def test_a_mistake_in_handling_a_message_ends_its_connection_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_app(None) as app, app.connect("/publish") as wire, app.connect("/publish") as other:
        await hello(wire)
        await hello(other)

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(app.recorder.ingest, "accept_each", fail)
            await wire.text(delta())
            assert (await wire.ending()).code == 1011
        await other.text(delta())
        assert (await other.event())["event"] == "ack"


# Who is not there any more


async def test_a_half_open_connection_is_found_by_a_ping(tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        running_app(None, clock=clock, ping_interval=2000, ping_timeout=3000) as app,
        app.connect() as wire,
    ):
        await wire.until("live")
        sweep = app.sweep
        clock.advance(2)
        sweep()
        assert await wire.frame() == (PING, True, b"")
        clock.advance(2.9)
        sweep()
        assert app.recorder.hub.subscribers == 1
        clock.advance(0.1)
        sweep()
        got = await wire.frame()
        assert (got.opcode, got.payload) == (CLOSE, close_payload(1001, "no answer to a ping"))
        assert app.recorder.hub.subscribers == 0
        clock.advance(10)
        sweep()
        await app.until_gone()


@pytest.mark.parametrize("answer", [frame(PONG), frame(TEXT, PING_MESSAGE)], ids=["a pong", "a message"])
async def test_who_answers_a_ping_or_says_anything_else_stays(answer: bytes) -> None:
    clock = FakeClock()
    async with (
        running_app(None, clock=clock, ping_interval=2000, ping_timeout=3000) as app,
        app.connect() as wire,
    ):
        await wire.until("live")
        for _ in range(5):
            clock.advance(2.5)
            app.sweep()
            assert (await wire.frame()).opcode == PING
            await wire.raw(answer)
            await wire.text({"op": "ping"})
            for _ in range(2 if answer[0] == 0x81 else 1):
                assert (await wire.event())["event"] == "pong"
        assert app.recorder.hub.subscribers == 1


async def test_a_publisher_that_we_do_not_read_from_is_not_blamed_for_its_pongs(tmp_path: Path) -> None:
    clock = FakeClock()
    running = running_app(tmp_path, clock=clock, ping_interval=2000, ping_timeout=3000)
    async with running as app, app.connect("/publish") as wire:
        await hello(wire)
        clock.advance(2)
        app.sweep()
        (connection,) = app.gateway.connections._sockets
        connection.pause_reading()
        for _ in range(10):
            clock.advance(2)
            app.sweep()
        connection.resume_reading()
        await wire.text(delta())
        assert (await wire.event())["event"] == "ack"
