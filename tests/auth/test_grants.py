"""What a grant permits: nothing that it does not name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.auth.grants import EVERYTHING, ROLES, Grant, Role
from recorder.core.errors import NotAllowed
from recorder.core.session_filter import Scope, sessions_of

NAMES = st.text("ab/", min_size=1, max_size=3)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_permits_itself_and_admin_permits_all(role: Role) -> None:
    grant = Grant(frozenset({role}))
    for other in ROLES:
        if other == role or role == "admin":
            grant.require(other)
        else:
            with pytest.raises(NotAllowed, match=f"the role '{other}' is needed"):
                grant.require(other)
    EVERYTHING.require(role)
    with pytest.raises(NotAllowed):
        Grant(frozenset()).require(role)


@given(st.frozensets(NAMES, max_size=3), st.lists(NAMES, max_size=2), st.frozensets(NAMES, max_size=3))
def test_a_question_is_narrowed_to_what_is_granted_or_refused(
    names: frozenset[str], prefixes: list[str], asked: frozenset[str]
) -> None:
    granted = sessions_of(names, tuple(prefixes))
    grant = Grant(frozenset({"subscribe"}), granted)
    assert grant.narrow(None) == granted
    may = {name for name in asked if name in names or any(name.startswith(prefix) for prefix in prefixes)}
    assert {name for name in asked if name in granted} == may
    if may == asked:
        assert grant.narrow(asked) == asked
    else:
        with pytest.raises(NotAllowed, match="is not among those of the token"):
            grant.narrow(asked)
    assert EVERYTHING.narrow(asked) == asked


def test_a_grant_for_some_is_none_for_what_tells_of_all() -> None:
    EVERYTHING.require_all_sessions()
    for sessions in (frozenset[str](), frozenset({"a"}), Scope(frozenset(), ("a",))):
        with pytest.raises(NotAllowed, match="this covers all sessions"):
            Grant(frozenset({"admin"}), sessions).require_all_sessions()


def test_a_grant_is_over_at_its_time_and_not_before() -> None:
    grant = Grant(frozenset({"admin"}), expires_ms=1000)
    assert [grant.is_over(now) for now in (0, 999, 1000, 1001)] == [False, False, True, True]
    assert not EVERYTHING.is_over(2**62)


def test_only_a_scope_with_beginnings_is_more_than_a_set() -> None:
    assert sessions_of(frozenset({"a"}), ()) == frozenset({"a"})
    assert sessions_of(frozenset(), ("a",)) == Scope(frozenset(), ("a",))
    assert hash(Scope(frozenset({"a"}), ("b",))) == hash(Scope(frozenset({"a"}), ("b",)))
