"""The intake: all or none, one order, idempotent by id, held back when full, closed and failed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core import chain
from recorder.core.chain import GENESIS
from recorder.core.clock import FakeClock
from recorder.core.delta import Entry
from recorder.core.errors import (
    Closed,
    Conflict,
    InvalidDelta,
    InvalidJson,
    OutcomeUnknown,
    OutOfMemory,
    RecorderError,
    Unavailable,
)
from recorder.core.metrics import Metrics
from recorder.engine import sequencer as sequencer_module
from recorder.engine.idempotency import RecentIds
from recorder.engine.ingest import Accepted, Ingest
from recorder.engine.limits import PublishLimits
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates
from tests.support.store import columns_of, verify_chain

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
    def space(self) -> int:
        return max(0, self.most - (len(self.entries) - self.recorded))

    def extend(self, entries: Sequence[Entry]) -> None:
        self.entries.extend(entries)

    def fail(self, reason: str) -> None:
        self.fatal_error = reason


class Setup:
    """An intake and all that is around it."""

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
        self.intake = Ingest(
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
        return self.intake.accept(text.encode()).fields(0)

    def record(self, seq: int | None = None) -> None:
        """The log records up to a seq, or everything."""
        self.queue.recorded = len(self.queue.entries) if seq is None else seq
        self.intake.on_progress()


def delta(**fields: Any) -> dict[str, Any]:
    return {
        k: v for k, v in ({"type": "updated", "sessionId": "a", "after": 1} | fields).items() if v is not ...
    }


def refused(setup: Setup, text: bytes, *, lines: bool = False) -> RecorderError:
    seqs = len(setup.wire.entries)
    with pytest.raises(RecorderError) as raised:
        (setup.intake.accept_lines if lines else setup.intake.accept)(text)
    assert len(setup.wire.entries) == seqs
    return raised.value


# All or none, in one order.


def test_an_ack_names_the_first_and_the_last_place_and_the_count() -> None:
    setup = Setup()
    assert setup.take(delta()) == {"epoch": EPOCH, "firstSeq": 1, "seq": 1, "count": 1, "durable": False}
    accepted = setup.intake.accept(json.dumps([delta(), delta(), delta()]).encode())
    assert (accepted.first_seq, accepted.seq, accepted.count, accepted.through) == (2, 4, 3, 4)
    assert accepted.fields(3)["durable"] is False
    assert accepted.fields(4)["durable"] is True
    assert orjson.loads(accepted.ack(4)) == {"event": "ack"} | accepted.fields(4)


def test_what_is_broadcast_and_what_is_recorded_is_the_same_in_the_same_order() -> None:
    setup = Setup()
    setup.take(delta(), delta(sessionId="b"))
    setup.intake.accept_lines(b'{"type":"deleted","sessionId":"a"}\n\n{"type":"deleted","sessionId":"b"}\n')
    assert setup.wire.entries == setup.queue.entries
    assert [entry.seq for entry in setup.queue.entries] == [1, 2, 3, 4]
    assert setup.metrics.accepted == 4


def test_mistake_31_what_nobody_watches_is_recorded() -> None:
    setup = Setup()
    setup.take(delta())
    assert [entry.seq for entry in setup.queue.entries] == [1]


@pytest.mark.parametrize(
    ("text", "lines", "code"),
    [
        (json.dumps([delta(), delta(sessionId="")]), False, "invalid_delta"),
        (json.dumps([delta(), delta(after="x" * 1000)]), False, "delta_too_large"),
        (f"[{json.dumps(delta())},", False, "invalid_json"),
        (f"{json.dumps(delta())}\n{{", True, "invalid_json"),
        (json.dumps([delta(id="k"), delta(id="k", after=2)]), False, "conflict"),
    ],
)
def test_nothing_of_a_refused_frame_is_numbered_broadcast_recorded_or_remembered(
    text: str, lines: bool, code: str
) -> None:
    setup = Setup()
    assert refused(setup, text.encode(), lines=lines).code == code
    assert (setup.wire.entries, setup.queue.entries, setup.metrics.accepted) == ([], [], 0)
    assert setup.metrics.refused == {code: 1}
    assert setup.ids.find("k", b"") is None
    assert setup.states.get("a") is None
    assert setup.take(delta())["seq"] == 1


def test_the_deltas_of_a_frame_are_received_at_one_time() -> None:
    setup = Setup()
    setup.take(delta(), delta())
    assert len({entry.recorded_at for entry in setup.wire.entries}) == 1
    setup.clock.advance(1)
    setup.take(delta())
    assert setup.wire.entries[2].recorded_at == "2025-11-20T12:00:01.000Z"


def test_a_break_of_lineage_is_counted() -> None:
    setup = Setup()
    setup.take(delta(), delta(before=2), delta(before=1.0))
    assert [entry.lineage for entry in setup.wire.entries] == [None, "broken", None]
    assert setup.metrics.lineage_breaks == 1


def test_without_a_recording_everything_is_as_recorded_as_it_will_be() -> None:
    setup = Setup(recording=False)
    assert setup.take(delta())["durable"] is False
    intake = setup.intake
    assert (intake.recorded, intake.durable, intake.is_full, intake.fatal_error) == (1, 0, False, None)


# Mistake 29: a retried save duplicates.


def test_mistake_29_the_same_id_with_the_same_content_gets_its_first_place_again() -> None:
    setup = Setup()
    first = setup.take(delta(id="k"))
    setup.take(delta())
    again = setup.take(delta(id="k"))
    assert again == first | {"duplicates": 1}
    assert [entry.seq for entry in setup.wire.entries] == [1, 2]
    assert (setup.metrics.accepted, setup.metrics.duplicates) == (2, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"after": 2},
        {"after": 1.0},
        {"before": 0},
        {"type": "created"},
        {"type": "deleted", "after": ...},
        {"sessionId": "b"},
        {"timestamp": "2026-11-20T12:00:00Z"},
    ],
)
def test_the_same_id_with_other_content_is_a_conflict(other: dict[str, Any]) -> None:
    setup = Setup()
    setup.take(delta(id="k"))
    error = refused(setup, json.dumps(delta(id="k", **other)).encode())
    assert isinstance(error, Conflict)
    assert str(error) == (
        "id: 'k' was used at seq 1 with other content (an id names one delta for ever; give a new delta a new id)"
    )
    assert (error.index, error.place) == (None, "id")
    assert setup.metrics.refused == {"conflict": 1}


def test_a_conflict_says_where_it_is() -> None:
    setup = Setup()
    setup.take(delta(id="k"))
    wrong, good = json.dumps(delta(id="k", after=2)), json.dumps(delta())
    among = refused(setup, f"[{good},{wrong}]".encode())
    assert (among.index, among.place) == (1, "[1].id")
    assert among.message.startswith("[1].id: 'k' was used at seq 1")
    only = refused(setup, f" [{wrong}]".encode())
    assert (only.index, only.place) == (0, "[0].id")
    line = refused(setup, f"{good}\n\n{wrong}".encode(), lines=True)
    assert (line.index, line.place) == (1, "line 3: id")
    assert line.message.startswith("line 3: id: 'k' was used at seq 1")


def test_the_same_time_written_otherwise_is_the_same_content() -> None:
    setup = Setup()
    setup.take(delta(id="k", timestamp="2026-11-20T12:00:00Z"))
    assert setup.take(delta(id="k", timestamp="2026-11-20T13:00:00.000+01:00"))["duplicates"] == 1


def test_a_timestamp_that_was_sent_is_other_content_than_none_even_where_it_is_the_time_of_receipt() -> None:
    setup = Setup()
    setup.take(delta(id="k"))
    (entry,) = setup.wire.entries
    with pytest.raises(Conflict):
        setup.take(delta(id="k", timestamp=entry.timestamp))


def test_a_retry_much_later_without_a_timestamp_is_no_conflict() -> None:
    setup = Setup()
    setup.take(delta(id="k"))
    setup.clock.advance(3600)
    assert setup.take(delta(id="k"))["duplicates"] == 1


def test_a_before_that_was_filled_in_does_not_make_a_retry_a_conflict() -> None:
    setup = Setup()
    setup.take(delta(type="created", after={"n": 0}))
    setup.take(delta(id="k", after={"n": 1}))
    setup.take(delta(after={"n": 2}))
    assert setup.wire.entries[1].before == '{"n": 0}'
    assert setup.take(delta(id="k", after={"n": 1}))["seq"] == 2
    # It was left out then: sent now it is other content.
    with pytest.raises(Conflict):
        setup.take(delta(id="k", before={"n": 0}, after={"n": 1}))


def test_null_and_absent_are_the_same_content() -> None:
    setup = Setup()
    setup.take(delta(id="k"))
    assert setup.take(delta(id="k", before=None, timestamp=None))["duplicates"] == 1


def test_an_id_twice_in_one_frame_is_recorded_once() -> None:
    setup = Setup()
    ack = setup.take(delta(id="k"), delta(), delta(id="k"))
    assert (ack["firstSeq"], ack["seq"], ack["count"], ack["duplicates"]) == (1, 1, 3, 1)
    assert [entry.id for entry in setup.wire.entries] == ["k", None]


@pytest.mark.parametrize("remembered", [0, 100])
def test_an_id_twice_in_one_frame_with_other_content_is_a_conflict(remembered: int) -> None:
    setup = Setup(remembered=remembered)
    error = refused(setup, json.dumps([delta(), delta(id="k"), delta(id="k", after=2)]).encode())
    assert error.message == "[2].id: 'k' was used earlier in this publish with other content"
    assert (error.code, error.index) == ("conflict", 2)


def test_an_ack_of_known_and_new_deltas_is_true_when_the_newest_is_recorded() -> None:
    setup = Setup()
    setup.take(delta(id="old"))
    accepted = setup.intake.accept(json.dumps([delta(id="new"), delta(), delta(id="old")]).encode())
    assert (accepted.first_seq, accepted.seq, accepted.through, accepted.duplicates) == (2, 1, 3, 1)
    assert accepted.fields(2)["durable"] is False


def test_beyond_dedupe_ids_an_id_is_new_again() -> None:
    setup = Setup(remembered=2)
    setup.take(delta(id="a"))
    setup.take(delta(id="b"))
    assert setup.take(delta(id="a"))["seq"] == 1
    setup.take(delta(id="c"))
    assert setup.take(delta(id="a", after="other"))["seq"] == 4


def test_a_frame_with_more_ids_than_are_remembered_is_still_taken_once() -> None:
    setup = Setup(remembered=2)
    setup.take(delta(id="a"))
    ack = setup.take(*[delta(id=name) for name in ("b", "c", "d", "a", "b", "c", "d")])
    assert [entry.id for entry in setup.wire.entries] == ["a", "b", "c", "d"]
    assert ack["duplicates"] == 4


def test_with_no_memory_of_ids_a_retry_is_new() -> None:
    setup = Setup(remembered=0)
    assert [setup.take(delta(id="k"))["seq"] for _ in range(2)] == [1, 2]


def test_ids_from_before_a_restart_are_known() -> None:
    before = Setup()
    before.take(delta(id="k"))
    (entry,) = before.wire.entries
    assert entry.id_digest is not None
    after = Setup()
    after.ids.load([("k", 77, entry.id_digest)])
    assert after.take(delta(id="k"))["seq"] == 77
    with pytest.raises(Conflict, match="used at seq 77"):
        after.take(delta(id="k", after=2))


FRAMES = st.lists(
    st.lists(
        st.builds(delta, id=st.sampled_from([..., "x", "y", "z"]), after=st.integers(0, 1)),
        min_size=1,
        max_size=4,
    ),
    max_size=8,
)


@given(FRAMES, st.integers(0, 3))
def test_any_frames_are_taken_whole_or_not_at_all_and_no_id_is_recorded_twice(
    frames: list[list[dict[str, Any]]], remembered: int
) -> None:
    setup = Setup(remembered=remembered)
    for frame in frames:
        head = len(setup.wire.entries)
        try:
            accepted = setup.intake.accept(json.dumps(frame).encode())
        except Conflict:
            assert len(setup.wire.entries) == head
            continue
        new = [entry.id for entry in setup.wire.entries[head:]]
        assert len(new) == accepted.count - accepted.duplicates
        assert len({name for name in new if name}) == len([name for name in new if name])
        assert accepted.through <= len(setup.wire.entries)
    assert [entry.seq for entry in setup.wire.entries] == list(range(1, len(setup.wire.entries) + 1))
    assert setup.wire.entries == setup.queue.entries


TEXTS = st.lists(
    st.one_of(
        st.builds(
            delta,
            id=st.sampled_from([..., "x", "y"]),
            after=st.integers(0, 1),
            sessionId=st.sampled_from(["a", "b"]),
        ),
        st.just({"type": "updated"}),
        st.lists(st.builds(delta, id=st.sampled_from([..., "x", "z"])), min_size=1, max_size=3),
    ).map(lambda value: json.dumps(value).encode()),
    max_size=8,
)


def outcome(accepted: Accepted | RecorderError) -> object:
    return str(accepted) if isinstance(accepted, RecorderError) else accepted


@given(TEXTS, st.integers(0, 3))
def test_texts_taken_at_once_come_to_the_same_as_one_after_the_other(
    texts: list[bytes], remembered: int
) -> None:
    one, all_ = Setup(remembered=remembered), Setup(remembered=remembered)
    singly: list[object] = []
    for text in texts:
        try:
            singly.append(one.intake.accept(text))
        except RecorderError as error:
            singly.append(str(error))
    assert [outcome(each) for each in all_.intake.accept_each(texts)] == singly
    assert all_.wire.entries == all_.queue.entries == one.wire.entries
    for name in ("accepted", "duplicates", "refused"):
        assert getattr(all_.metrics, name) == getattr(one.metrics, name)


def test_what_has_a_place_is_seen_and_recorded_even_where_a_later_text_cannot_be_handled() -> None:
    setup = Setup()

    def spend(count: int) -> None:
        if len(setup.states) == 2:
            raise ZeroDivisionError

    texts = [json.dumps(delta(sessionId=name)).encode() for name in "abc"]
    with pytest.raises(ZeroDivisionError):
        setup.intake.accept_each(texts, spend)
    assert [entry.session_id for entry in setup.wire.entries] == ["a", "b"]
    assert setup.wire.entries == setup.queue.entries


# Held back when full; closed; failed.


class Called:
    """A waiter that counts, and may do something when it is told."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.times = 0
        self.then = then
        self.aborted = False

    def on_room(self) -> None:
        self.times += 1
        self.then()

    on_recorded = on_room

    def on_withdrawn(self, error: RecorderError) -> None:
        self.on_room()

    def abort(self) -> None:
        self.aborted = True


