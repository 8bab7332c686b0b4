"""What is signed, against the description in the module's docstring."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.statements import (
    ErasureReceipt,
    Head,
    PruneReceipt,
    Statement,
    bases_digest,
    erased_digest,
    statement_bytes,
)

HASH = bytes(range(32))
AT = "2026-11-20T12:00:00.000Z"
HEAD = Head("01KAGJ5FG0", 12, 10, HASH, AT, 9)
PRUNE = PruneReceipt(3, 1, 12, 12, None, HASH, AT, "30 days", AT, None)
ERASURE = ErasureReceipt(1, "sess_é", 2, 9, 4, 12, "asked for", AT, HASH)


def stranger(tag: str, values: list[Any]) -> bytes:
    """The bytes, as somebody would put them together who has only read how."""
    out = b""
    for value in [tag, *values]:
        if value is None:
            out += b"\xff\xff\xff\xff"
            continue
        data = value if isinstance(value, bytes) else str(value).encode("utf-8")
        out += len(data).to_bytes(4, "big") + data
    return out


@pytest.mark.parametrize("made", [HEAD, PRUNE, ERASURE], ids=lambda made: made.tag)
def test_a_statement_is_its_tag_and_its_values_in_order(made: Statement) -> None:
    values = [getattr(made, field.name) for field in fields(made)]
    assert statement_bytes(made) == stranger(made.tag, values)


def test_a_statement_of_each_kind_never_changes() -> None:
    # Signatures are kept for years: another form needs another tag.
    known = [hashlib.sha256(statement_bytes(made)).hexdigest()[:16] for made in (HEAD, PRUNE, ERASURE)]
    assert known == KNOWN


KNOWN = ["d5fa565e7a088d88", "caf38721b92b5f7e", "e24222ae78de57e2"]


@pytest.mark.parametrize("made", [HEAD, PRUNE, ERASURE], ids=lambda made: made.tag)
def test_every_value_counts(made: Statement) -> None:
    for field in fields(made):
        value = getattr(made, field.name)
        other = value + 1 if isinstance(value, int) else HASH[::-1] if value is None else value[:-1]
        assert statement_bytes(replace(made, **{field.name: other})) != statement_bytes(made), field.name


@given(st.text(), st.text())
def test_no_two_receipts_have_the_same_bytes(first: str, second: str) -> None:
    one = replace(ERASURE, session_id=first, reason=second)
    two = replace(ERASURE, session_id=first + second, reason="")
    assert (statement_bytes(one) == statement_bytes(two)) == (second == "")


def test_digests_of_bases_and_of_what_was_erased_cover_every_value() -> None:
    base = ("a", 1, AT, HASH)
    others = [("b", 1, AT, HASH), ("a", 2, AT, HASH), ("a", 1, AT[:-1], HASH), ("a", 1, AT, HASH[::-1])]
    assert bases_digest([base]) == hashlib.sha256(stranger("a", [1, AT, HASH])).digest()
    assert len({bases_digest([b]) for b in (base, *others)} | {bases_digest([])}) == 6
    ids = [("i", 1, HASH), ("j", 1, HASH), ("i", 2, HASH), ("i", 1, HASH[::-1])]
    assert len({bases_digest([base], [one]) for one in ids} | {bases_digest([base])}) == 5
    assert erased_digest([(1, None, HASH)]) != erased_digest([(1, HASH, None)])
    assert erased_digest([(1, None, HASH), (2, None, None)]) != erased_digest(
        [(2, None, None), (1, None, HASH)]
    )
