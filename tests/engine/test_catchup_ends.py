"""A feed that is stopped by what it has just handed over must not be served any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from recorder.core.delta import Entry
from recorder.core.errors import RecorderError
from recorder.core.metrics import Metrics
from recorder.engine.catchup import Feed
from recorder.engine.fanout import Batch, Fanout
from recorder.engine.tail import Tail
from recorder.wire.subscribe import Subscription


def entry(seq: int) -> Entry:
    return Entry(seq, "s", "updated", None, "1", "t", "t", None, None, False, None, None, b"frame")


class Hub:
    """As much of a hub as a feed needs."""

    epoch = "E"
    history = None

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.tail = Tail(0)
        self.fanout = Fanout(self.tail, self.metrics)
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def head(self) -> int:
        return self.tail.first_seq - 1

    def states(self, sessions: frozenset[str] | None) -> list[tuple[int, str, str]]:
        return []

    def spawn(self, feed: Feed) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(feed.run(), name="feed"))
        return self.tasks[-1]


class FullSink:
    """A sink that ends its feed at the first thing it is given, as a connection beyond its hard limit does."""

    position = 0

    def __init__(self, hub: Hub) -> None:
        self.feed = Feed(hub, self)
        self.batches: list[Batch] = []

    def deliver(self, batch: Batch) -> None:
        self.batches.append(batch)

    def send_items(self, items: Sequence[bytes]) -> None: ...

    def send_states(self, states: Sequence[tuple[int, str, str]]) -> None: ...

    def send_event(self, event: str, **fields: Any) -> None:
        self.feed.stop()

    async def wait_writable(self) -> None: ...

    def failed(self, error: RecorderError) -> None: ...

    def catching_up(self, yes: bool) -> None: ...


async def test_a_sink_that_gives_up_while_it_goes_live_is_not_joined() -> None:
    hub = Hub()
    sink = FullSink(hub)
    sink.feed.start(Subscription())
    hub.fanout.publish([entry(1)])
    hub.fanout.flush()
    assert sink.batches == []
    assert hub.fanout.receivers == 0


async def test_without_a_recording_the_tail_keeps_its_bound() -> None:
    tail = Tail(0, max_bytes=20)
    for seq in range(1, 100):
        tail.extend([entry(seq)])
        tail.recorded(seq)
    assert tail.first_seq > 90
