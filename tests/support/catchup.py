"""A store, a sink and a loop around one feed, which do one thing when told, and the check of what the feed said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from recorder.core.clock import FakeClock
from recorder.core.delta import Entry
from recorder.core.errors import Pruned, RecorderError
from recorder.core.metrics import Metrics
from recorder.core.sampled_log import SampledLog
from recorder.core.timestamps import format_ms
from recorder.engine.catchup import CHUNK_BYTES, Feed
from recorder.engine.fanout import Batch, Fanout
from recorder.engine.session_states import CurrentState
from recorder.engine.state_listing import Listing
from recorder.engine.tail import Tail
from recorder.wire.subscribe import Since, Subscription

EPOCH = "E"


SESSIONS, KINDS = ("a", "b", "c"), ("created", "updated", "deleted")


@dataclass
class Piece:
    items: Sequence[bytes]
    last_seq: int


class Store:
    """What is recorded is what `commit` was told; a slice is read when `serve` says so."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.recorded = 0
        self.pruned = 0
        self.asked: list[tuple[asyncio.Future[Piece], Callable[[int], Piece]]] = []

    @property
    def oldest(self) -> int:
        return self.pruned + 1

    async def read_slice(
        self, after: int, sessions: frozenset[str] | None, types: frozenset[str] | None
    ) -> Piece:
        recorded = self.recorded  # as the real one: the bound is taken when the slice is asked for

        def read(limit: int) -> Piece:
            if after < self.pruned:
                raise Pruned("gone")
            through, items = after, []
            while through < recorded and len(items) < limit:
                through += 1
                entry = self._world.entries[through - 1]
                if matches(entry, sessions, types):
                    items.append(str(through).encode())
            return Piece(items, through)

        future: asyncio.Future[Piece] = asyncio.get_running_loop().create_future()
        self.asked.append((future, read))
        return await future

    async def erasures_since(
        self, seq: int, sessions: frozenset[str] | None
    ) -> list[tuple[str, int, int, str]]:
        return []

    async def seq_at(self, time: str) -> int | None:
        recorded = self.recorded
        await asyncio.sleep(0)
        kept = self._world.entries[self.pruned : self.recorded]
        first = next((entry.seq for entry in kept if entry.recorded_at >= time), recorded + 1)
        gone = self._world.entries[: self.pruned]
        return None if gone and gone[-1].recorded_at >= time else first

    def serve(self, limit: int) -> None:
        asked, self.asked = self.asked, []
        for future, read in asked:
            if not future.done():
                try:
                    future.set_result(read(limit))
                except Pruned as error:
                    future.set_exception(error)


@dataclass
class Told:
    """What one subscription was told, in order, and what it could count on when it began."""

    subscription: Subscription
    start: int | str | None = (
        None  # the seq after which it begins, or why it must be reset; None: never began
    )
    states_at: list[int] = field(default_factory=list)  # the head when the states were listed
    events: list[tuple[Any, ...]] = field(default_factory=list)


class Sink:
    """Notes what it is told; takes more when `writable`."""

    def __init__(self) -> None:
        self.position = 0
        self.told: list[Told] = []
        self.writable = asyncio.Event()
        self.writable.set()
        self.behind = False

    def note(self, *event: Any) -> None:
        self.told[-1].events.append(event)

    def deliver(self, batch: Batch) -> None:
        for entry in batch.entries:
            self.note("delta", entry.seq)
        self.position = batch.last_seq

    def send_items(self, items: Sequence[bytes]) -> None:
        for item in items:
            self.note("delta", int(item))

    def send_states(self, states: Sequence[tuple[int, str, str]]) -> None:
        for seq, session, _ in states:
            self.note("state", session, seq)

    def send_event(self, event: str, **fields: Any) -> None:
        self.note(event, fields)

    async def wait_writable(self) -> None:
        await self.writable.wait()

    def failed(self, error: RecorderError) -> None:
        self.note("failed", error.code)

    def catching_up(self, yes: bool) -> None:
        self.behind = yes


