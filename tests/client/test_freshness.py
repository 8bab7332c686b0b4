"""Tests of how current a subscription says it is."""

from __future__ import annotations

import pytest

from recorder.client.freshness import Freshness, assess, worst


@pytest.mark.parametrize(
    ("connected", "is_live", "behind", "silent_s", "says"),
    [
        (True, True, 0, 29.0, "live"),
        (True, True, 3, 1.0, "behind 3"),
        (True, False, 7, 1.0, "behind 7"),
        (True, False, 0, 1.0, "behind 0"),
        (True, True, -2, 1.0, "live"),
        (True, True, 0, 30.5, "stale 30 s"),
        (True, True, 5, 31.0, "stale 31 s"),
        (False, True, 0, 1.2, "stale 1 s"),
    ],
)
def test_it_is_live_behind_or_stale(
    connected: bool, is_live: bool, behind: int, silent_s: float, says: str
) -> None:
    freshness = assess(
        connected=connected, is_live=is_live, behind=behind, silent_s=silent_s, heartbeat_s=15.0
    )
    assert str(freshness) == says


def test_the_worst_of_several_is_the_stalest_then_the_one_furthest_behind() -> None:
    live, behind, further = Freshness("live"), Freshness("behind", 2), Freshness("behind", 5)
    stale, staler = Freshness("stale", 0, 3.0), Freshness("stale", 0, 9.0)
    assert worst([live, further, behind]) is further
    assert worst([stale, further, staler]) is staler
    assert worst([live]) is live
    assert worst([]) is None
