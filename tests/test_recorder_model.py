"""Publish, subscribe, cut, resume, prune, erase and restart in any order, over real sockets, against a plain model.

The model is a list of entries, how many of them are gone from its beginning, and whose content was erased. From it
follows every event that a reader must be sent, whenever it comes and from wherever it resumes. `MODEL_EXAMPLES`
sets how many orders are tried (many need `--timeout 0`); without it they are the same each time.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from recorder.core.clock import FakeClock
from recorder.core.timestamps import format_ms
from tests.support.app import App, running_app
from tests.support.wire import Wire

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "4"))
SESSIONS = ("a", "b", "\u202e")
Found = TypeVar("Found")


@dataclass
class Entry:
    """A delta as it must be told: `before` as the recorder fills it in."""

    session: str
    kind: str
    before: int | None
    after: int | None
    recorded_at: str
    erased: bool = False

    def told(self, seq: int) -> tuple[Any, ...]:
        """What is compared of its event."""
        if self.erased and (self.before is not None or self.after is not None):
            return ("delta", seq, self.session, self.kind, None, None, True)
        return ("delta", seq, self.session, self.kind, self.before, self.after, False)


def seen(event: dict[str, Any]) -> tuple[Any, ...]:
    """The same of an event that came; of others what matters of them."""
    match event["event"]:
        case "delta":
            delta = event["delta"]
            texts = delta["sessionId"], delta["type"], delta.get("before"), delta.get("after")
            return ("delta", event["seq"], *texts, "erased" in event)
        case "state":
            return ("state", event["seq"], event["sessionId"], event["state"])
        case "erased":
            return ("erased", event["sessionId"], event["through"], event["count"])
        case "reset":
            return ("reset", event["reason"], event["oldest"], event["head"])
    return (event["event"],)


@dataclass
class Reader:
    """A subscriber, connected or away.

    Args:
        session: The only one it asks for; None for all.
        wire: Its connection, while it has one.
        position: The seq it has everything up to.
        waits: What it must be sent next, in order, `live` aside.
        is_new: Whether it has not been told yet that it is live.
    """

    session: str | None
    wire: Wire | None = None
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    position: int = 0
    waits: list[tuple[Any, ...]] = field(default_factory=list)
    is_new: bool = False

    def wants(self, session: str) -> bool:
        """Whether a session is of those it asks for."""
        return self.session in (None, session)


class RecorderMachine(RuleBasedStateMachine):
    """The recorder beside the model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="recorder-model-")
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.entries: list[Entry] = []  # seq is the index + 1
        self.pruned = 0  # entries gone from the beginning
        self.states: dict[str, tuple[int, int]] = {}  # of living sessions: seq, state
        self.erasures: list[tuple[int, str, int, int]] = []  # the head then, session, through, count
        self.readers: list[Reader] = []
        self.number = 0  # of the last state made

    def run(self, work: Coroutine[Any, Any, Found]) -> Found:
        return self.loop.run_until_complete(work)

    @property
    def head(self) -> int:
        return len(self.entries)

    @initialize()
    def open(self) -> None:
        self.run(self._open())

    async def _open(self) -> None:
        self.stack = AsyncExitStack()
        folder = Path(self.folder.name)
        self.app: App = await self.stack.enter_async_context(running_app(folder, clock=self.clock))
        self.publisher = await self.stack.enter_async_context(self.app.connect("/publish"))
        hello = await self.publisher.event()
        assert (hello["event"], hello["head"]) == ("hello", self.head)

    @rule(batch=st.lists(st.tuples(st.sampled_from(SESSIONS), st.booleans()), min_size=1, max_size=5))
    def publish(self, batch: list[tuple[str, bool]]) -> None:
        self.clock.advance(1)
        self.run(self._publish(batch))
        self.run(self._read())

    async def _publish(self, batch: list[tuple[str, bool]]) -> None:
        now, first = format_ms(self.clock.now_ms()), self.head + 1
        deltas = [self._add(session, now, deletes=deletes) for session, deletes in batch]
        await self.publisher.text(deltas)
        ack = await self.publisher.event()
        assert (ack["event"], ack["firstSeq"], ack["seq"]) == ("ack", first, self.head)

    def _add(self, session: str, now: str, *, deletes: bool) -> dict[str, Any]:
        """A delta, and what it changes in the model."""
        before = self.states.pop(session, (0, None))[1]
        kind = "deleted" if deletes else "created" if before is None and self.number % 2 else "updated"
        delta: dict[str, Any] = {"type": kind, "sessionId": session}
        after = None
        if not deletes:
            self.number += 1
            after = delta["after"] = self.number
        filled = None if kind == "created" else before
        self.entries.append(Entry(session, kind, filled, after, now))
        if after is not None:
            self.states[session] = (self.head, after)
        for reader in self.readers:
            if reader.wire is not None and reader.wants(session):
                reader.waits.append(self.entries[-1].told(self.head))
        return delta

    @rule(
        since=st.sampled_from(["latest", "earliest", "state"]),
        session=st.sampled_from([None, None, *SESSIONS]),
        meanwhile=st.lists(st.tuples(st.sampled_from(SESSIONS), st.booleans()), max_size=3),
    )
    def subscribe(self, since: str, session: str | None, meanwhile: list[tuple[str, bool]]) -> None:
        reader = Reader(session)
        self.readers.append(reader)
        self.run(self._connect(reader, since, meanwhile))

    @precondition(lambda self: any(reader.wire is None for reader in self.readers))
    @rule(data=st.data(), meanwhile=st.lists(st.tuples(st.sampled_from(SESSIONS), st.booleans()), max_size=3))
    def resume(self, data: st.DataObject, meanwhile: list[tuple[str, bool]]) -> None:
        reader = data.draw(st.sampled_from([each for each in self.readers if each.wire is None]))
        self.run(self._connect(reader, self.app.at(reader.position), meanwhile))

    async def _connect(self, reader: Reader, since: str, meanwhile: list[tuple[str, bool]]) -> None:
        query = f"?since={since}" + ("" if reader.session is None else f"&session={reader.session}")
        target = "/ws" + "".join(char if char.isascii() else "%E2%80%AE" for char in query)
        reader.waits, reader.is_new = self._history(reader, since), True
        reader.wire = await reader.stack.enter_async_context(self.app.connect(target))
        if since == "latest":
            # It begins where it is greeted: what is published from then on is due.
            assert (await reader.wire.event())["event"] == "hello"
        elif meanwhile:
            # While it is still being sent what was before.
            await self._publish(meanwhile)
        await self._read()

    def _history(self, reader: Reader, since: str) -> list[tuple[Any, ...]]:
        """What is sent before `live`."""
        states = [
            ("state", seq, session, state)
            for session, (seq, state) in sorted(self.states.items(), key=lambda item: item[1])
            if reader.wants(session)
        ]
        if since == "latest":
            return []
        if since == "state":
            return states
        after = self.pruned if since == "earliest" else reader.position
        if after < self.pruned:
            return [("reset", "pruned", self.pruned + 1, self.head), *states]
        told = [
            ("erased", session, through, count)
            for head, session, through, count in self.erasures
            if since != "earliest" and head >= after and reader.wants(session)
        ]
        later = list(enumerate(self.entries, 1))[after:]
        return told + [entry.told(seq) for seq, entry in later if reader.wants(entry.session)]

    async def _read(self) -> None:
        """Every reader that is connected is sent what it waits for, and nothing else; a new one that it is live."""
        for reader in self.readers:
            if reader.wire is None:
                continue
            kinds: list[str] = []
            # A pong is behind everything that was sent before.
            due, reader.waits = reader.waits, []
            came: list[tuple[Any, ...]] = []
            await reader.wire.text({"op": "ping"})
            while "pong" not in kinds or len(came) < len(due) or (reader.is_new and "live" not in kinds):
                event = await reader.wire.event()
                kinds.append(event["event"])
                if event["event"] in ("delta", "state", "erased", "reset"):
                    came.append(seen(event))
            # The states of a list are of one moment; in which order they come nobody has promised.
            assert _sorted(came) == _sorted(due), (reader, came, due)
            assert kinds.count("live") == reader.is_new
            reader.is_new = False
            reader.position = self.head

    @precondition(lambda self: any(reader.wire is not None for reader in self.readers))
    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from([each for each in self.readers if each.wire is not None]))
        assert reader.wire is not None
        reader.wire.reset()
        self.run(reader.stack.aclose())
        reader.wire = None

    @precondition(lambda self: self.head > self.pruned)
    @rule(data=st.data())
    def prune(self, data: st.DataObject) -> None:
        older_than = self.entries[data.draw(st.integers(self.pruned, self.head - 1))].recorded_at
        gone = sum(entry.recorded_at < older_than for entry in self.entries[self.pruned :])
        assert self.run(self.app.recorder.maintenance.prune(older_than)) == gone
        self.pruned += gone
        self.run(self._read())

    @precondition(lambda self: self.head > self.pruned)
    @rule(data=st.data())
    def erase(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(sorted({each.session for each in self.entries[self.pruned :]})))
        done = self.run(self.app.recorder.eraser.erase(session, "because"))
        taken = [
            (seq, entry)
            for seq, entry in list(enumerate(self.entries, 1))[self.pruned :]
            if entry.session == session and not entry.erased and (entry.before, entry.after) != (None, None)
        ]
        self.states.pop(session, None)
        assert (done.receipt is not None) == bool(taken), (done, taken)
        if done.receipt is None:
            return
        for _, entry in taken:
            entry.erased = True
        told = (session, self.head, len(taken))
        assert done.receipt.payload.count == len(taken)
        self.erasures.append((self.head, *told))
        for reader in self.readers:
            if reader.wire is not None and reader.wants(session):
                reader.waits.append(("erased", *told))
        self.run(self._read())

    @rule()
    def restart(self) -> None:
        for reader in self.readers:
            self.run(reader.stack.aclose())
            reader.wire = None
        epoch = self.app.epoch
        self.run(self.stack.aclose())
        self.run(self._open())
        assert self.app.epoch == epoch

    def teardown(self) -> None:
        for reader in self.readers:
            self.run(reader.stack.aclose())
        if hasattr(self, "stack"):
            self.run(self.stack.aclose())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()


def _sorted(events: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Events in their order, but for lists of states."""
    states = sorted(event for event in events if event[0] == "state")
    return [*[event for event in events if event[0] != "state"], *states]


RecorderMachine.TestCase.settings = settings(
    max_examples=EXAMPLES,
    derandomize="MODEL_EXAMPLES" not in os.environ,
    stateful_step_count=20,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestAnyOrder = RecorderMachine.TestCase
