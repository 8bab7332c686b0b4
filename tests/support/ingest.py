"""An ingest with a log and a broadcast whose progress a test decides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from recorder.core.chain import GENESIS
from recorder.core.clock import FakeClock
from recorder.core.delta import Entry
from recorder.core.errors import (
    RecorderError,
)
from recorder.core.metrics import Metrics
from recorder.engine.idempotency import RecentIds
from recorder.engine.ingest import Ingest
from recorder.engine.prepare import PublishLimits
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates

EPOCH = "01JD3K9V2M"


class Wire:
    """Takes what is broadcast. With nobody subscribed that is all that there is."""

    def __init__(self, log: Queue | None) -> None:
        self.entries: list[Entry] = []
        self.log = log

    def publish(self, entries: Sequence[Entry]) -> None:
        self.entries.extend(entries)
        if self.log is not None:
            assert entries[0] in self.log.entries  # nobody sees what the log did not take


class Queue:
    """A log whose progress the test decides."""

    def __init__(self, most: int = 1000) -> None:
        self.entries: list[Entry] = []
        self.most = most
        self.recorded = 0
        self.durable = 0
        self.fatal_error: str | None = None
        self.disk_error: str | None = None

    @property
    def capacity(self) -> int:
        return max(0, self.most - (len(self.entries) - self.recorded))

    def extend(self, entries: Sequence[Entry]) -> None:
        self.entries.extend(entries)

    def fail(self, reason: str) -> None:
        self.fatal_error = reason


class Setup:
    """An ingest and all that is around it."""

    def __init__(
        self, *, recording: bool = True, room: int = 1000, remembered: int = 100, max_bytes: int = 1000
    ) -> None:
        self.log = Queue(room) if recording else None
        self.wire = Wire(self.log)
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.ids = RecentIds(remembered)
        self.states = CurrentStates()
        self.sequencer = Sequencer(EPOCH, 0, GENESIS, "", self.states)
        self.ingest = Ingest(
            self.sequencer,
            self.ids,
            self.wire,
            self.log,
            self.clock,
            self.metrics,
            limits=PublishLimits(max_bytes, 5000),
        )

    @property
    def queue(self) -> Queue:
        assert self.log is not None
        return self.log

    def take(self, *deltas: dict[str, Any]) -> dict[str, object]:
        """Accept them, one alone or many as an array; the ack."""
        text = json.dumps(deltas[0] if len(deltas) == 1 else deltas)
        return self.ingest.accept(text.encode()).fields(0)

    def record(self, seq: int | None = None) -> None:
        """The log records up to a seq, or everything."""
        self.queue.recorded = len(self.queue.entries) if seq is None else seq
        self.ingest.on_progress()


def delta(**fields: Any) -> dict[str, Any]:
    return {
        k: v for k, v in ({"type": "updated", "sessionId": "a", "after": 1} | fields).items() if v is not ...
    }


def refused(setup: Setup, text: bytes, *, lines: bool = False) -> RecorderError:
    seqs = len(setup.wire.entries)
    with pytest.raises(RecorderError) as raised:
        (setup.ingest.accept_lines if lines else setup.ingest.accept)(text)
    assert len(setup.wire.entries) == seqs
    return raised.value
