"""The hash chain, against a second implementation made from the recipe in the module's docstring alone."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recorder.core import chain

COLUMNS = (
    "seq", "session_id", "delta_type", "before_state", "after_state", "timestamp", "created_at",
    "delta_id", "id_digest", "before_filled", "lineage",
)  # fmt: skip
STATES = ("before_state", "after_state")


def stranger(previous: bytes, row: dict[str, Any]) -> bytes:
    """The recipe, as somebody would write it who has only read it."""

    def as_bytes(value: Any) -> bytes:
        if isinstance(value, bool):
            return b"1" if value else b"0"
        if isinstance(value, int):
            return str(value).encode("ascii")
        return value if isinstance(value, bytes) else value.encode("utf-8")

    hasher = hashlib.sha256(previous)

    def feed(value: Any) -> None:
        if value is None:
            hasher.update(bytes([255, 255, 255, 255]))
        else:
            data = as_bytes(value)
            hasher.update(len(data).to_bytes(4, "big") + data)

    feed("recorder/chain/1")
    for column in COLUMNS:
        value = row[column]
        if column in STATES and value is not None:
            value = hashlib.sha256(value.encode("utf-8")).digest()
        feed(value)
    return hasher.digest()


def ours(previous: bytes, row: dict[str, Any]) -> bytes:
    before, after = (None if row[name] is None else chain.digest(row[name]) for name in STATES)
    return chain.link(
        previous,
        row["seq"],
        (row["session_id"], row["delta_type"]),
        (before, after),
        (row["timestamp"], row["created_at"]),
        (row["delta_id"], row["id_digest"], row["before_filled"], row["lineage"]),
    )


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
TIMES = st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fullmatch=True)
ROWS = st.fixed_dictionaries(
    {
        "seq": st.integers(1, 2**63 - 1),
        "session_id": TEXT,
        "delta_type": st.sampled_from(["created", "updated", "deleted"]),
        "before_state": st.none() | TEXT,
        "after_state": st.none() | TEXT,
        "timestamp": TIMES,
        "created_at": TIMES,
        "delta_id": st.none() | TEXT,
        "id_digest": st.none() | st.binary(min_size=32, max_size=32),
        "before_filled": st.booleans(),
        "lineage": st.none() | st.just("broken"),
    }
)
ROW: dict[str, Any] = {
    "seq": 1,
    "session_id": "sess_a",
    "delta_type": "updated",
    "before_state": '{"n":0}',
    "after_state": '{"n":1}',
    "timestamp": "2026-11-20T12:00:00.000Z",
    "created_at": "2026-11-20T12:00:00.001Z",
    "delta_id": None,
    "id_digest": None,
    "before_filled": False,
    "lineage": None,
}


@given(st.binary(min_size=32, max_size=32), ROWS)
@example(bytes(32), ROW)
# The longest session id takes 1024 bytes, one more than the lengths that are made in advance.
@example(bytes(32), ROW | {"session_id": "😀" * 256, "delta_id": "😀" * 128, "id_digest": bytes(32)})
@example(bytes(32), ROW | {"session_id": "x" * 1023})
@example(bytes(32), ROW | {"before_filled": True})
def test_the_recipe_in_the_docstring_is_enough_to_verify_an_entry(
    previous: bytes, row: dict[str, Any]
) -> None:
    assert ours(previous, row) == stranger(previous, row)


@given(st.lists(ROWS, max_size=6))
def test_a_chain_begins_at_32_zero_bytes_and_each_hash_is_the_next_ones_beginning(
    rows: list[dict[str, Any]],
) -> None:
    assert bytes(32) == chain.GENESIS
    mine, theirs = chain.GENESIS, bytes(32)
    for row in rows:
        mine, theirs = ours(mine, row), stranger(theirs, row)
    assert mine == theirs


def test_the_recipe_never_changes() -> None:
    # Files are verified by it for years: a change needs a new tag.
    assert ours(chain.GENESIS, ROW).hex() == stranger(chain.GENESIS, ROW).hex()
    assert (
        ours(chain.GENESIS, ROW).hex() == "1f6b126af5b367a2222f50218f92f51fce1316390d4896b1cadfbf3343de45b8"
    )


@pytest.mark.parametrize("column", COLUMNS)
def test_a_change_in_any_column_changes_the_hash(column: str) -> None:
    other = {
        "seq": 2,
        "before_filled": True,
        "id_digest": bytes(32),
        "delta_id": "",
        "lineage": "broken",
        "delta_type": "deleted",
    }
    assert ours(chain.GENESIS, ROW | {column: other.get(column, "other")}) != ours(chain.GENESIS, ROW)


@given(TEXT, TEXT, st.integers(0, 10))
def test_moving_a_character_from_one_column_to_the_next_changes_the_hash(
    one: str, two: str, count: int
) -> None:
    moved = ROW | {"timestamp": one + two[:count], "created_at": two[count:]}
    kept = ROW | {"timestamp": one, "created_at": two}
    assert (ours(chain.GENESIS, moved) == ours(chain.GENESIS, kept)) == (not two[:count])


def test_none_and_an_empty_text_are_not_the_same() -> None:
    assert chain.field(None) != chain.field(b"")
    for column in ("before_state", "after_state", "delta_id", "lineage"):
        assert ours(chain.GENESIS, ROW | {column: None}) != ours(chain.GENESIS, ROW | {column: ""})


@pytest.mark.parametrize("length", [0, 1, 255, 256, 1023, 1024, 1025, 70000])
def test_a_field_is_its_length_in_four_bytes_and_the_value(length: int) -> None:
    assert chain.field(b"x" * length) == length.to_bytes(4, "big") + b"x" * length


CONTENT = st.tuples(
    st.sampled_from(["created", "updated", "deleted"]),
    TEXT,
    st.none() | TEXT,
    st.none() | TEXT,
    st.none() | TIMES,
)


@given(CONTENT, CONTENT)
def test_content_digests_are_the_same_exactly_for_the_same_content(one: Any, other: Any) -> None:
    assert (chain.content_digest(*one) == chain.content_digest(*other)) == (one == other)


def test_a_state_that_was_left_out_is_not_the_same_content_as_an_empty_one() -> None:
    assert chain.content_digest("updated", "a", None, "1", None) != chain.content_digest(
        "updated", "a", "", "1", None
    )
    assert chain.content_digest("updated", "a", None, "1", None) != chain.content_digest(
        "updated", "a", "1", None, None
    )


@given(st.binary(min_size=32, max_size=32), ROWS)
def test_a_link_is_the_place_and_the_content(previous: bytes, row: dict[str, Any]) -> None:
    texts = {name: None if row[name] is None else str(row[name]).encode() for name in COLUMNS[1:]}
    states = {name: None if row[name] is None else chain.digest(row[name]) for name in STATES}
    flags = {"id_digest": row["id_digest"], "before_filled": b"1" if row["before_filled"] else b"0"}
    content = chain.content(list((texts | states | flags).values()))
    assert chain.link_content(previous, row["seq"], content) == ours(previous, row)
