"""What a subscriber is sent, byte for byte as the protocol says."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from recorder.core.chain import GENESIS
from recorder.core.clock import FakeClock
from recorder.core.errors import StoreError
from recorder.engine.state_listing import Listing
from tests.support.app import App, delta, running_app, some, turn_until
from tests.support.wire import TEXT, Wire

BEGIN = "2025-11-20T12:00:"  # the minute at which FakeClock starts


def tell(event: dict[str, Any]) -> str:
    """An event in short: `12`, `live 20`, `reset pruned 9-20`, `state a@17`."""
    match event:
        case {"event": "delta", "seq": seq}:
            return str(seq)
        case {"event": "live", "seq": seq}:
            return f"live {seq}"
        case {"event": "reset", "reason": reason, "oldest": oldest, "head": head}:
            return f"reset {reason} {oldest}-{head}"
        case {"event": "state", "seq": seq, "sessionId": session}:
            return f"state {session}@{seq}"
    return str(event)


async def told(wire: Wire, until: str = "live") -> list[str]:
    return [tell(event) for event in await wire.until(until) if event["event"] != "heartbeat"]


def hash_at(app: App, seq: int) -> str:
    """The chain's hash of an entry that the tail holds."""
    entry = app.recorder.hub.tail.at(seq)
    assert entry is not None
    assert entry.hash is not None
    return entry.hash.hex()


async def twenty(app: App, clock: FakeClock, *, pruned: int = 8) -> None:
    """Twenty deltas, one a second from :00 on, of sessions a, b, c in turn (c is deleted last); the first are pruned."""
    for n in range(20):
        kind = {"type": "deleted", "after": None} if n == 17 else {}
        await app.publish(delta("abc"[n % 3], n, **kind))
        clock.advance(1)
    await app.recorder.recording.snapshot()
    assert await app.recorder.recording.prune(pruned, "test") == pruned


async def test_hello_comes_first_and_says_what_a_crash_can_lose(tmp_path: Path) -> None:
    """The loss window is said on every connection."""
    async with running_app(tmp_path, snapshot_interval=1500) as app:
        await app.publish(delta(), delta())
        await app.recorder.recording.snapshot()
        await app.publish(delta())
        for target in ("/ws", "/publish"):
            async with app.connect(target) as wire:
                assert await wire.event() == {
                    "event": "hello",
                    "protocol": 1,
                    "epoch": app.epoch,
                    "head": 3,
                    "durable": 2,
                    "recording": True,
                    "durability": "snapshot",
                    "lossWindowMs": 1500,
                }


async def test_a_delta_arrives_as_it_was_sent_to_the_byte(tmp_path: Path) -> None:
    async with (
        running_app(tmp_path, clock=FakeClock()) as app,
        app.connect() as live,
        app.connect("/publish") as out,
    ):
        await live.until("live")
        await out.until("hello")
        big = "123456789012345678901234567890"
        await out.text(
            '{"type":"created","sessionId":"a\\"ä","after":{"n" : ' + big + ', "e":1E2 ,"u":"\\u00e4"},'
            '"timestamp":"2026-11-20T13:00:00.5+01:00","id":"i1"}'
        )
        frame = await live.frame()
        (entry,) = app.recorder.hub.tail.after(0)
        expected = (
            f'{{"event":"delta","seq":1,"recordedAt":"{BEGIN}00.000Z","hash":"{entry.hash.hex()}",'
            f'"idDigest":"{entry.id_digest.hex()}",'
            '"delta":{"type":"created","sessionId":"a\\"ä","after":{"n" : '
            + big
            + ', "e":1E2 ,"u":"\\u00e4"},'
            '"timestamp":"2026-11-20T12:00:00.500Z","id":"i1"}}'
        )
        assert (frame.opcode, frame.payload.decode()) == (TEXT, expected)
        assert (await out.event())["event"] == "ack"
        async with app.connect("/ws?since=earliest") as history:
            await history.event()
            assert await history.frame() == frame


async def test_without_the_chain_there_is_no_hash(tmp_path: Path) -> None:
    async with running_app(tmp_path, hash_chain="off") as app:
        await app.publish(delta())
        async with app.connect("/ws?since=0") as wire:
            event = (await wire.take(2))[1]
            assert sorted(event) == ["delta", "event", "recordedAt", "seq"]
            assert await wire.event() == {"event": "live", "seq": 1}


async def told_since(app: App, seq: int, link: str) -> list[str]:
    async with app.connect(f"/ws?since={app.at(seq)}:{link}") as wire:
        return (await told(wire))[1:]


