"""Held back until on disk: whatever is released is one gapless chain, whatever is rolled back leaves no trace."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.chain import GENESIS
from recorder.core.clock import FakeClock
from recorder.core.delta import Delta, Entry
from recorder.core.errors import StoreError
from recorder.core.metrics import Metrics
from recorder.engine.idempotency import RecentIds
from recorder.engine.ingest import Ingest
from recorder.engine.prepare import PublishLimits
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates
from recorder.engine.uncommitted import Uncommitted
from tests.support.ingest import EPOCH, Queue, Wire
from tests.support.store import columns_of, verify_chain


class Setup:
    """An ingest that holds back, in front of a log whose progress the test decides."""

    def __init__(self) -> None:
        self.states = CurrentStates()
        self.sequencer = Sequencer(EPOCH, 0, GENESIS, "", self.states)
        self.held = Uncommitted(self.sequencer, self.states)
        self.log = Queue()
        self.wire = Wire(None)
        self.metrics = Metrics()
        self.ingest = Ingest(
            self.sequencer,
            RecentIds(100),
            self.wire,
            self.log,
            FakeClock(),
            self.metrics,
            limits=PublishLimits(1000, 1000),
            held=self.held,
        )

    def put(self, session: str, after: str | None) -> int:
        """Publish one delta; its seq."""
        kind = "deleted" if after is None else "updated"
        state = "" if after is None else f',"after":{after}'
        text = f'{{"type":"{kind}","sessionId":"{session}"{state},"id":"{len(self.log.entries)}"}}'
        return self.ingest.accept(text.encode()).seq

    def reach(self, seq: int) -> None:
        """The disk has everything up to a seq."""
        self.log.recorded = seq
        self.ingest.on_progress()


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "2", '{"x":1e2}', None])),
        st.integers(0, 5),
        st.just("roll_back"),
    ),
    max_size=40,
)


@given(steps)
def test_any_mix_of_publishing_releasing_and_rolling_back_is_as_if_the_rolled_back_had_never_come(
    steps: list[tuple[str, str | None] | int | str],
) -> None:
    setup = Setup()
    kept: list[tuple[str, str | None]] = []
    waiting: list[tuple[str, str | None]] = []
    for step in steps:
        if isinstance(step, tuple):
            assert setup.put(*step) == len(kept) + len(waiting) + 1
            waiting.append(step)
        elif step == "roll_back":
            setup.ingest.roll_back("no")
            waiting.clear()
        elif isinstance(step, int):
            count = min(step, len(waiting))
            kept += waiting[:count]
            del waiting[:count]
            setup.reach(len(kept))
        assert setup.held.head == len(setup.wire.entries) == len(kept)
    released = setup.wire.entries
    verify_chain([columns_of(entry) for entry in released], GENESIS)
    # The same deltas through a sequencer that never had anything rolled back: the same entries, states and all.
    plain_states = CurrentStates()
    plain = Sequencer(EPOCH, 0, GENESIS, "", plain_states)
    for entry, (session, after) in zip(released, kept, strict=True):
        delta = Delta("deleted" if after is None else "updated", session, None, after, None, entry.id)
        assert plain.append(delta, FakeClock().now_ms(), entry.id_digest) == entry
    assert setup.held.states.listing() == plain_states.listing()
    setup.ingest.roll_back("no")
    assert setup.states.listing() == plain_states.listing()


def test_what_is_rolled_back_is_not_counted_as_accepted() -> None:
    setup = Setup()
    setup.put("a", "1")
    setup.ingest.roll_back("no")
    setup.put("a", "1")
    assert setup.metrics.accepted == 0
    setup.reach(1)
    assert setup.metrics.accepted == 1


async def test_who_waits_for_what_is_rolled_back_is_told_why() -> None:
    setup = Setup()
    seq = setup.put("a", "1")
    waiting = asyncio.ensure_future(setup.ingest.until_recorded(seq))
    await asyncio.sleep(0)
    setup.ingest.roll_back("No space left on device")
    with pytest.raises(StoreError, match=r"the write to disk failed \(No space left on device\)"):
        await waiting


def test_while_the_disk_takes_nothing_a_publish_is_refused_before_it_gets_a_number() -> None:
    setup = Setup()
    setup.log.disk_error = "read-only"
    with pytest.raises(StoreError, match="read-only"):
        setup.put("a", "1")
    assert setup.sequencer.head == 0
    assert setup.metrics.refused == {"store_error": 1}


def test_entries_are_handed_out_in_order_and_once() -> None:
    setup = Setup()
    for n in range(5):
        setup.put("a", str(n))
    setup.reach(2)
    setup.reach(2)
    setup.reach(5)
    assert [entry.seq for entry in setup.wire.entries] == [1, 2, 3, 4, 5]
    assert all(isinstance(entry, Entry) for entry in setup.wire.entries)


def test_an_ack_says_on_disk_also_where_the_group_after_it_has_found_the_file_gone() -> None:
    setup = Setup()
    setup.put("a", "1")
    setup.reach(1)
    assert (setup.log.durable, setup.ingest.durable) == (0, 1)
