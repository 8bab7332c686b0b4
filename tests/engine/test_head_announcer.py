"""The event `head`: signed, when it is due and says something new, after the deltas that it speaks of."""

from __future__ import annotations

from pathlib import Path

from loguru import logger

from recorder.core.clock import FakeClock
from recorder.core.errors import StoreError
from recorder.core.statements import Head, Signed
from recorder.engine.head_announcer import HeadAnnouncer
from recorder.verify.statements import holds
from recorder.wire.statements import signed_of
from tests.support.app import running_app, some, turn

HOUR = {"heartbeat_interval": 3_600_000, "ping_interval": 3_600_000}


async def test_subscribers_get_a_signed_head_when_something_has_been_recorded(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, head_interval=60_000, **HOUR) as app, app.connect() as wire:
        await wire.until("live")
        await app.publish(*some(3))
        clock.advance(59)
        app.sweep()
        await app.publish(*some(2))
        clock.advance(1)
        app.sweep()
        events = await wire.until("head")
        assert [event["event"] for event in events] == ["delta"] * 5 + ["head"]
        head = signed_of(Head, events[-1])
        assert holds(head)
        assert (head.payload.epoch, head.payload.seq, head.payload.count) == (app.epoch, 5, 5)
        assert head.payload.hash is not None
        assert head.payload.hash.hex() == events[-2]["hash"]


class Audience:
    """Counts what it is sent."""

    def __init__(self) -> None:
        self.head = 5
        self.frames: list[bytes] = []

    def send_all(self, frame: bytes) -> None:
        self.frames.append(frame)


async def test_a_head_is_sent_once_and_never_before_its_deltas() -> None:
    audience, heads = Audience(), iter([6, 6, 5, 5])

    async def signed_head() -> Signed[Head]:
        return Signed(Head("E", next(heads), 6, None, "T", 0), None)

    announcer = HeadAnnouncer(audience, signed_head, 1.0, 0.0)
    counts = []
    for now in (1.0, 2.0, 3.0, 4.0):
        announcer.sweep(now)
        announcer.sweep(now)
        await turn()
        counts.append(len(audience.frames))
    assert counts == [0, 0, 1, 1]
    await announcer.close()


async def test_a_store_that_fails_is_said_and_asked_again() -> None:
    audience, asked = Audience(), 0

    async def signed_head() -> Signed[Head]:
        nonlocal asked
        asked += 1
        raise StoreError("the disk is gone")

    announcer = HeadAnnouncer(audience, signed_head, 1.0, 0.0)
    lines: list[str] = []
    number = logger.add(lines.append, format="{message} {extra[error]}")
    logger.enable("recorder")
    try:
        for now in (1.0, 2.0):
            announcer.sweep(now)
            await turn()
    finally:
        logger.disable("recorder")
        logger.remove(number)
    assert lines == ["no head could be signed the disk is gone\n"] * 2
    assert (asked, audience.frames) == (2, [])
    await announcer.close()


async def test_without_a_key_or_a_recording_nothing_is_sent(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        clock = FakeClock()
        async with running_app(folder, clock=clock, key_file="none", **HOUR) as app, app.connect() as wire:
            await wire.until("live")
            clock.advance(61)
            app.sweep()
            await turn()
            await app.publish(*some(1))
            assert (await wire.event())["event"] == "delta"