async def test_a_position_with_its_hash_is_resumed_from_and_one_with_another_is_a_fork(
    tmp_path: Path,
) -> None:
    states = ["state a@19", "state b@20", "live 20"]
    async with running_app(tmp_path, clock=FakeClock()) as app:
        await twenty(app, app.recorder.clock, pruned=0)
        hashes = [GENESIS.hex(), *(hash_at(app, seq) for seq in range(1, 21))]
        assert await app.recorder.recording.prune(8, "test") == 8
        # In the tail, in the store, right behind what was pruned, before it, beyond the head.
        assert await told_since(app, 20, hashes[20].upper()) == ["live 20"]
        assert await told_since(app, 18, hashes[18]) == ["19", "20", "live 20"]
        assert await told_since(app, 18, hashes[17]) == ["reset fork 9-20", *states]
        assert await told_since(app, 7, hashes[7]) == ["reset pruned 9-20", *states]
        assert await told_since(app, 21, hashes[20]) == ["reset ahead 9-20", *states]
        app.recorder.hub.tail._max_bytes = 0
        app.recorder.hub.tail.recorded(20)
        for seq in (8, 9, 19):
            assert await told_since(app, seq, hashes[seq]) == [*map(str, range(seq + 1, 21)), "live 20"]
            assert await told_since(app, seq, "0" * 64) == ["reset fork 9-20", *states]
        assert app.gateway.metrics.resumes["reset_fork"] == 4


async def test_the_beginning_and_what_has_no_hash_are_told_from_a_fork_by_zeros(tmp_path: Path) -> None:
    zeros, other = GENESIS.hex(), "ab" * 32
    async with running_app(tmp_path) as app:
        await app.publish(delta())
        assert await told_since(app, 0, zeros) == ["1", "live 1"]
        assert await told_since(app, 0, other) == ["reset fork 1-1", "state s@1", "live 1"]
    async with running_app(tmp_path, hash_chain="off") as app:
        await app.publish(delta())
        assert (await told_since(app, 2, other))[0] == "reset fork 1-2"
        assert await told_since(app, 2, zeros) == ["live 2"]
    async with running_app(tmp_path) as app, app.connect() as wire:
        # The chain begins again after what has no hash: this is what the next link covers.
        assert (await wire.until("live"))[-1] == {"event": "live", "seq": 2, "hash": zeros}
        assert await told_since(app, 2, zeros) == ["live 2"]
        assert (await told_since(app, 1, other))[0] == "reset fork 1-2"


