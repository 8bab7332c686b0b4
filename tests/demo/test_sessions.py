"""Synthetic sessions: the same seed the same deltas, each valid, each session from its plan to its end."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice, pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.core.delta import CREATED, DELETED, UPDATED, Delta
from recorder.demo.sessions import demo_deltas
from recorder.wire.decode import decode_text

STATUSES = {"pending", "in_progress", "completed", "failed"}


def some(seed: int, count: int, sessions: int = 8) -> list[Delta]:
    return [decode_text(text, 262_144)[0] for text in islice(demo_deltas(seed, sessions), count)]


def by_session(deltas: list[Delta]) -> dict[str, list[Delta]]:
    found: dict[str, list[Delta]] = defaultdict(list)
    for delta in deltas:
        found[delta.session_id].append(delta)
    return found


def test_the_same_seed_gives_the_same_deltas_and_another_gives_others() -> None:
    first = list(islice(demo_deltas(7), 500))
    assert first == list(islice(demo_deltas(7), 500))
    other = some(8, 500)
    assert not {delta.session_id for delta in some(7, 500)} & {delta.session_id for delta in other}


@settings(max_examples=20)
@given(st.integers(), st.integers(1, 12))
def test_every_session_is_created_changes_and_ends(seed: int, sessions: int) -> None:
    for deltas in by_session(some(seed, 600, sessions)).values():
        kinds = [delta.type for delta in deltas]
        assert kinds[0] == CREATED
        assert set(kinds[1:-1]) <= {UPDATED}
        assert kinds[-1] in (CREATED, UPDATED, DELETED)
        assert all(delta.timestamp is None and delta.id is None for delta in deltas)
        for before, delta in pairwise(deltas):
            assert delta.before == before.after
        told = [orjson.loads(delta.after) for delta in deltas if delta.after is not None]
        assert {state["planStatus"] for state in told} <= STATUSES
        if kinds[-1] == DELETED:
            assert told[-1]["planStatus"] in ("completed", "failed")
            assert told[-1]["result"]


def test_over_time_everything_happens_that_happens_to_agents() -> None:
    told = [orjson.loads(delta.after) for delta in some(1, 5000) if delta.after is not None]
    assert {state["planStatus"] for state in told} == STATUSES
    assert {state["tool"]["status"] for state in told if "tool" in state} == {
        "running",
        "succeeded",
        "failed",
    }
    assert {state["approval"]["status"] for state in told if "approval" in state} == {
        "requested",
        "granted",
        "denied",
    }
    assert max(state["tool"].get("attempt", 1) for state in told if "tool" in state) == 3
    assert {step["status"] for state in told for step in state["plan"]} == {
        "pending", "in_progress", "completed", "failed", "skipped",
    }  # fmt: skip


def test_no_braces_are_left_to_be_filled_in() -> None:
    words = [orjson.loads(delta.after or "0") for delta in some(3, 3000)]
    texts = orjson.dumps(
        [[state["task"], state.get("tool"), state.get("result")] for state in words if state]
    )
    assert b"{module}" not in texts
    assert not {b"{n}", b"{s}", b"{line}", b"{ticket}", b"{file}", b"{service}"} & set(texts.split(b'"'))


def test_deltas_are_of_a_believable_size() -> None:
    sizes = [len(text) for text in islice(demo_deltas(5), 3000)]
    assert min(sizes) >= 300
    assert max(sizes) <= 3072
    assert 600 < sum(sizes) / len(sizes) < 2500


@pytest.mark.parametrize("sessions", [1, 3, 20])
def test_as_many_sessions_are_under_way_as_were_asked_for(sessions: int) -> None:
    live: dict[str, str] = {}
    most = 0
    for delta in some(2, 2000, sessions):
        if delta.type == DELETED:
            del live[delta.session_id]
        else:
            live[delta.session_id] = orjson.loads(delta.after or "{}")["planStatus"]
        most = max(most, sum(status in ("pending", "in_progress") for status in live.values()))
        assert len(live) <= 2 * sessions + 2
    assert most == sessions


@pytest.mark.parametrize("sessions", [0, -1])
def test_no_session_at_all_is_refused_at_once(sessions: int) -> None:
    with pytest.raises(ValueError, match="sessions: must be at least 1"):
        demo_deltas(1, sessions)
