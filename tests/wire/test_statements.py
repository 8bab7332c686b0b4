"""Signed statements as JSON: whole there and back, and anything else is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.statements import ErasureReceipt, Head, PruneReceipt, Signature, Signed
from recorder.wire.statements import signed_members, signed_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SEQ = st.integers(0, 2**53)
HASH = st.binary(min_size=32, max_size=32)
BY = st.none() | st.builds(Signature, TEXT, st.binary(max_size=64))
HEADS = st.builds(Head, TEXT, SEQ, SEQ, st.none() | HASH, TEXT, SEQ)
PRUNES = st.builds(
    PruneReceipt, SEQ, SEQ, SEQ, SEQ, st.none() | HASH, st.none() | HASH, TEXT, TEXT, TEXT, st.none() | HASH
)
ERASURES = st.builds(ErasureReceipt, SEQ, TEXT, SEQ, SEQ, SEQ, SEQ, TEXT, TEXT, HASH)


@given(HEADS | PRUNES | ERASURES, BY)
def test_a_signed_statement_survives_json(said: Any, by: Signature | None) -> None:
    text = orjson.dumps(signed_members(Signed(said, by)))
    assert signed_of(type(said), {**orjson.loads(text), "more": 1}) == Signed(said, by)


GOOD = signed_members(Signed(Head("E", 2, 1, bytes(32), "T", 2), Signature("k", b"s")))


def test_the_members_are_those_of_the_protocol() -> None:
    assert list(GOOD) == ["epoch", "seq", "count", "hash", "time", "durable", "key", "signature"]
    assert GOOD["hash"] == "00" * 32


@pytest.mark.parametrize(
    "bad",
    [
        None, [], "x", {}, GOOD | {"seq": "2"}, GOOD | {"seq": True}, GOOD | {"seq": None}, GOOD | {"hash": "0"},
        GOOD | {"hash": "GG"}, GOOD | {"hash": 5}, GOOD | {"epoch": None}, GOOD | {"signature": "x"}, GOOD | {"key": 1},
        {name: value for name, value in GOOD.items() if name != "signature"},
    ],
)  # fmt: skip
def test_anything_else_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"wanted|missing|should be"):
        signed_of(Head, bad)
