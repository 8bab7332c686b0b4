"""Tests of decoding what a server sends."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.client import decode
from recorder.client.decode import Violation, state_text

DELTA = (
    b'{"event":"delta","seq":7,"recordedAt":"t1","hash":"ab","lineage":"broken",'
    b'"beforeFilled":true,"idDigest":"cd","delta":{"type":"updated",'
    b'"sessionId":"s","before":%b,"after":%b,"timestamp":"t0","id":"i"}}'
)


def decoded_delta(before: bytes, after: bytes) -> decode.DeltaWire:
    wire = decode.decode(DELTA % (before, after))
    assert isinstance(wire, decode.DeltaWire)
    return wire


@pytest.mark.parametrize(
    "state",
    [
        b'{"n":123456789012345678901234567890}',
        b"[1e2, 1.00]",
        b'"\xc3\xa9\\u00e9"',
        b' {"a" : 1}',
        b'"\\ud83d"',
        b'{"deep":["\\udc00",{"\\ud800":1e2}]}',
        b"0",
        b'""',
        b"false",
    ],
)
def test_states_come_out_byte_for_byte_even_with_lone_surrogates(state: bytes) -> None:
    for before, after in ((state, b"1"), (b"1", state), (state, state)):
        wire = decoded_delta(before, after)
        assert (state_text(wire.delta.before), state_text(wire.delta.after)) == (
            before.strip(),
            after.strip(),
        )
        assert (wire.seq, wire.recorded_at, wire.hash, wire.lineage) == (7, "t1", "ab", "broken")
        assert (wire.before_filled, wire.id_digest) == (True, "cd")
        delta = wire.delta
        assert (delta.type, delta.session_id, delta.timestamp, delta.id) == ("updated", "s", "t0", "i")


def test_null_is_the_same_as_absent() -> None:
    assert state_text(decoded_delta(b"null", b"1").delta.before) is None
    wire = decode.decode(
        b'{"event":"delta","seq":1,"recordedAt":"t","delta":{"type":"created","sessionId":"s","timestamp":"t"}}'
    )
    assert isinstance(wire, decode.DeltaWire)
    assert state_text(wire.delta.before) is None
    assert (wire.hash, wire.lineage, wire.before_filled, wire.id_digest) == (None, None, False, None)
    assert wire.hash is None


def test_a_state_event_keeps_a_lone_surrogate() -> None:
    wire = decode.decode(b'{"event":"state","seq":1,"sessionId":"s","state":["\\ud83d"]}')
    assert isinstance(wire, decode.StateWire)
    assert bytes(wire.state) == b'["\\ud83d"]'


@pytest.mark.parametrize(
    "text",
    [
        b'{"event":"weather","seq":"warm","delta":7}',
        b'{"event":"pong"}',
        b'{"event":"weather","x":"\\ud83d"}',
    ],
)
def test_an_unknown_event_is_ignored_whatever_is_in_it(text: bytes) -> None:
    assert decode.decode(text) is None


def test_unknown_fields_are_ignored() -> None:
    wire = decode.decode(b'{"event":"live","seq":3,"mood":"\\u00e9","more":{"a":[1]}}')
    assert isinstance(wire, decode.LiveWire)
    assert wire.seq == 3


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"7",
        b"[]",
        b"{}",
        b"nonsense",
        b'{"event":5}',
        b'{"event":"live"}',
        b'{"event":"live","seq":"3"}',
        b'{"event":"delta","seq":1,"recordedAt":"t","delta":null}',
        b'{"event":"delta","seq":1,"recordedAt":"t","delta":{"type":"created","after":"\\ud83d"}}',
        b'{"event":"live","seq":3',
        b'{"event":"live","seq":3}{}',
        b'{"event":"state","seq":1,"sessionId":"\\ud83d","state":1}',
        b'{"event":"state","seq":1,"sessionId":"s","state":"\xff"}',
        b'{"event":"state","seq":1,"sessionId":"s","state":' + b"[" * 100_000,
    ],
)
def test_anything_else_is_a_violation(text: bytes) -> None:
    with pytest.raises(Violation):
        decode.decode(text)


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: json.dumps({"event": text}).encode()))
def test_nothing_but_a_violation_is_ever_raised(data: bytes) -> None:
    with contextlib.suppress(Violation):
        decode.decode(data)


@given(st.data())
def test_a_damaged_message_is_a_violation_or_another_message(data: st.DataObject) -> None:
    text = bytearray(DELTA % (b'"\\ud83d"', b'{"a":[1,2.5,null]}'))
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Violation):
        decode.decode(bytes(text))
