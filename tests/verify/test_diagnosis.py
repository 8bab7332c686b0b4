"""What was done to a chain, told from the chain alone: any edit, removal, insertion, move, by hypothesis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.core.chain import GENESIS, content, link_content
from recorder.verify import diagnosis
from recorder.verify.diagnosis import Fault, Placed, diagnose, diagnose_gap, diagnose_unhashed


class Chain:
    """`Entries` in memory."""

    def __init__(self, entries: list[Placed]) -> None:
        self._entries = sorted(entries, key=lambda entry: entry.seq)

    def between(self, first: int, last: int) -> list[Placed]:
        return [entry for entry in self._entries if first <= entry.seq <= last]

    def hashes(self) -> Iterator[tuple[int, bytes | None]]:
        return ((entry.seq, entry.hash) for entry in self._entries)

    def fault(self) -> Fault | None:
        """The first fault, found as verification finds it."""
        previous, expected = GENESIS, 1
        for entry in self._entries:
            if entry.seq != expected:
                return diagnose_gap(self, expected, entry.seq - 1, previous)
            if not entry.fits(entry.seq, previous):
                return diagnose(self, entry.seq, previous)
            previous, expected = entry.hash or GENESIS, expected + 1
        return None


def made(count: int, start: int = 1, previous: bytes = GENESIS) -> list[Placed]:
    """A chain of entries."""
    found = []
    for seq in range(start, start + count):
        what = content([b"%d" % seq])
        previous = link_content(previous, seq, what)
        found.append(Placed(seq, what, previous))
    return found


few = settings(max_examples=25)
"""Each example computes thousands of links."""
COUNT = 80
PLACES = st.integers(1, COUNT - 2)


def test_an_untouched_chain_has_no_fault() -> None:
    assert Chain(made(COUNT)).fault() is None


@few
@given(PLACES)
def test_an_edited_content_is_named(at: int) -> None:
    entries = made(COUNT)
    entries[at - 1] = replace(entries[at - 1], content=b"a lie")
    fault = Chain(entries).fault()
    assert fault is not None
    assert (fault.kind, fault.seq, fault.text) == ("edited", at, f"entry {at} is not what was recorded")


@few
@given(PLACES)
def test_an_edited_hash_is_named(at: int) -> None:
    entries = made(COUNT)
    entries[at - 1] = replace(entries[at - 1], hash=bytes(32))
    fault = Chain(entries).fault()
    assert fault is not None
    assert (fault.kind, fault.seq) == ("edited", at)
    assert "its content is" in fault.text


@few
@given(PLACES, st.integers(1, 30))
def test_a_gap_and_what_was_closed_up_behind_a_gap_are_both_told_as_deleted(at: int, count: int) -> None:
    count = min(count, COUNT - at - 2)
    if count < 1:
        return
    kept = [entry for entry in made(COUNT) if not at <= entry.seq < at + count]
    closed = [replace(entry, seq=entry.seq - count * (entry.seq > at)) for entry in kept]
    for entries in (kept, closed):
        fault = Chain(entries).fault()
        assert fault is not None
        assert (fault.kind, fault.seq, fault.through) == ("deleted", at, at + count - 1)


@few
@given(PLACES, st.booleans())
def test_what_was_put_in_is_told(at: int, linked: bool) -> None:
    entries = made(COUNT)
    previous = entries[at - 2].hash if at > 1 else GENESIS
    assert previous is not None
    fake = Placed(at, b"a lie", link_content(previous, at, b"a lie") if linked else bytes(32))
    moved = [replace(entry, seq=entry.seq + (entry.seq >= at)) for entry in entries]
    fault = Chain([*moved, fake]).fault()
    assert fault is not None
    assert (fault.kind, fault.seq, fault.through) == ("inserted", at, at)


@few
@given(PLACES, PLACES)
def test_two_that_were_swapped_are_told(one: int, other: int) -> None:
    first, last = sorted((one, other))
    entries = made(COUNT)
    entries[first - 1], entries[last - 1] = (
        replace(entries[last - 1], seq=first),
        replace(entries[first - 1], seq=last),
    )
    fault = Chain(entries).fault()
    if first == last:
        assert fault is None
        return
    assert fault is not None
    assert (fault.kind, fault.seq, fault.through) == ("reordered", first, last)


@few
@given(PLACES, PLACES)
def test_one_that_was_moved_is_told(source: int, target: int) -> None:
    order = list(range(1, COUNT + 1))
    order.insert(target - 1, order.pop(source - 1))
    by_seq = {entry.seq: entry for entry in made(COUNT)}
    fault = Chain([replace(by_seq[old], seq=new) for new, old in enumerate(order, 1)]).fault()
    if source == target:
        assert fault is None
        return
    assert fault is not None
    assert (fault.kind, fault.seq) == ("reordered", min(source, target))


@few
@given(PLACES, st.integers(1, 10))
def test_hashes_that_were_taken_away_are_not_a_chain_that_was_off(at: int, count: int) -> None:
    entries = made(COUNT)
    last = min(at + count, COUNT) - 1
    before = entries[at - 2].hash if at > 1 else GENESIS
    assert before is not None
    for seq in range(at, last + 1):
        entries[seq - 1] = replace(entries[seq - 1], hash=None)
    fault = diagnose_unhashed(Chain(entries), at, last + 1, before)
    assert fault is not None
    assert (fault.kind, fault.seq, fault.through) == ("edited", at, last)
    off = [*entries[:last], *made(COUNT - last, last + 1)]
    assert diagnose_unhashed(Chain(off), at, last + 1, before) is None


def test_an_entry_far_away_is_found_too() -> None:
    far = diagnosis.NEAR * 60
    entries = made(far + 10)
    entries[4], entries[far] = replace(entries[far], seq=5), replace(entries[4], seq=far + 1)
    fault = Chain(entries).fault()
    assert fault is not None
    assert (fault.kind, fault.seq, fault.through) == ("reordered", 5, far + 1)
    assert "belongs at" in fault.text