class World:
    """The hub, as far as a feed sees it."""

    epoch = EPOCH

    def __init__(self, *, recording: bool, tail_bytes: int) -> None:
        self.entries: list[Entry] = []
        self.store = Store(self)
        self.history = self.store if recording else None
        self.metrics = Metrics()
        self.log = SampledLog(FakeClock())
        self.ahead = 0
        self.turns = asyncio.Semaphore(2)
        self.state_turn = asyncio.Lock()
        self.chunk_bytes = CHUNK_BYTES
        self.tail = Tail(0, tail_bytes)
        self.due: list[Callable[[], None]] = []
        self.fanout = Fanout(self.tail, self.metrics, self.due.append)
        self.tasks: list[asyncio.Task[None]] = []
        self.told = Told(Subscription())  # of the current subscription

    @property
    def head(self) -> int:
        return len(self.entries)

    async def listing(self, sessions: frozenset[str] | None) -> Listing:
        self.told.states_at.append(self.head)
        found = states_at(self, self.head, sessions)
        listing = Listing(
            self.head, [name for name, _ in found], [CurrentState(seq, "1") for _, seq in found]
        )
        await listing.order()
        return listing

    def spawn(self, feed: Feed) -> asyncio.Task[None]:
        told = self.told

        async def run() -> None:
            told.start = promised(self, told.subscription.since)
            await feed.run()

        self.tasks.append(asyncio.create_task(run(), name="feed"))
        return self.tasks[-1]

    def publish(self, session: str, kind: str) -> None:
        seq = len(self.entries) + 1
        at = format_ms(seq // 2)  # every second one in the same millisecond
        entry = Entry(seq, session, kind, None, "1", at, at, None, None, False, None, None, b"x" * 100)
        self.entries.append(entry)
        self.fanout.publish([entry])
        if self.history is None:
            self.tail.recorded(seq)

    def pour(self, deltas: Sequence[tuple[str, str]]) -> None:
        for session, kind in deltas:
            self.publish(session, kind)

    def tick(self) -> None:
        due, self.due[:] = list(self.due), []
        for callback in due:
            callback()

    def commit(self, count: int) -> None:
        self.store.recorded = min(self.head, self.store.recorded + count)
        if self.history is not None:
            self.tail.recorded(self.store.recorded)

    def prune(self, count: int) -> None:
        self.store.pruned = min(self.store.recorded, self.store.pruned + count)


def matches(entry: Entry, sessions: frozenset[str] | None, types: frozenset[str] | None) -> bool:
    return (sessions is None or entry.session_id in sessions) and (types is None or entry.type in types)


def promised(world: World, since: Since) -> int | str:
    """What a subscription that begins now is promised: the seq after which it gets everything, or a reset's reason."""
    if since.kind == "latest":
        return world.head
    if world.history is None:
        return "not_recording"
    pruned = world.store.pruned
    if since.kind == "time":
        first = next((e.seq for e in world.entries if e.recorded_at >= since.time), world.head + 1)
        return "pruned" if first <= pruned else first - 1
    if since.kind == "position" and since.position is not None and since.position.epoch != EPOCH:
        return "epoch_changed"
    seq = {"earliest": pruned, "state": world.head}.get(since.kind)
    if seq is None:
        seq = since.seq if since.position is None else since.position.seq
    return "ahead" if seq > world.head else "pruned" if seq < pruned else seq


def check(world: World, told: Told, *, is_last: bool) -> None:
    """One subscription from its beginning to its end (or to now, for the last)."""
    wanted = told.subscription
    cursor = told.start if isinstance(told.start, int) else None
    live: int | None = None
    resets: list[str] = []
    listings = iter(told.states_at)
    states: list[tuple[str, int]] = []  # to come, in order
    if wanted.since.kind == "state" and told.states_at and told.start == told.states_at[0]:
        states = states_at(world, next(listings), wanted.sessions)
    for event in told.events:
        match event:
            case ("reset", fields):
                assert live is None
                resets.append(fields["reason"])
                if cursor is not None and world.history is not None:
                    assert cursor < world.store.pruned, "nothing that was still to come is gone"
                cursor = next(listings)
                assert (fields["epoch"], fields["head"]) == (EPOCH, cursor)
                states = states_at(world, cursor, wanted.sessions)
            case ("state", name, seq):
                assert (name, seq) == states.pop(0)
            case ("delta", seq):
                assert cursor is not None
                assert states == [], "a delta before all states"
                assert seq > cursor, f"{seq} comes twice"
                assert missed(world, wanted, cursor, seq - 1) == [], f"a gap before {seq}"
                assert wants(world.entries[seq - 1], wanted)
                cursor = seq
            case ("live", fields):
                assert live is None, "live twice"
                live = fields["seq"]
                assert cursor is not None
                assert live >= cursor
                assert states == [], "live before all states"
                assert missed(world, wanted, cursor, live) == [], "a gap before live"
                cursor = live
            case _:
                raise AssertionError(event)
    if isinstance(told.start, str) and resets:
        assert resets[0] == told.start
    elif resets:
        # Only a reader whom pruning (or, unrecorded, the tail's bound) has overtaken is reset later.
        assert set(resets) <= {"pruned", "not_recording"}
    if is_last:
        assert live is not None
        assert cursor is not None
        assert missed(world, wanted, cursor, world.head) == []
        assert bool(resets) or not isinstance(told.start, str)


def missed(world: World, wanted: Subscription, after: int, through: int) -> list[int]:
    # Who asks from a time that is still to come is owed nothing that was recorded before it.
    time = wanted.since.time if wanted.since.kind == "time" else ""
    owed = (entry for entry in world.entries[after:through] if wants(entry, wanted))
    return [entry.seq for entry in owed if entry.recorded_at >= time]


def wants(entry: Entry, subscription: Subscription) -> bool:
    return matches(entry, subscription.sessions, subscription.types)


def states_at(world: World, head: int, sessions: frozenset[str] | None) -> list[tuple[str, int]]:
    """(session, seq) of who lived at a head, by seq."""
    found: dict[str, int] = {}
    for entry in world.entries[:head]:
        found.pop(entry.session_id, None)
        if entry.type != "deleted":
            found[entry.session_id] = entry.seq
    return [(name, seq) for name, seq in found.items() if sessions is None or name in sessions]


class Scene:
    """A world with one feed, moved step by step."""

    def __init__(self, *, recording: bool, tail_bytes: int) -> None:
        self.world = World(recording=recording, tail_bytes=tail_bytes)
        self.sink = Sink()
        self.feed = Feed(self.world, self.sink)

    async def do(self, name: str, *args: Any) -> None:
        world = self.world
        if name == "subscribe":
            (subscription,) = args
            world.told = Told(subscription, world.head if subscription.since.kind == "latest" else None)
            self.sink.told.append(world.told)
            self.feed.start(subscription)
        elif name == "turn":
            for _ in range(args[0]):
                await asyncio.sleep(0)
        elif name == "writable":
            (self.sink.writable.set if args[0] else self.sink.writable.clear)()
        elif name == "serve":
            world.store.serve(*args)
        else:
            getattr(world, name)(*args)

    async def settle(self) -> None:
        """Everything that can happen, happens."""
        self.sink.writable.set()
        self.world.commit(self.world.head)
        for _ in range(200):
            self.world.tick()
            self.world.store.serve(3)
            await asyncio.sleep(0)
        await asyncio.gather(*self.world.tasks, return_exceptions=True)

    def close(self) -> None:
        self.feed.stop()
        assert self.world.fanout.receivers == 0


def filled(count: int, *, pruned: int = 0, committed: int | None = None) -> list[tuple[Any, ...]]:
    return [
        ("pour", [(SESSIONS[n % 3], "updated") for n in range(count)]),
        ("tick",),
        ("commit", count if committed is None else committed),
        ("prune", pruned),
    ]
