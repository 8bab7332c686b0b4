"""Numbering: an id is recorded once and names one content, and whatever goes wrong leaves no trace of a publish."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Any

import pytest

from recorder.core import chain
from recorder.core.chain import GENESIS
from recorder.core.delta import Entry
from recorder.core.errors import (
    Conflict,
    OutOfMemory,
    Unavailable,
)
from recorder.engine import sequencer as sequencer_module
from recorder.engine.answers import Accepted
from recorder.engine.numbering import finish
from tests.support.ingest import EPOCH, Setup, delta, refused
from tests.support.store import columns_of, verify_chain


def test_the_same_id_with_the_same_content_gets_its_first_place_again() -> None:
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
    accepted = setup.ingest.accept(json.dumps([delta(id="new"), delta(), delta(id="old")]).encode())
    assert (accepted.first_seq, accepted.seq, accepted.highest_seq, accepted.duplicates) == (2, 1, 3, 1)
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
    [outcome] = setup.ingest.accept_each([frame])
    assert isinstance(outcome, OutOfMemory)
    assert state_of(setup) == before
    assert setup.metrics.refused == {"out_of_memory": 1}
    # The same again, ids and all, is taken as if it came for the first time.
    assert setup.ingest.accept(frame).fields(0) == {
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
    first, second, third = setup.ingest.accept_each(frames)
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
        setup.ingest.accept(json.dumps([delta(), delta()]).encode())
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


@pytest.mark.parametrize("fields", [{}, {"id": "x"}], ids=["plain", "with an id"])
@pytest.mark.parametrize("name", ["item_text", "text_frame", "Entry"])
def test_a_single_delta_that_finds_no_memory_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, name: str, fields: dict[str, Any]
) -> None:
    setup = Setup()
    setup.take(delta())
    before = state_of(setup)
    failing = Failing(getattr(sequencer_module, name), MemoryError())
    monkeypatch.setattr(f"recorder.engine.sequencer.{name}", failing)
    failing.left = 1
    outcomes = setup.ingest.accept_each([json.dumps(delta(after=2, **fields)).encode()] * 2)
    assert isinstance(outcomes[0], OutOfMemory)
    assert isinstance(outcomes[1], Accepted)
    assert (outcomes[1].seq, outcomes[1].duplicates) == (2, 0)
    assert [entry.seq for entry in setup.queue.entries] == [1, 2]
    assert before[0][0] == 1


def test_a_single_delta_whose_id_cannot_be_remembered_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = Setup()
    failing = Failing(setup.ids.add, MemoryError())
    monkeypatch.setattr(setup.ids, "add", failing)
    before = state_of(setup)
    failing.left = 1
    with pytest.raises(OutOfMemory):
        setup.take(delta(id="x"))
    assert state_of(setup) == before
    assert setup.take(delta(id="x"))["seq"] == 1
    assert setup.take(delta(id="x"))["duplicates"] == 1


def test_where_the_id_of_a_failed_delta_cannot_be_forgotten_nothing_more_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = Setup()
    for target, name in ((setup.sequencer, "append"), (setup.ids, "forget")):
        failing = Failing(getattr(target, name), MemoryError())
        monkeypatch.setattr(target, name, failing)
        failing.left = 1
    with pytest.raises(OutOfMemory):
        setup.take(delta(id="x"))
    with pytest.raises(Unavailable, match="nothing can be recorded: MemoryError"):
        setup.take(delta())


# In steps


FRAME = [delta(sessionId=f"s{n % 3}", after=n, **({"id": f"k{n % 7}"} if n % 2 else {})) for n in range(7)]
Steps = Generator[None, None, Accepted]


def stepped(setup: Setup, deltas: list[dict[str, Any]], entries: list[Entry]) -> Steps:
    """Number a publish in steps, each of one delta."""
    prepared = setup.ingest._preparer.prepare_now(json.dumps(deltas).encode(), None, lines=False)
    return setup.ingest._numbering.steps(prepared, None, setup.clock.now_ms(), entries)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every step number one delta."""
    for name in ("STEP_BYTES", "STEP_LOOKUPS", "CHUNK"):
        monkeypatch.setattr(f"recorder.engine.numbering.{name}", 1)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("deltas", [FRAME, [delta(after=n) for n in range(5)], [*FRAME, FRAME[1]]])
