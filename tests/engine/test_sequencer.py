"""The sequencer: numbers, times that never go back, `before` filled in and compared, the chain."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core import chain
from recorder.core.delta import Delta, Entry
from recorder.core.timestamps import format_ms
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates

NOW_MS = 1_763_640_000_000
EPOCH = "01JD3K9V2M"


def sequencer(
    *,
    head: int = 0,
    last_hash: bytes | None = chain.GENESIS,
    recorded_at: str = "",
    states: CurrentStates | None = None,
) -> Sequencer:
    return Sequencer(EPOCH, head, last_hash, recorded_at, states or CurrentStates())


def created(after: str, session: str = "a") -> Delta:
    return Delta("created", session, None, after, None, None)


def updated(after: str, before: str | None = None, session: str = "a") -> Delta:
    return Delta("updated", session, before, after, None, None)


def deleted(before: str | None = None, session: str = "a") -> Delta:
    return Delta("deleted", session, before, None, None, None)


def run(*deltas: Delta) -> list[Entry]:
    sequence = sequencer()
    return [sequence.append(delta, NOW_MS, None) for delta in deltas]


# Numbers and times.


def test_numbers_rise_by_one_from_the_head() -> None:
    sequence = sequencer(head=41)
    assert [sequence.append(created("1", str(n)), NOW_MS, None).seq for n in range(3)] == [42, 43, 44]
    assert (sequence.head, sequence.epoch) == (44, EPOCH)


def test_the_time_of_recording_is_the_clocks_and_stands_in_for_a_timestamp() -> None:
    (entry,) = run(created("1"))
    assert entry.recorded_at == entry.timestamp == "2025-11-20T12:00:00.000Z"


def test_a_timestamp_that_was_sent_is_kept() -> None:
    sent = Delta("created", "a", None, "1", "1999-12-31T23:59:59.999Z", None)
    (entry,) = run(sent)
    assert (entry.timestamp, entry.recorded_at) == ("1999-12-31T23:59:59.999Z", "2025-11-20T12:00:00.000Z")


@given(st.lists(st.integers(NOW_MS - 10_000, NOW_MS + 10_000), min_size=1, max_size=20))
def test_the_time_of_recording_never_goes_back_though_the_clock_does(clock: list[int]) -> None:
    sequence = sequencer()
    entries = [sequence.append(created("1", "a"), now_ms, None) for now_ms in clock]
    times = [entry.recorded_at for entry in entries]
    assert times == [format_ms(max(clock[: index + 1])) for index in range(len(clock))]
    # What is said to have happened on receipt happened when the clock said so.
    assert [entry.timestamp for entry in entries] == [format_ms(now_ms) for now_ms in clock]


def test_after_a_restart_the_time_of_recording_does_not_fall_behind_the_last_one() -> None:
    sequence = sequencer(head=7, recorded_at="2030-01-01T00:00:00.000Z")
    assert sequence.append(created("1"), NOW_MS, None).recorded_at == "2030-01-01T00:00:00.000Z"


def test_the_order_is_that_of_arrival_whatever_the_timestamps_say() -> None:
    times = ["2026-01-01T00:00:00.000Z", "2020-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z"]
    entries = run(*[Delta("created", "a", None, "1", time, None) for time in times])
    assert [(entry.seq, entry.timestamp) for entry in entries] == list(enumerate(times, 1))


# `before`, filled in.


def test_a_before_that_was_left_out_is_filled_in_with_the_last_state_byte_for_byte() -> None:
    first, second, third = run(created('{ "n" : 1e2 }'), updated("0"), deleted())
    assert (first.before, first.before_filled) == (None, False)
    assert (second.before, second.before_filled) == ('{ "n" : 1e2 }', True)
    assert (third.before, third.before_filled) == ("0", True)
    assert [entry.lineage for entry in (first, second, third)] == [None, None, None]


@pytest.mark.parametrize("delta", [updated("1"), deleted()])
def test_without_a_last_state_there_is_nothing_to_fill_in(delta: Delta) -> None:
    (entry,) = run(delta)
    assert (entry.before, entry.before_filled, entry.lineage) == (None, False, None)


def test_a_created_delta_never_gets_a_before() -> None:
    assert run(created("1"), created("2"))[1].before is None


def test_a_deleted_session_has_no_last_state() -> None:
    entry = run(created("1"), deleted(), updated("2"))[2]
    assert (entry.before, entry.before_filled) == (None, False)


def test_states_are_kept_by_session() -> None:
    entries = run(created("1", "a"), created("2", "b"), updated("3", session="a"), updated("4", session="b"))
    assert [entry.before for entry in entries] == [None, None, "1", "2"]


@pytest.mark.parametrize("state", ["0", '""', "false", "{}", "[]"])
def test_a_falsy_state_is_a_state(state: str) -> None:
    first, second = run(created(state), updated("1"))
    assert first.after == state
    assert (second.before, second.before_filled) == (state, True)
    kept = run(created("1"), updated("2", before=state))[1]
    assert (kept.before, kept.before_filled, kept.lineage) == (state, False, "broken")


# `before`, compared.


@pytest.mark.parametrize("before", ['{"a":1,"b":[2]}', '{ "b":[2], "a":1.0 }', '{"b":[2e0],"a":1}'])
def test_a_before_that_says_what_was_recorded_last_is_no_break(before: str) -> None:
    entry = run(created('{"a":1,"b":[2]}'), updated("1", before=before))[1]
    assert (entry.before, entry.before_filled, entry.lineage) == (before, False, None)


@pytest.mark.parametrize("before", ['{"a":true}', '{"a":2}', '{"a":"1"}', "{}", "1"])
def test_a_before_that_says_something_else_is_kept_and_marked(before: str) -> None:
    entry = run(created('{"a":1}'), updated("1", before=before))[1]
    assert (entry.before, entry.lineage) == (before, "broken")
    assert b'"lineage":"broken"' in entry.frame


def test_a_before_of_a_session_that_is_not_known_cannot_break_anything() -> None:
    assert run(updated("2", before="1"))[0].lineage is None
    assert run(created("1"), deleted(), updated("2", before="5"))[2].lineage is None


def test_a_deleted_delta_may_break_too() -> None:
    assert run(created("1"), deleted(before="2"))[1].lineage == "broken"


@pytest.mark.parametrize("number", ["1e99999999999999999999", "1e-99999999999999999999", "9" * 5000, "1e400"])
def test_no_number_is_too_odd_to_be_compared(number: str) -> None:
    first, second, third = run(created(number), updated("1", before=number), updated(number, before="2"))
    assert (first.lineage, second.lineage, third.lineage) == (None, None, "broken")


# The entry and the chain.


STATES = st.sampled_from(["0", "1e2", '"\\ud800"', '{ "a":1 }'])
DELTAS = st.builds(
    lambda kind, session, before, after, timestamp, delta_id: Delta(
        kind,
        session,
        None if kind == "created" else before,
        None if kind == "deleted" else after,
        timestamp,
        delta_id,
    ),
    st.sampled_from(["created", "updated", "deleted"]),
    st.sampled_from(["a", "é", "😀" * 256]),
    st.none() | STATES,
    STATES,
    st.none() | st.just("2026-01-01T00:00:00.000Z"),
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4),
)


@given(st.lists(DELTAS, max_size=12))
def test_each_hash_covers_the_row_as_it_is_stored_and_the_hash_before(deltas: list[Delta]) -> None:
    sequence = sequencer()
    previous = chain.GENESIS
    for delta in deltas:
        content = hashlib.sha256(b"content").digest() if delta.id is not None else None
        entry = sequence.append(delta, NOW_MS, content)
        previous = chain.link(
            previous,
            entry.seq,
            (entry.session_id, entry.type),
            (
                None if entry.before is None else chain.digest(entry.before),
                None if entry.after is None else chain.digest(entry.after),
            ),
            (entry.timestamp, entry.recorded_at),
            (entry.id, entry.id_digest, entry.before_filled, entry.lineage),
        )
        assert entry.hash == previous
        assert entry.id_digest == content


@given(st.lists(DELTAS, max_size=8))
def test_with_the_chain_off_everything_but_the_hash_is_the_same(deltas: list[Delta]) -> None:
    with_chain, without = sequencer(), sequencer(last_hash=None)
    assert with_chain.chained
    assert not without.chained
    for delta in deltas:
        one, other = with_chain.append(delta, NOW_MS, None), without.append(delta, NOW_MS, None)
        assert other.hash is None
        assert (one.seq, one.before, one.before_filled, one.lineage) == (
            other.seq, other.before, other.before_filled, other.lineage,
        )  # fmt: skip
        assert b'"hash"' not in other.frame


def test_the_frame_is_the_delta_event_of_the_entry() -> None:
    entry = run(updated("[1]", before="0"))[0]
    event = json.loads(entry.frame[4:])  # a header with the length in two bytes
    assert event["seq"] == 1
    assert event["hash"] == (entry.hash or b"").hex()
    assert event["delta"] == {
        "type": "updated",
        "sessionId": "a",
        "before": 0,
        "after": [1],
        "timestamp": entry.timestamp,
    }


def test_what_comes_in_is_left_as_it_was() -> None:
    delta = updated("2")
    run(created("1"), delta)
    assert (delta.before, delta.timestamp) == (None, None)
