"""The verdict that follows from what was found."""

from __future__ import annotations

import pytest

from recorder.verify.report import Report, Verdict


def test_nothing_checked_is_not_intact() -> None:
    assert Report("x").verdict is Verdict.CANNOT_TELL
    assert Report("x").summary() == "cannot tell: there was nothing to check"
    assert Report("x", checked=1).verdict is Verdict.INTACT


def test_what_is_broken_outweighs_what_cannot_be_told_and_notes_weigh_nothing() -> None:
    report = Report("x", checked=1)
    report.note("head", "worth knowing")
    assert report.verdict is Verdict.INTACT
    report.unknown("head", "no head")
    assert (report.verdict, report.summary()) == (Verdict.CANNOT_TELL, "cannot tell: no head")
    report.broken("base", "a base")
    assert (report.verdict, report.summary()) == (Verdict.BROKEN, "broken; a base")
    assert report.first_bad is None


def test_the_first_bad_entry_is_named_by_what_is_most_exact() -> None:
    report = Report("x", checked=1)
    report.broken("rewritten", "by a head", 7, 9)
    report.broken("erasure", "about the same", 7)
    report.broken("edited", "by its link", 7, 7)
    report.broken("cut", "further on", 12)
    assert report.summary() == "broken; first bad seq 7, edited: by its link"
    assert report.names_entry_up_to(7)
    assert not report.names_entry_up_to(6)


def test_what_was_taken_away_is_said_by_its_rule() -> None:
    report = Report("x", checked=5, pruned=[(1000, "30 days"), (5, "9 deltas"), (1, "30 days")], erased=2)
    assert report.summary() == 'intact; 1,001 pruned under "30 days"; 5 pruned under "9 deltas"; 2 erased'


@pytest.mark.parametrize(("verdict", "code", "words"), [
    (Verdict.INTACT, 0, "intact"), (Verdict.BROKEN, 1, "broken"), (Verdict.CANNOT_TELL, 3, "cannot tell"),
])  # fmt: skip
def test_exit_codes_and_words(verdict: Verdict, code: int, words: str) -> None:
    assert (verdict.value, verdict.words) == (code, words)
