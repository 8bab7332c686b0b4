"""Events: what a live entry says is, byte for byte, what the store's SQL says of the same row."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from recorder.core.chain import GENESIS, PLAIN, digest, link
from recorder.core.delta import Delta, Entry
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates
from recorder.store.sqlite import schema
from recorder.store.sqlite.history import ITEM
from recorder.store.sqlite.span import append_rows
from recorder.wire.events import (
    SEPARATOR,
    delta_frame,
    delta_frames,
    event_frame,
    item_text,
    quote,
    state_frame,
)


def payload(frame: bytes) -> bytes:
    """What a client reads of a frame."""
    client = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)
    client.receive_data(frame)
    (event,) = client.events_received()
    assert isinstance(event, Frame)
    return bytes(event.data)


@contextmanager
def recorded(entry: Entry) -> Iterator[sqlite3.Connection]:
    """A database in memory with this one entry."""
    columns: list[Any] = [
        entry.seq, entry.session_id, entry.type, entry.before, entry.after, entry.timestamp, entry.recorded_at,
        entry.id, entry.id_digest, entry.before_filled, entry.lineage, entry.hash,
    ]  # fmt: skip
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        schema.create(conn)
        append_rows(conn, columns, entry.seq, entry.seq)
        yield conn


def sequence(delta: Delta, *, head: int = 0, chained: bool = True, before: str | None = None) -> Entry:
    states = CurrentStates()
    if before is not None:
        states.put(delta.session_id, head, before, None)
    sequencer = Sequencer("01JD3K9V2M", head, GENESIS if chained else None, "", states)
    return sequencer.append(delta, 1_763_640_000_000, b"d" * 32 if delta.id is not None else None)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ODD = st.sampled_from(
    ['"', "\\", "/", "\x7f", "\x80", "\u2028", "\ufeff", "\uffff", "😀", "a b", "'", "%", "{}"]
)
SESSIONS = (
    st.text(st.characters(exclude_categories=["Cs"], min_codepoint=0x20), min_size=1, max_size=20) | ODD
).filter(lambda text: "\x7f" not in text)
IDS = st.none() | TEXT.filter(bool) | ODD | st.sampled_from([*map(chr, range(32)), "\0a\x1e\n"])
STATES = st.sampled_from(
    [
        "0",
        '""',
        "false",
        "{}",
        "1e2",
        "9" * 30,
        '"\\ud800"',
        '{ "a" : [ 1 ,\t2 ] }',
        '"é😀\u2028\x7f"',
        '"\'"',
        "-0.0",
    ]
) | TEXT.map(json.dumps)
TIMES = st.none() | st.just("2026-11-20T12:00:00.000Z")
DELTAS = st.builds(Delta, st.sampled_from(["created", "updated", "deleted"]), SESSIONS, STATES | st.none(),
                   STATES | st.none(), TIMES, IDS)  # fmt: skip


@given(DELTAS, st.integers(0, 2**62), st.booleans(), st.none() | STATES)
@example(Delta("updated", "a", "1", "2", None, "\0"), 0, True, "3")
@example(Delta("updated", "a", None, "2", None, "".join(map(chr, range(1, 128)))), 0, False, "1")
def test_the_live_text_of_an_entry_is_the_text_that_the_store_builds(
    delta: Delta, head: int, chained: bool, before: str | None
) -> None:
    entry = sequence(delta, head=head, chained=chained, before=before)
    with recorded(entry) as conn:
        (text,) = conn.execute(f"SELECT {ITEM} FROM session_deltas").fetchone()
    live = payload(entry.frame)
    assert live == b'{"event":"delta",' + text.encode()[1:]
    assert delta_frame(text.encode()) == entry.frame
    assert SEPARATOR not in text


@given(DELTAS)
def test_a_delta_event_is_json_that_says_what_was_sent(delta: Delta) -> None:
    entry = sequence(delta)
    event = json.loads(payload(entry.frame))
    digest = ["idDigest"] if delta.id is not None else []
    assert list(event) == ["event", "seq", "recordedAt", "hash", *digest, "delta"]
    assert event.get("idDigest") == (b"d".hex() * 32 if delta.id is not None else None)
    assert (event["event"], event["seq"], event["hash"]) == ("delta", 1, (entry.hash or b"").hex())
    assert event["recordedAt"] == "2025-11-20T12:00:00.000Z"
    sent = event["delta"]
    assert (sent["type"], sent["sessionId"], sent.get("id")) == (delta.type, delta.session_id, delta.id)
    assert sent["timestamp"] == (delta.timestamp or event["recordedAt"])
    for name, text in (("before", delta.before), ("after", delta.after)):
        assert (name in sent) == (text is not None)
        if text is not None:
            assert sent[name] == json.loads(text)
            assert f'"{name}":{text}'.encode() in payload(entry.frame)


@given(DELTAS, st.none() | STATES)
@example(Delta("updated", "a", None, "2", None, "k"), "1")
def test_an_event_carries_all_that_its_link_of_the_chain_covers(delta: Delta, before: str | None) -> None:
    entry = sequence(delta, before=before)
    event = json.loads(payload(entry.frame))
    sent = event["delta"]
    computed = link(
        GENESIS,
        event["seq"],
        (sent["sessionId"], sent["type"]),
        tuple(None if text is None else digest(text) for text in (entry.before, entry.after)),
        (sent["timestamp"], event["recordedAt"]),
        (
            sent.get("id"),
            bytes.fromhex(event["idDigest"]) if "idDigest" in event else None,
            event.get("beforeFilled", False),
            event.get("lineage"),
        ),
    )
    assert computed.hex() == event["hash"]


def test_the_text_of_an_item_with_everything_and_with_nothing() -> None:
    time = "2026-11-20T12:00:00.000Z"
    extras = ("k\n", b"\xd0" * 32, True, "broken")
    full = item_text(7, time, bytes(32), ("updated", 's"1'), ("1e2", " 2"), time, extras)
    assert full == (
        f'{{"seq":7,"recordedAt":"{time}","hash":"{"0" * 64}","lineage":"broken",'
        f'"beforeFilled":true,"idDigest":"{"d0" * 32}",'
        f'"delta":{{"type":"updated","sessionId":"s\\"1","before":1e2,"after": 2,"timestamp":"{time}","id":"k\\n"}}}}'
    )
    bare = item_text(7, time, None, ("deleted", "s"), (None, None), time, PLAIN)
    assert bare == (
        f'{{"seq":7,"recordedAt":"{time}","delta":{{"type":"deleted","sessionId":"s","timestamp":"{time}"}}}}'
    )


ERASED = st.tuples(*[st.none() | st.binary(min_size=32, max_size=32)] * 2).filter(any)


@given(DELTAS, st.booleans(), ERASED)
def test_the_text_of_an_erased_entry_is_the_one_that_the_store_builds(
    delta: Delta, chained: bool, erased: tuple[bytes | None, bytes | None]
) -> None:
    entry = sequence(delta, chained=chained)
    entry.before = entry.after = None
    text = item_text(
        entry.seq,
        entry.recorded_at,
        entry.hash,
        (entry.type, entry.session_id),
        (None, None),
        entry.timestamp,
        (entry.id, entry.id_digest, entry.before_filled, entry.lineage),
        erased=erased,
    )
    with recorded(entry) as conn:
        conn.execute("INSERT INTO erased_states VALUES (?, 1, ?, ?)", (entry.seq, *erased))
        assert conn.execute(f"SELECT {ITEM} FROM session_deltas").fetchone() == (text,)
    said = json.loads(text)["erased"]
    assert [said.get(name) for name in ("before", "after")] == [value and value.hex() for value in erased]


def test_a_state_event_carries_the_state_as_it_was_sent() -> None:
    text = payload(state_frame(97, 'a"é', '{ "n": 123456789012345678901234567890 }')).decode()
    assert text == (
        '{"event":"state","seq":97,"sessionId":"a\\"é","state":{ "n": 123456789012345678901234567890 }}'
    )


def test_any_other_event_has_its_fields_in_the_order_given() -> None:
    assert payload(event_frame("pong")) == b'{"event":"pong"}'
    assert payload(event_frame("reset", reason="pruned", oldest=5, head=9, none=None)) == (
        b'{"event":"reset","reason":"pruned","oldest":5,"head":9,"none":null}'
    )


@given(TEXT)
def test_a_quoted_text_reads_back(text: str) -> None:
    assert json.loads(quote(text)) == text


def test_a_lone_surrogate_cannot_be_sent_and_says_so() -> None:
    with pytest.raises(TypeError):
        quote("\ud800")


@given(st.lists(st.integers(1, 300) | st.integers(65_000, 66_000), max_size=8))
def test_frames_of_many_items_are_those_of_each_whatever_their_lengths(sizes: list[int]) -> None:
    items = [b"{" + b"x" * size + b"}" for size in sizes]
    assert delta_frames(items) == b"".join([delta_frame(item) for item in items])