def test_one_waiter_that_raises_is_ended_and_the_others_are_told() -> None:
    setup = Setup(room=1)
    broken, fine = Called(lambda: 1 // 0), Called()
    for tell in (setup.intake.wait_recorded, setup.intake.wait_for_room):
        tell(broken)
        tell(fine)
        setup.intake.on_progress()
    assert (broken.times, broken.aborted) == (2, True)
    assert (fine.times, fine.aborted) == (2, False)
    assert setup.metrics.callback_errors == {"publisher": 2}


def test_who_waits_for_room_is_told_once_in_turn_while_there_is_room() -> None:
    setup = Setup(room=1)
    setup.take(delta())
    assert setup.intake.is_full
    first = Called(lambda: setup.take(delta()))
    second = Called()
    setup.intake.wait_for_room(first)
    setup.intake.wait_for_room(second)
    setup.intake.on_progress()
    assert (first.times, second.times) == (0, 0)
    setup.record()
    assert (first.times, second.times) == (1, 0)  # the first has taken the room
    setup.record()
    setup.record()
    assert (first.times, second.times) == (1, 1)


def test_who_waits_for_recording_is_told_once_at_the_next_progress() -> None:
    setup = Setup()
    waiter = Called(lambda: setup.intake.wait_recorded(waiter) if waiter.times == 1 else None)
    setup.intake.wait_recorded(waiter)
    setup.record()
    assert waiter.times == 1
    setup.record()
    setup.record()
    assert waiter.times == 2


async def test_an_await_for_room_and_for_recording_ends_when_there_is() -> None:
    setup = Setup(room=1)
    setup.take(delta())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        room = tasks.create_task(setup.intake.room(), name="room")
        recorded = tasks.create_task(setup.intake.until_recorded(1), name="recorded")
        await asyncio.sleep(0)
        setup.intake.on_progress()
        await asyncio.sleep(0)
        assert not room.done()
        assert not recorded.done()
        setup.record()
    await setup.intake.room()
    await setup.intake.until_recorded(1)


async def test_of_many_that_await_room_only_as_many_go_on_as_there_is_room_for() -> None:
    setup = Setup(room=1)
    setup.take(delta())

    async def publish() -> None:
        await setup.intake.room()
        setup.take(delta())

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(publish(), name=f"publisher-{number}")
        await asyncio.sleep(0)
        for taken in range(1, 5):
            setup.record()
            for _ in range(4):
                await asyncio.sleep(0)
            assert len(setup.wire.entries) == taken + 1


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    setup = Setup(room=1)
    setup.take(delta())
    for wait in (setup.intake.room(), setup.intake.until_recorded(1)):
        task = asyncio.create_task(wait, name="waiting")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not setup.intake._room_waiters
    assert not setup.intake._recorded_waiters
    setup.record()


async def test_who_gives_up_in_the_very_moment_is_not_told() -> None:
    setup = Setup()
    setup.take(delta())
    task = asyncio.create_task(setup.intake.until_recorded(1), name="waiting")
    await asyncio.sleep(0)
    task.cancel()
    setup.record()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_once_closed_it_takes_nothing_more() -> None:
    setup = Setup()
    setup.take(delta())
    setup.intake.close()
    setup.intake.close()
    error = refused(setup, b"{}")
    assert isinstance(error, Closed)
    assert error.retry
    assert setup.metrics.refused == {"closed": 1}


async def test_what_was_accepted_before_closing_is_still_waited_for() -> None:
    setup = Setup()
    setup.take(delta())
    setup.intake.close()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(setup.intake.until_recorded(1), name="recorded")
        await asyncio.sleep(0)
        setup.record()


async def test_when_recording_fails_nobody_waits_for_ever() -> None:
    setup = Setup(room=1)
    setup.take(delta())
    told = Called()
    setup.intake.wait_for_room(told)
    room = asyncio.create_task(setup.intake.room(), name="room")
    recorded = asyncio.create_task(setup.intake.until_recorded(1), name="recorded")
    await asyncio.sleep(0)
    setup.queue.fatal_error = "disk full"
    setup.intake.on_progress()
    async with asyncio.timeout(5):
        await room
        with pytest.raises(OutcomeUnknown, match=r"not known whether this is recorded \(disk full\)"):
            await recorded
        with pytest.raises(OutcomeUnknown):
            await setup.intake.until_recorded(1)
    assert told.times == 1
    assert isinstance(refused(setup, b"{}"), Unavailable)


def test_a_refusal_is_counted_by_its_code() -> None:
    setup = Setup()
    for text, kind in ((b"{", InvalidJson), (b"{}", InvalidDelta), (b"{}", InvalidDelta)):
        assert type(refused(setup, text)) is kind
    assert setup.metrics.refused == {"invalid_json": 1, "invalid_delta": 2}


# Whatever goes wrong while places are given.


class Failing:
    """Stands in for a function; its n-th call from now finds no memory."""

    def __init__(self, work: Callable[..., Any], error: BaseException) -> None:
        self.work = work
        self.error = error
        self.left = 0  # calls until the one that fails; 0 for never

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.work(*args, **options)


def state_of(setup: Setup) -> Any:
    """Everything that numbering moves."""
    return (
        setup.sequencer.mark(),
        setup.states.listing(),
        setup.states.recorded_bytes,
        len(setup.queue.entries),
    )


@pytest.mark.parametrize("name", ["item_text", "text_frame", "Entry", "chain.link"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_publish_that_finds_no_memory_at_any_of_its_deltas_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    setup = Setup()
    setup.take(delta(sessionId="a"), delta(sessionId="gone"))
    frame = json.dumps(
        [
            delta(id="x", sessionId="new"),
            delta(type="deleted", sessionId="gone", after=None),
            delta(after=[1]),
        ]
    ).encode()
    before = state_of(setup)
    owner, attribute = f"recorder.engine.sequencer.{name}".rsplit(".", 1)
    failing = Failing(
        getattr(chain if owner.endswith("chain") else sequencer_module, attribute), MemoryError()
    )
    monkeypatch.setattr(f"{owner}.{attribute}", failing)
    failing.left = call
    [outcome] = setup.intake.accept_each([frame])
    assert isinstance(outcome, OutOfMemory)
    assert state_of(setup) == before
    assert setup.metrics.refused == {"out_of_memory": 1}
    # The same again, ids and all, is taken as if it came for the first time.
    assert setup.intake.accept(frame).fields(0) == {
        "epoch": EPOCH, "firstSeq": 3, "seq": 5, "count": 3, "durable": False
    }  # fmt: skip
    verify_chain([columns_of(entry) for entry in setup.queue.entries], GENESIS)


def test_a_frame_that_finds_no_memory_does_not_touch_those_before_and_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = Setup()
    failing = Failing(sequencer_module.item_text, MemoryError())
    monkeypatch.setattr("recorder.engine.sequencer.item_text", failing)
    failing.left = 3
    frames = [json.dumps([delta(), delta(after=n)]).encode() for n in range(3)]
    first, second, third = setup.intake.accept_each(frames)
    assert isinstance(second, OutOfMemory)
    assert [(each.first_seq, each.seq) for each in (first, third) if isinstance(each, Accepted)] == [
        (1, 2),
        (3, 4),
    ]
    assert [entry.seq for entry in setup.queue.entries] == [1, 2, 3, 4]


def test_an_error_that_nobody_expects_leaves_no_trace_either(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = Setup()
    failing = Failing(sequencer_module.item_text, ZeroDivisionError())
    monkeypatch.setattr("recorder.engine.sequencer.item_text", failing)
    before = state_of(setup)
    failing.left = 2
    with pytest.raises(ZeroDivisionError):
        setup.intake.accept(json.dumps([delta(), delta()]).encode())
    assert state_of(setup) == before
    assert setup.take(delta())["seq"] == 1


def test_where_what_has_its_places_cannot_be_handed_on_nothing_more_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = Setup()
    failing = Failing(setup.wire.publish, MemoryError())
    monkeypatch.setattr(setup.wire, "publish", failing)
    failing.left = 1
    with pytest.raises(MemoryError):
        setup.take(delta())
    assert "MemoryError" in (setup.queue.fatal_error or "")
    with pytest.raises(Unavailable, match="nothing can be recorded: MemoryError"):
        setup.take(delta())
    assert setup.wire.entries == []


def test_without_recording_too_nothing_follows_what_was_not_broadcast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = Setup(recording=False)
    failing = Failing(setup.wire.publish, MemoryError())
    monkeypatch.setattr(setup.wire, "publish", failing)
    failing.left = 1
    with pytest.raises(MemoryError):
        setup.take(delta())
    with pytest.raises(Unavailable):
        setup.take(delta())


@pytest.mark.parametrize("name", ["item_text", "text_frame", "Entry"])
def test_a_single_delta_that_finds_no_memory_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    setup = Setup()
    setup.take(delta())
    before = state_of(setup)
    failing = Failing(getattr(sequencer_module, name), MemoryError())
    monkeypatch.setattr(f"recorder.engine.sequencer.{name}", failing)
    failing.left = 1
    outcomes = setup.intake.accept_each([json.dumps(delta(after=2)).encode()] * 2)
    assert isinstance(outcomes[0], OutOfMemory)
    assert isinstance(outcomes[1], Accepted)
    assert outcomes[1].seq == 2
    assert [entry.seq for entry in setup.queue.entries] == [1, 2]
    assert before[0][0] == 1
