"""A verdict passes where something was tried and nothing failed, and says what was not tried."""

from __future__ import annotations

import orjson

from recorder.crashtest.report import Part, Verdict


def verdict_of(*parts: Part) -> Verdict:
    return Verdict(7, "here", "2026-11-20T12:00:00.000Z", list(parts))


def test_nothing_tried_is_not_passed() -> None:
    assert not verdict_of().passed
    assert not verdict_of(Part("kills")).passed
    skipped = Part("faults")
    skipped.skip("all faults", "strace is not installed")
    assert not verdict_of(skipped).passed
    assert verdict_of(skipped, Part("kills", cases=1)).passed


def test_one_failure_fails_it_and_stands_in_the_document() -> None:
    part = Part("kills", cases=2)
    part.count("commit", kills=2, lost=0)
    part.count("commit", kills=1, lost=1)
    part.most("commit", oldestLostMs=3)
    part.most("commit", oldestLostMs=2)
    part.fail("kills/commit/0/2", "delta 4 is gone", "there")
    document = orjson.loads(orjson.dumps(verdict_of(part).document()))
    assert (document["passed"], document["seed"]) == (False, 7)
    (found,) = document["parts"]
    assert found["figures"] == {"commit": {"kills": 3, "lost": 1, "oldestLostMs": 3}}
    assert found["failures"] == [{"case": "kills/commit/0/2", "what": "delta 4 is gone", "kept": "there"}]
