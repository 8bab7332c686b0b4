"""The seam on real sockets: history joins live while deltas pour in, for every filter and every place to begin."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.app import App, running_app, turn, turn_until
from tests.support.wire import Wire

SESSIONS = [f"s{n}" for n in range(6)]
KINDS = ("created", "updated", "deleted")


class Load:
    """Publishes without a pause, and remembers what it published."""

    def __init__(self, app: App, seed: int) -> None:
        self.app = app
        self.random = random.Random(seed)
        self.published: list[tuple[str, str]] = []  # (session, type); seq is the index + 1
        self.is_over = False

    def some(self, count: int) -> None:
        deltas: list[dict[str, Any]] = []
        for _ in range(count):
            session, kind = self.random.choice(SESSIONS), self.random.choice(KINDS)
            self.published.append((session, kind))
            after = None if kind == "deleted" else {"n": len(self.published)}
            deltas.append({"type": kind, "sessionId": session, "after": after})
        self.app.publish_nowait(*deltas)

    async def pour(self, total: int) -> None:
        """In portions of all sizes, with the loop turning between."""
        while len(self.published) < total:
            self.some(min(self.random.choice((1, 1, 2, 5, 40)), total - len(self.published)))
            if self.app.recorder.ingest.is_full:
                await self.app.recorder.ingest.until_capacity()
            await turn(self.random.choice((0, 1, 1, 3)))
        self.is_over = True

    def wanted(self, sessions: set[str], kinds: set[str], after: int, through: int) -> list[int]:
        """The seqs that match."""
        return [
            seq
            for seq, (session, kind) in enumerate(self.published[after:through], after + 1)
            if (not sessions or session in sessions) and (not kinds or kind in kinds)
        ]


@dataclass
class Reader:
    """One connection that subscribes again and again, in the middle of history too, and checks what it gets.

    Args:
        load: What is published.
        number: Its own randomness.
    """

    load: Load
    number: int
    tally: Counter[str] = field(default_factory=Counter)  # what it has been through

    async def read(self, total: int) -> None:
        dice = random.Random(self.number)
        app = self.load.app
        async with app.connect() as wire:
            for _ in range(5):
                sessions = set(dice.sample(SESSIONS, dice.choice((0, 0, 1, 2, 6))))
                kinds = set(dice.sample(KINDS, dice.choice((0, 0, 0, 1, 2))))
                await self.follow(wire, sessions, kinds, dice, dice.choice((3, 30, 300)))
            await self.follow(wire, set(), set(), dice, 10**9, until=total)

    def place(self, dice: random.Random) -> tuple[int | None, Any]:
        """(the seq after which it must begin, where that is known), since."""
        app = self.load.app
        seq = dice.randrange(app.recorder.recording.oldest - 1, app.head + 1)
        known = [(seq, seq), (seq, app.at(seq)), (0, "earliest")]
        return dice.choice([*known, *known, (None, "state"), (None, "other:1"), (None, "latest")])

    async def follow(
        self,
        wire: Wire,
        sessions: set[str],
        kinds: set[str],
        dice: random.Random,
        events: int,
        *,
        until: int | None = None,
    ) -> None:
        """Read one subscription, for so many events or up to a seq."""
        # What is under way of the one before ends with the pong: behind it comes only what is asked for next.
        await wire.texts([{"op": "subscribe", "sessions": ["nobody"]}, {"op": "ping"}])
        await wire.until("pong")
        first, since = self.place(dice)
        fields = {"sessions": sorted(sessions), "types": sorted(kinds), "since": since}
        await wire.text({"op": "subscribe", **{key: value for key, value in fields.items() if value != []}})
        live, seqs = None, []
        while events > 0 and (until is None or live is None or max([live, *seqs[-1:]]) < until):
            if live is not None and until is None and self.load.is_over:
                break
            events -= 1
            event = await wire.event()
            match event["event"]:
                case "reset":
                    assert (live, seqs) == (None, [])
                    first = event["head"]
                case "delta":
                    seqs.append(event["seq"])
                case "live":
                    assert live is None, "live twice"
                    live = event["seq"]
                    assert [seq for seq in seqs if seq > live] == []
                    if first is not None:
                        assert seqs == self.load.wanted(sessions, kinds, first, live)
                    seen = len(seqs)
            self.tally[event["event"]] += 1
        begin = first if first is not None else seqs[0] - 1 if seqs else 0
        assert seqs == self.load.wanted(sessions, kinds, begin, seqs[-1] if seqs else begin)
        self.tally["left in history" if live is None else "left live"] += 1
        self.tally["live deltas"] += 0 if live is None else len(seqs) - seen


async def test_readers_of_all_kinds_miss_nothing_and_see_nothing_twice_under_load(tmp_path: Path) -> None:
    total = 2500
    async with running_app(tmp_path, queue_max_deltas=500) as app:
        # A small tail, so that most of what is asked for comes out of the store.
        app.recorder.hub.tail._max_bytes = 40_000
        load = Load(app, 1)
        load.some(500)
        await app.recorder.recording.flush()
        readers = [Reader(load, number) for number in range(8)]
        async with asyncio.TaskGroup() as tasks:
            for reader in readers:
                tasks.create_task(reader.read(total), name=f"reader-{reader.number}")
            tasks.create_task(load.pour(total), name="load")
        assert app.head == total
        tally = sum((reader.tally for reader in readers), Counter[str]())
        # It has been through all of it, or it proves nothing.
        assert (
            min(tally[what] for what in ("reset", "state", "left in history", "left live", "live deltas")) > 5
        )


async def test_a_reader_whom_pruning_overtakes_is_told_and_goes_on_from_the_states(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        app.recorder.hub.tail._max_bytes = 40_000
        load = Load(app, 2)
        load.some(5000)
        await app.recorder.recording.flush()
        await app.recorder.recording.snapshot()
        async with app.connect("/ws?since=earliest", receive_buffer=2048) as wire:
            app.narrow()
            (connection,) = app.gateway.connections._sockets
            await turn_until(lambda: not connection.is_writable)
            assert await app.recorder.recording.prune(4500, "test") == 4500
            load.some(10)
            await app.recorder.recording.flush()
            wire.open_wide()
            events = (await wire.until("live"))[1:]
            kinds = [event["event"] for event in events]
            at = kinds.index("reset")
            before = [event["seq"] for event in events[:at]]
            assert before == list(range(1, len(before) + 1))
            assert before[-1] < 4500
            reset = {"event": "reset", "reason": "pruned", "epoch": app.epoch, "oldest": 4501, "head": 5010}
            assert events[at] == reset
            states = {event["sessionId"] for event in events[at + 1 : -1]}
            last = dict(load.published)
            assert states == {session for session in SESSIONS if last[session] != "deleted"}
            assert set(kinds[at + 1 : -1]) == {"state"}
            load.some(1)
            assert (await wire.event())["seq"] == 5011