async def test_what_is_pruned_while_its_hash_is_looked_up_is_pruned(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(delta(), delta())
        app.recorder.hub.tail._max_bytes = 0
        app.recorder.hub.tail.recorded(2)

        async def gone(seq: int) -> None:
            return None

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(app.recorder.recording, "hash_at", gone)
            assert (await told_since(app, 1, "ab" * 32))[0] == "reset pruned 1-2"


CASES = {
    "": ["live 20"],
    "since=latest": ["live 20"],
    "since={epoch}:20": ["live 20"],
    "since={epoch}:17": ["18", "19", "20", "live 20"],
    "since=17": ["18", "19", "20", "live 20"],
    "since=earliest": [*map(str, range(9, 21)), "live 20"],
    "since={epoch}:8": [*map(str, range(9, 21)), "live 20"],
    "since=8": [*map(str, range(9, 21)), "live 20"],
    "since={epoch}:7": ["reset pruned 9-20", "state a@19", "state b@20", "live 20"],
    "since=7": ["reset pruned 9-20", "state a@19", "state b@20", "live 20"],
    "since=0": ["reset pruned 9-20", "state a@19", "state b@20", "live 20"],
    "since={epoch}:21": ["reset ahead 9-20", "state a@19", "state b@20", "live 20"],
    "since=21": ["reset ahead 9-20", "state a@19", "state b@20", "live 20"],
    "since=999999999999999999": ["reset ahead 9-20", "state a@19", "state b@20", "live 20"],
    "since=0000000000:20": ["reset epoch_changed 9-20", "state a@19", "state b@20", "live 20"],
    "since=state": ["state a@19", "state b@20", "live 20"],
    "since={begin}18.000Z": ["19", "20", "live 20"],
    "since={begin}18.001Z": ["20", "live 20"],
    "since={begin}20.000Z": ["live 20"],
    "since=2099-01-01T00:00:00Z": ["live 20"],
    # Entry 9 was recorded at :08, entry 8, which is gone, at :07.
    "since={begin}08.000Z": [*map(str, range(9, 21)), "live 20"],
    "since={begin}07.001Z": [*map(str, range(9, 21)), "live 20"],
    "since={begin}07.000Z": ["reset pruned 9-20", "state a@19", "state b@20", "live 20"],
    "since=1999-01-01T00:00:00%2B01:00": ["reset pruned 9-20", "state a@19", "state b@20", "live 20"],
    "session=b&since=14": ["17", "20", "live 20"],
    "session=b&session=c&since=14": ["15", "17", "18", "20", "live 20"],
    "session=c&since=state": ["live 20"],
    "session=nobody&since=earliest": ["live 20"],
    "type=deleted&since=earliest": ["18", "live 20"],
    "type=deleted&type=updated&session=c&since=earliest": ["9", "12", "15", "18", "live 20"],
    "session=b&since=3": ["reset pruned 9-20", "state b@20", "live 20"],
    "type=created&since=3": ["reset pruned 9-20", "state a@19", "state b@20", "live 20"],
}


@pytest.mark.parametrize("warm", [True, False], ids=["in memory", "after a restart"])
async def test_every_form_of_since_gets_what_the_protocol_says(tmp_path: Path, warm: bool) -> None:
    clock = FakeClock()
    if not warm:
        async with running_app(tmp_path, clock=clock) as app:
            await twenty(app, clock)
    async with running_app(tmp_path, clock=clock) as app:
        if warm:
            await twenty(app, clock)
        got = {}
        for case in CASES:
            query = case.format(epoch=app.epoch, begin=BEGIN)
            async with app.connect(f"/ws?{query}") as wire:
                first = await wire.event()
                got[case] = await told(wire) if first["event"] == "hello" else [tell(first)]
        assert got == CASES


async def test_the_same_in_a_message_at_any_time(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app, app.connect() as wire:
        await twenty(app, clock)
        await wire.until("live")
        await wire.deltas(20)
        wanted = [
            (case.removeprefix("since="), tale) for case, tale in CASES.items() if case.startswith("since=")
        ]
        for since, tale in wanted:
            spelled = since.format(epoch=app.epoch, begin=BEGIN).replace("%2B", "+")
            for form in (spelled, int(spelled)) if spelled.isdigit() else (spelled,):
                await wire.text({"op": "subscribe", "since": form})
                assert await told(wire) == tale
        await wire.text({"op": "subscribe"})
        assert await told(wire) == ["live 20"]
        await wire.text(
            {"op": "subscribe", "sessions": ["b", "c"], "types": ["deleted"], "since": "earliest"}
        )
        assert await told(wire) == ["18", "live 20"]
        await app.publish(delta("c", 21), {"type": "deleted", "sessionId": "c"})
        assert tell(await wire.event()) == "22"


async def test_with_recording_off_seq_counts_and_every_since_but_latest_is_told_so() -> None:
    """Nobody needs a recording to watch."""
    async with running_app(None) as app:
        app.publish_nowait(delta("a"), delta("b"))
        for since in ("earliest", "state", "0", "2", f"{app.epoch}:1", "other:1", "2020-01-01T00:00:00Z"):
            async with app.connect(f"/ws?since={since}") as wire:
                hello = await wire.event()
                assert (hello["recording"], hello["lossWindowMs"], hello["durable"]) == (False, 0, 0)
                assert await told(wire) == ["reset not_recording 3-2", "state a@1", "state b@2", "live 2"]
        async with app.connect("/ws?session=b") as wire:
            await wire.event()
            assert await told(wire) == ["live 2"]
            app.publish_nowait(delta("a"), delta("b"))
            assert tell(await wire.event()) == "4"


async def test_a_reset_carries_the_epoch_and_a_state_its_json(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(
            delta("s", after={"deep": [1, {"x": None}]}), delta("zero", after=0), delta("no", after=False)
        )
        async with app.connect("/ws?since=other:7") as wire:
            await wire.event()
            assert await wire.take(5) == [
                {"event": "reset", "reason": "epoch_changed", "epoch": app.epoch, "oldest": 1, "head": 3},
                {"event": "state", "seq": 1, "sessionId": "s", "state": {"deep": [1, {"x": None}]}},
                {"event": "state", "seq": 2, "sessionId": "zero", "state": 0},
                {"event": "state", "seq": 3, "sessionId": "no", "state": False},
                {"event": "live", "seq": 3, "hash": hash_at(app, 3)},
            ]


async def test_many_states_arrive_once_each_before_live(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*[delta(f"s{n}", after="x" * (n % 7 * 1000)) for n in range(3000)])
        async with app.connect("/ws?since=state") as wire:
            events = (await wire.until("live"))[1:-1]
            assert [event["sessionId"] for event in events] == [f"s{n}" for n in range(3000)]


@pytest.mark.parametrize(
    "message",
    [
        "not json",
        "[]",
        '{"op":"publish"}',
        '{"op":"subscribe","session":["a"]}',
        '{"op":"subscribe","sessions":"a"}',
        '{"op":"subscribe","sessions":[""]}',
        '{"op":"subscribe","types":["moved"]}',
        '{"op":"subscribe","since":"soon"}',
        '{"op":"subscribe","since":-1}',
        '{"op":"subscribe","since":1.5}',
        "[" * 100_000,
    ],
)
async def test_a_message_that_is_none_is_answered_with_an_error_and_changes_nothing(
    tmp_path: Path, message: str
) -> None:
    async with running_app(tmp_path) as app, app.connect("/ws?session=a") as wire:
        await wire.until("live")
        await wire.text(message)
        event = await wire.event()
        assert (event["event"], event["code"]) == ("error", "bad_subscription")
        assert event["message"]
        await app.publish(delta("b"), delta("a"))
        assert (await wire.event())["seq"] == 2


async def test_a_ping_is_answered_even_in_the_middle_of_history(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, app.connect() as wire:
        await app.publish(*[delta(n=n) for n in range(2500)])
        await wire.text({"op": "ping"})
        events = await wire.until("pong")
        assert events[-1] == {"event": "pong"}


async def test_a_heartbeat_comes_at_its_interval_and_says_how_far_all_is(tmp_path: Path) -> None:
    """`durable` is in every heartbeat."""
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, heartbeat_interval=2000) as app, app.connect() as wire:
        await app.publish(delta(), delta())
        await app.recorder.recording.snapshot()
        await wire.until("live")
        app.publish_nowait(delta())
        clock.advance(1.9)
        app.sweep()
        clock.advance(0.1)
        app.sweep()
        app.sweep()
        clock.advance(2)
        app.sweep()
        first, second = [(await wire.until("heartbeat")) for _ in range(2)]
        # What it counts as published has been sent before it.
        assert [tell(event) for event in first[:-1]][-1] == "3"
        assert first[-1] == {
            "event": "heartbeat",
            "epoch": app.epoch,
            "head": 3,
            "durable": 2,
            "at": f"{BEGIN}02.000Z",
            "through": 3,
        }
        assert [event["event"] for event in second] == ["heartbeat"]


async def test_the_keeper_sends_heartbeats_by_itself() -> None:
    async with running_app(None, heartbeat_interval=1) as app, app.connect() as wire:
        await wire.until("live")
        for _ in range(3):
            assert (await wire.event())["event"] == "heartbeat"


async def test_subscribing_anew_in_the_middle_of_history_ends_the_old_and_begins_the_new(
    tmp_path: Path,
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*[delta(f"s{n % 4}", n) for n in range(4000)])
        async with app.connect("/ws?since=earliest", receive_buffer=4096) as wire:
            before = await wire.take(10)
            assert [event["event"] for event in before] == ["hello", *["delta"] * 9]
            await wire.text({"op": "subscribe", "sessions": ["s1"], "since": 2000})
            events = await wire.until("live")
            seqs = [event["seq"] for event in events[:-1]]
            turn = next(index for index in range(1, len(seqs)) if seqs[index] != seqs[index - 1] + 1)
            assert seqs[:turn] == list(range(10, 10 + turn))
            assert seqs[turn:] == list(range(2002, 4001, 4))
            await app.publish(delta("s0"), delta("s1"))
            assert (await wire.event())["seq"] == 4002
            assert app.recorder.hub.fanout.receivers == 1


async def test_a_history_that_cannot_be_read_is_said_and_closed_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(tmp_path) as app, app.connect() as live:
        await live.until("live")
        app.recorder.hub.tail._max_bytes = 0
        await app.publish(delta(), delta())

        async def fail(*_: object) -> None:
            raise StoreError("the disk said no")

        with monkeypatch.context() as patch:
            patch.setattr(app.recorder.recording, "read_slice", fail)
            async with app.connect("/ws?since=0") as wire:
                ending = await wire.ending()
        assert (ending.code, ending.reason) == (1012, "store_error")
        assert [event["event"] for event in ending.events] == ["hello", "error"]
        assert ending.events[1]["message"] == "the disk said no"
        assert await live.deltas(2) == [1, 2]
        async with app.connect("/ws?since=0") as wire:
            assert await wire.deltas(2) == [1, 2]


async def test_recording_goes_on_when_nobody_watches(tmp_path: Path) -> None:
    """Recording does not depend on subscribers."""
    async with running_app(tmp_path) as app:
        async with app.connect("/publish") as wire:
            await wire.event()
            await wire.texts([delta(n=n) for n in range(100)])
            assert [event["seq"] for event in await wire.take(100)] == list(range(1, 101))
        async with app.connect() as wire:
            await wire.until("live")
        await app.until_gone()
        await app.publish(delta())
        async with app.connect("/ws?since=earliest") as wire:
            assert await wire.deltas(101) == list(range(1, 102))


async def test_a_subscription_names_no_more_sessions_and_changes_no_more_often_than_allowed() -> None:
    clock = FakeClock()
    limits = {"max_subscription_sessions": 2, "max_subscribes_per_minute": 3}
    async with running_app(None, clock=clock, **limits) as app:
        async with app.connect("/ws?session=a&session=b&session=c") as wire:
            assert (await wire.ending()).code == 4400
        async with app.connect("/ws?session=a") as wire:
            await wire.until("live")
            await wire.text({"op": "subscribe", "sessions": ["a", "b", "c"]})
            assert "3 sessions, at most 2" in (await wire.event())["message"]
            for _ in range(3):
                await wire.text({"op": "subscribe", "sessions": ["b"]})
                await wire.until("live")
            await wire.text({"op": "subscribe", "sessions": ["a"]})
            assert (await wire.event())["code"] == "rate_limited"
            # The last one goes on.
            app.publish_nowait(delta("a"), delta("b"))
            assert (await wire.event())["seq"] == 2
            clock.advance(20)
            await wire.text({"op": "subscribe", "sessions": ["a"]})
            await wire.until("live")
            assert app.gateway.metrics.resumes["refused"] == 1


async def test_a_heartbeat_says_through_where_nothing_is_missed_and_moves_the_position(
    tmp_path: Path,
) -> None:
    """A quiet session's reader whose foreign deltas are pruned has missed nothing, and need not be reset."""
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, heartbeat_interval=1000, max_deltas=10) as app:
        async with app.connect("/ws?session=quiet") as wire:
            await app.publish(delta("quiet", 1))
            assert await wire.deltas(1) == [1]
            await app.publish(*some(300, "loud"))
            clock.advance(1)
            app.sweep()
            beat = (await wire.until("heartbeat"))[-1]
            assert (beat["through"], beat["head"]) == (301, 301)
            (subscriber,) = app.recorder.hub._subscribers
            assert subscriber.position == 301
        await app.recorder.maintenance.prune()
        async with app.connect(f"/ws?session=quiet&since={app.at(beat['through'])}") as again:
            assert [event["event"] for event in await again.until("live")] == ["hello", "live"]


async def test_a_heartbeat_amid_history_says_no_through(tmp_path: Path) -> None:
    clock = FakeClock()
    limits = {"heartbeat_interval": 1000, "max_concurrent_catchups": 1}
    async with running_app(tmp_path, clock=clock, **limits) as app:
        await app.publish(*some(3, "s"))
        async with app.recorder.hub.turns, app.connect("/ws?since=earliest") as wire:
            # Its turn has not come yet.
            await turn_until(lambda: app.recorder.hub.catching_up)
            clock.advance(1)
            app.sweep()
            assert "through" not in (await wire.until("heartbeat"))[-1]


async def test_one_slice_of_states_at_most_is_encoded_in_a_round_of_the_loop_however_many_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slices, most = 0, 0
    read = Listing.read

    def counted(*args: Any) -> Any:
        nonlocal slices
        slices += 1
        return read(*args)

    async def watch() -> None:
        nonlocal most
        while True:
            before = slices
            await asyncio.sleep(0)
            most = max(most, slices - before)

    async with running_app(tmp_path) as app, AsyncExitStack() as readers:
        for start in range(0, 1_000, 100):
            await app.publish(*(delta(f"s{n}", after={"n": n}) for n in range(start, start + 100)))
        monkeypatch.setattr(Listing, "read", counted)
        watching = asyncio.create_task(watch())
        wires = await asyncio.gather(
            *(readers.enter_async_context(app.connect("/ws?since=state")) for _ in range(20))
        )
        for wire in wires:
            assert [event["event"] for event in await wire.until("live")].count("state") == 1_000
        watching.cancel()
    assert slices >= 40  # 500 states at most in each
    assert most == 1
