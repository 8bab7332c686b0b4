"""The ingest: all or none, one order, idempotent by id, held back when full, closed and failed."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.errors import (
    Conflict,
    InvalidDelta,
    InvalidJson,
    RecorderError,
)
from recorder.engine.answers import Accepted
from tests.support.ingest import EPOCH, Setup, delta, refused


def test_an_ack_names_the_first_and_the_last_place_and_the_count() -> None:
    setup = Setup()
    assert setup.take(delta()) == {"epoch": EPOCH, "firstSeq": 1, "seq": 1, "count": 1, "durable": False}
    accepted = setup.ingest.accept(json.dumps([delta(), delta(), delta()]).encode())
    assert (accepted.first_seq, accepted.seq, accepted.count, accepted.highest_seq) == (2, 4, 3, 4)
    assert accepted.fields(3)["durable"] is False
    assert accepted.fields(4)["durable"] is True
    assert orjson.loads(accepted.ack(4)) == {"event": "ack"} | accepted.fields(4)


def test_what_is_broadcast_and_what_is_recorded_is_the_same_in_the_same_order() -> None:
    setup = Setup()
    setup.take(delta(), delta(sessionId="b"))
    setup.ingest.accept_lines(b'{"type":"deleted","sessionId":"a"}\n\n{"type":"deleted","sessionId":"b"}\n')
    assert setup.wire.entries == setup.queue.entries
    assert [entry.seq for entry in setup.queue.entries] == [1, 2, 3, 4]
    assert setup.metrics.accepted == 4


def test_what_nobody_watches_is_recorded() -> None:
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
    ingest = setup.ingest
    assert (ingest.recorded, ingest.durable, ingest.is_full, ingest.fatal_error) == (1, 0, False, None)


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
            accepted = setup.ingest.accept(json.dumps(frame).encode())
        except Conflict:
            assert len(setup.wire.entries) == head
            continue
        new = [entry.id for entry in setup.wire.entries[head:]]
        assert len(new) == accepted.count - accepted.duplicates
        assert len({name for name in new if name}) == len([name for name in new if name])
        assert accepted.highest_seq <= len(setup.wire.entries)
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
            singly.append(one.ingest.accept(text))
        except RecorderError as error:
            singly.append(str(error))
    assert [outcome(each) for each in all_.ingest.accept_each(texts)] == singly
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
        setup.ingest.accept_each(texts, spend)
    assert [entry.session_id for entry in setup.wire.entries] == ["a", "b"]
    assert setup.wire.entries == setup.queue.entries


def test_a_refusal_is_counted_by_its_code() -> None:
    setup = Setup()
    for text, kind in ((b"{", InvalidJson), (b"{}", InvalidDelta), (b"{}", InvalidDelta)):
        assert type(refused(setup, text)) is kind
    assert setup.metrics.refused == {"invalid_json": 1, "invalid_delta": 2}
