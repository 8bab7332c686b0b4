"""Where a token stands in a request, whole, and what is not clear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.auth.static_tokens import MAX_TOKEN, chosen_subprotocol, split_subprotocols, token_of
from recorder.core.errors import NotAuthenticated


@pytest.mark.parametrize(
    ("authorization", "subprotocols", "token"),
    [
        ([], [], None),
        (["Bearer a.b.c"], [], "a.b.c"),
        (["bearer  a "], [], "a"),
        ([], ["bearer.a.b.c"], "a.b.c"),
        ([], ["chat", "bearer.a"], "a"),
        ([], ["Bearer.a", "bearer"], None),
        (["Bearer a"], ["bearer.a"], "a"),
        ([f"Bearer {'x' * MAX_TOKEN}"], [], "x" * MAX_TOKEN),
    ],
)
def test_a_token_is_taken_whole_from_the_one_place_or_the_other(
    authorization: list[str], subprotocols: list[str], token: str | None
) -> None:
    assert token_of(authorization, subprotocols) == token


@pytest.mark.parametrize(
    ("authorization", "subprotocols"),
    [
        (["Basic a"], []),
        (["a"], []),
        ([""], []),
        (["Bearer"], []),
        (["Bearer "], []),
        ([], ["bearer."]),
        (["Bearer a", "Bearer a"], []),
        (["Bearer a"], ["bearer.b"]),
        ([], ["bearer.a", "bearer.b"]),
        ([f"Bearer {'x' * (MAX_TOKEN + 1)}"], []),
    ],
)
def test_what_is_no_clear_token_is_refused(authorization: list[str], subprotocols: list[str]) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        token_of(authorization, subprotocols)
    assert "xxx" not in str(refused.value)


def test_of_what_is_offered_the_token_alone_is_echoed() -> None:
    offered = split_subprotocols(["chat,bearer.a.b", " v1 "])
    assert offered == ["chat", "bearer.a.b", "v1"]
    assert chosen_subprotocol(offered) == "bearer.a.b"
    assert chosen_subprotocol(["chat"]) is None


@given(st.lists(st.text(max_size=20), max_size=3), st.lists(st.text(max_size=20), max_size=3))
def test_any_headers_carry_a_token_or_none_or_are_refused(headers: list[str], offered: list[str]) -> None:
    try:
        token = token_of(headers, offered)
    except NotAuthenticated:
        return
    assert token is None or token in "\n".join([*headers, *offered])
