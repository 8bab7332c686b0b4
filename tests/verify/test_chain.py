"""Checking links: any run by itself, in any parts, gives the same."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from recorder.core.chain import GENESIS, link_content
from recorder.verify.chain import KEPT_FAULTS, Stored, Tally, check, content_of


def made(count: int) -> list[Stored]:
    found: list[Stored] = []
    previous = GENESIS
    for seq in range(1, count + 1):
        row = (seq, b"s", b"updated", None, b"%d" % seq, b"T", b"T", None, None, 0, None)
        previous = link_content(previous, seq, content_of((*row, None), {}))
        found.append((*row, previous))
    return found


def result(tally: Tally) -> tuple[object, ...]:
    return (
        tally.seq,
        tally.hash,
        tally.checked,
        tally.unchained,
        tally.bad,
        tally.bad_count,
        tally.gaps,
        tally.off,
    )


@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)), st.integers(1, 31))
def test_parts_that_are_added_up_say_what_the_whole_says(bad: set[int], off: set[int], cut: int) -> None:
    rows = [
        (*row[:11], None if row[0] in off else bytes(32) if row[0] in bad else row[11]) for row in made(30)
    ]
    whole = Tally(0, GENESIS)
    check(whole, rows, {}, frozenset())
    first = Tally(0, GENESIS)
    check(first, [row for row in rows if row[0] < cut], {}, frozenset())
    second = Tally(first.seq, first.hash)
    check(second, [row for row in rows if row[0] >= cut], {}, frozenset())
    first.add(second)
    assert result(first) == result(whole)
    assert whole.unchained == len(off)


def test_one_bad_entry_spoils_no_other() -> None:
    rows = made(10)
    rows[4] = (*rows[4][:4], b"a lie", *rows[4][5:])
    tally = Tally(0, GENESIS)
    check(tally, rows, {}, frozenset({8}))
    assert (tally.bad, tally.bad_count, tally.checked) == ([5, 8], 2, 9)


def test_a_gap_is_told_and_what_follows_it_is_not_counted_as_checked() -> None:
    rows = made(10)
    tally = Tally(0, GENESIS)
    check(tally, rows[:3] + rows[6:], {}, frozenset())
    assert (tally.gaps, tally.bad, tally.checked) == ([(4, 6)], [], 6)


def test_kept_digests_stand_for_what_was_erased_and_hide_nothing_that_is_there() -> None:
    rows = made(3)
    kept = {2: (None, sha256(b"2").digest())}
    rows[1] = (*rows[1][:4], None, *rows[1][5:])
    tally = Tally(0, GENESIS)
    check(tally, rows, kept, frozenset())
    assert tally.bad_count == 0
    rows[1] = (*rows[1][:4], b"a lie", *rows[1][5:])
    tally = Tally(0, GENESIS)
    check(tally, rows, kept, frozenset())
    assert tally.bad == [2]


def test_what_is_remembered_is_bounded_and_what_is_counted_is_not() -> None:
    rows = [(*row[:11], bytes([row[0] % 256] * 32)) for row in made(1000) if row[0] % 2]
    tally = Tally(0, GENESIS)
    check(tally, rows, {}, frozenset(row[0] for row in rows))
    assert (len(tally.bad), len(tally.gaps), tally.bad_count) == (KEPT_FAULTS, KEPT_FAULTS, 500)