def test_a_publish_numbered_in_steps_gets_what_it_would_get_in_one(deltas: list[dict[str, Any]]) -> None:
    one, other = Setup(), Setup()
    for setup in (one, other):
        setup.take(delta(sessionId="s1", after="before"), delta(id="k1", sessionId="s1", after=1))
    whole: list[Entry] = []
    steps = stepped(other, deltas, whole)
    turns = 0
    try:
        while True:
            assert (other.sequencer.head, other.states.listing(), whole) == (2, one.states.listing(), [])
            next(steps)
            turns += 1
    except StopIteration as done:
        ack = done.value.fields(0)
    assert turns >= len(deltas) - 1
    assert ack == one.take(*deltas)
    assert [columns_of(entry) for entry in whole] == [columns_of(entry) for entry in one.queue.entries[2:]]
    assert other.sequencer.mark() == one.sequencer.mark()
    assert other.states.listing() == one.states.listing()
    assert other.ids._ids == one.ids._ids
    assert other.metrics.duplicates == one.metrics.duplicates


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("change", ["append", "forget", "remember", "go_back"])
def test_a_publish_in_steps_begins_again_where_the_order_has_changed(change: str) -> None:
    setup = Setup()
    setup.take(delta(after="old"))
    entries: list[Entry] = []
    steps = stepped(setup, [delta(after=n) for n in range(3)], entries)
    next(steps)
    if change == "append":
        setup.take(delta(after="between"))
    elif change == "go_back":
        setup.states.put("a", 0, None, None)
        setup.sequencer.go_back(0, GENESIS, "")
    elif change == "forget":
        setup.ingest.forget("a")
    else:
        setup.states.put("a", 0, None, None)
        setup.ingest.remember("a", 1, '"known"')
    accepted = finish(steps)
    first, before = {
        "append": (3, '"between"'),
        "go_back": (1, None),
        "forget": (2, None),
        "remember": (2, '"known"'),
    }[change]
    assert (accepted.first_seq, accepted.seq) == (first, first + 2)
    assert [entry.seq for entry in entries] == [first, first + 1, first + 2]
    assert [entry.before for entry in entries] == [before, "0", "1"]
    kept = setup.queue.entries[: first - 1]
    verify_chain([columns_of(entry) for entry in [*kept, *entries]], GENESIS)


@pytest.mark.usefixtures("small_steps")
def test_a_publish_in_steps_ends_however_often_the_order_changes() -> None:
    setup, entries, spent = Setup(), [], []
    prepared = setup.ingest._preparer.prepare_now(
        json.dumps([delta() for _ in range(5)]).encode(), None, lines=False
    )
    steps = setup.ingest._numbering.steps(prepared, spent.append, setup.clock.now_ms(), entries)
    others = 0
    for _ in steps:
        setup.take(delta(sessionId="other"))
        others += 1
    assert [entry.seq for entry in entries] == list(range(others + 1, others + 6))
    assert spent == [5]


@pytest.mark.usefixtures("small_steps")
def test_an_id_that_is_taken_between_two_steps_is_known_to_the_publish() -> None:
    setup, entries = Setup(), []
    steps = stepped(setup, [delta(id="x"), delta(id="y"), delta(id="z")], entries)
    next(steps)
    setup.take(delta(id="y"))
    accepted = finish(steps)
    assert [(entry.seq, entry.id) for entry in entries] == [(2, "x"), (3, "z")]
    assert (accepted.first_seq, accepted.seq, accepted.highest_seq, accepted.duplicates) == (2, 3, 3, 1)
    setup, entries = Setup(), []
    steps = stepped(setup, [delta(id="x"), delta(id="y"), delta(id="z")], entries)
    next(steps)
    setup.take(delta(id="y", after="other"))
    with pytest.raises(Conflict, match="used at seq 1"):
        finish(steps)
    assert (entries, setup.sequencer.head) == ([], 1)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize(
    ("where", "call"),
    [("ids", 1), *[(where, call) for where in ("deltas", "states") for call in (1, 2, 3)]],
)
def test_a_publish_in_steps_that_finds_no_memory_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, where: str, call: int
) -> None:
    setup, entries = Setup(), []
    setup.take(delta(sessionId="s0", after="kept"))
    before = state_of(setup), dict(setup.ids._ids)
    steps = stepped(setup, [delta(sessionId=f"s{n}", after=n, id=f"k{n}") for n in range(4)], entries)
    target, name = {
        "ids": (setup.ids, "add_all"),
        "states": (setup.states, "_set"),
        "deltas": (sequencer_module, "item_text"),
    }[where]
    failing = Failing(getattr(target, name), MemoryError())
    monkeypatch.setattr(target, name, failing)
    failing.left = call
    with pytest.raises(MemoryError):
        finish(steps)
    assert (state_of(setup), dict(setup.ids._ids), entries) == (*before, [])
    assert setup.take(delta(after=2, id="k0"))["seq"] == 2
    assert setup.queue.fatal_error is None
