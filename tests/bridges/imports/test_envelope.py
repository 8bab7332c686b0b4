"""The rules of a delta, as sources keep them: what they let through is what the recorder takes, and no less."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.bridges.imports import envelope, rawjson
from recorder.bridges.imports.records import Unfit
from recorder.core.delta import MAX_DEPTH, MAX_ID
from recorder.core.errors import InvalidDelta
from recorder.wire.decode import decode_text
from tests.support.jsontexts import STATES

LARGE = 262_144
TEXTS = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(
    ["x" * 128, "x" * 129, "x" * 256, "x" * 257]
)
TIMES = st.sampled_from(
    ["2026-11-20T12:00:00Z", "2026-11-20T12:00:00+01:00", "2026-11-20", "2026-02-30T12:00:00Z", "",
     "0001-01-01T00:00:00+01:00"]
)  # fmt: skip
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["created", "updated", "deleted", "Created", 1, None]),
        "sessionId": TEXTS | st.just(3),
        "before": st.none() | st.just({"n": 1}),
        "after": st.none() | st.just({"n": 1}),
        "timestamp": TIMES | st.none() | st.just(3),
        "id": TEXTS | st.none() | st.just([]),
        "other": st.just(1),
    },
)


@given(FIELDS)
def test_a_delta_is_fit_just_when_the_recorder_takes_it(fields: dict[str, Any]) -> None:
    text = json.dumps(fields).encode()
    try:
        decode_text(text, LARGE)
    except InvalidDelta:
        with pytest.raises(Unfit):
            envelope.check(rawjson.members(text))
    else:
        envelope.check(rawjson.members(text))


@given(st.sampled_from(["created", "updated", "deleted"]), TEXTS, st.none() | STATES, st.none() | STATES)
def test_what_is_built_the_recorder_takes_as_it_was_meant(
    kind: str, session: str, before: str | None, after: str | None
) -> None:
    states = (before and before.encode(), after and after.encode())
    try:
        text = envelope.build(
            kind, session, states, timestamp="2026-11-20T12:00:00.000Z", delta_id="i", max_bytes=LARGE
        )
    except Unfit:
        assert (
            not envelope.is_session_id(session)
            or (kind == "created" and before is not None)
            or (kind == "deleted") != (after is None)
        )
    else:
        (delta,) = decode_text(text, LARGE)
        assert (delta.type, delta.session_id, delta.before, delta.after) == (kind, session, before, after)
        assert (delta.timestamp, delta.id) == ("2026-11-20T12:00:00.000Z", "i")


def test_null_is_no_state() -> None:
    text = envelope.build("deleted", "s", (b"null", b"null"), max_bytes=LARGE)
    assert text == b'{"type":"deleted","sessionId":"s"}'
    with pytest.raises(Unfit, match="after: required for type 'updated'"):
        envelope.build("updated", "s", (b"1", b"null"), max_bytes=LARGE)


def test_a_delta_is_as_large_as_allowed_and_no_larger() -> None:
    size = len(envelope.build("created", "s", (None, b"1"), max_bytes=LARGE))
    envelope.build("created", "s", (None, b"1"), max_bytes=size)
    with pytest.raises(Unfit, match=rf"would have {size} bytes, at most {size - 1} are allowed") as caught:
        envelope.build("created", "s", (None, b"1"), max_bytes=size - 1)
    assert caught.value.hint == "MAX_DELTA_BYTES sets the limit"


def test_a_state_is_as_deep_as_allowed_and_no_deeper() -> None:
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    text = envelope.build("updated", "s", (deepest, deepest), max_bytes=LARGE)
    assert len(decode_text(text, LARGE)) == 1
    for name, states in (("before", (b"[%b]" % deepest, b"1")), ("after", (None, b"[%b]" % deepest))):
        with pytest.raises(Unfit, match=f"^{name}: must not nest deeper than 500$"):
            envelope.build("updated", "s", states, max_bytes=LARGE)


def test_a_session_that_is_refused_is_shown_short_and_escaped() -> None:
    with pytest.raises(Unfit) as caught:
        envelope.build("deleted", "\x1b" + "x" * 5000, (None, None), max_bytes=LARGE)
    assert len(caught.value.reason) < 200
    assert caught.value.reason.isprintable()


@given(st.lists(st.binary(max_size=4), max_size=3), st.lists(st.binary(max_size=4), max_size=3))
def test_an_id_says_the_same_for_the_same_content_and_for_no_other(
    one: list[bytes], other: list[bytes]
) -> None:
    assert (envelope.content_id("x", *one) == envelope.content_id("x", *other)) == (one == other)
    assert len(envelope.content_id("claude-code", *one)) <= MAX_ID
