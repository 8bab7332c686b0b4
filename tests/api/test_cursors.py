"""Cursors: what the server gave comes back as it was; whatever else comes is refused."""

from __future__ import annotations

import base64
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.api.cursors import MAX_SEQ, DeltasCursor, SessionsCursor, decode, encode
from recorder.core.errors import InvalidCursor

EPOCH = "01KAGJ5FG0"
SEQS = st.integers(0, MAX_SEQ)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.dictionaries(TEXTS, st.lists(TEXTS, min_size=1, max_size=3), max_size=3)


def by_hand(value: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")


GOOD = {"type": "deltas", "epoch": EPOCH, "session": None, "asked": {}, "order": "asc", "seq": 5}


@given(
    st.builds(DeltasCursor, st.just(EPOCH), st.none() | TEXTS, VALUES, st.sampled_from(["asc", "desc"]), SEQS)
)
def test_a_cursor_of_deltas_comes_back_as_it_was(cursor: DeltasCursor) -> None:
    assert decode(encode(cursor), DeltasCursor, EPOCH) == cursor
    assert set(encode(cursor)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.builds(SessionsCursor, st.just(EPOCH), SEQS, st.none() | SEQS, SEQS))
def test_a_cursor_of_sessions_comes_back_as_it_was(cursor: SessionsCursor) -> None:
    assert decode(encode(cursor), SessionsCursor, EPOCH) == cursor


def test_a_cursor_of_one_list_is_not_one_of_another() -> None:
    with pytest.raises(InvalidCursor):
        decode(encode(SessionsCursor(EPOCH)), DeltasCursor, EPOCH)
    with pytest.raises(InvalidCursor):
        decode(by_hand(GOOD), SessionsCursor, EPOCH)
    assert decode(by_hand(GOOD), DeltasCursor, EPOCH).seq == 5


@pytest.mark.parametrize(
    "change",
    [
        {"seq": -1},
        {"seq": MAX_SEQ + 1},
        {"seq": "5"},
        {"seq": 1.5},
        {"order": "up"},
        {"asked": {"after": []}},
        {"asked": {"after": "5"}},
        {"asked": []},
        {"session": 1},
        {"more": 1},
        {"type": "other"},
        {"epoch": None},
        {"epoch": "01KAGJ5FG1"},
    ],
)
def test_a_cursor_made_by_hand_with_anything_odd_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidCursor):
        decode(by_hand({**GOOD, **change}), DeltasCursor, EPOCH)


@pytest.mark.parametrize("text", ["", "x", "100", "AAAA", "é", "=", "e30", "bnVsbA", "W10", "[" * 5000])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    for kind in (DeltasCursor, SessionsCursor):
        with pytest.raises(InvalidCursor, match="not one that this server gave"):
            decode(text, kind, EPOCH)


@given(st.binary(max_size=80) | st.just(b"[" * 100_000))
def test_any_bytes_are_a_cursor_or_refused(data: bytes) -> None:
    with suppress(InvalidCursor):
        decode(base64.urlsafe_b64encode(data).decode(), DeltasCursor, EPOCH)
