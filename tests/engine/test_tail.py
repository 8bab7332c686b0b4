"""The newest entries in memory: gapless, bounded, never without what the store has not."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from recorder.core.delta import Entry
from recorder.core.timestamps import format_ms
from recorder.engine.tail import Tail


def entry(seq: int, *, size: int = 100, at_ms: int | None = None) -> Entry:
    at = format_ms(1_763_640_000_000 + (seq if at_ms is None else at_ms))
    return Entry(
        seq, "s", "updated", None, "1", at, at, None, None, False, None, None, b"x" * size
    )  # fmt: skip


def filled(first: int, last: int, *, max_bytes: int = 1 << 20) -> Tail:
    tail = Tail(first - 1, max_bytes)
    for seq in range(first, last + 1):
        tail.extend([entry(seq)])
    return tail


def seqs(entries: list[Entry] | None) -> list[int] | None:
    return None if entries is None else [item.seq for item in entries]


def test_it_gives_everything_after_a_seq_and_nothing_where_some_is_gone() -> None:
    tail = filled(5, 8)
    assert seqs(tail.after(4)) == [5, 6, 7, 8]
    assert seqs(tail.after(6)) == [7, 8]
    assert seqs(tail.after(8)) == []
    assert tail.after(3) is None


def test_an_empty_one_ends_where_the_recording_ends() -> None:
    tail = Tail(7)
    assert tail.first_seq == 8
    assert tail.after(7) == []
    assert tail.after(6) is None


def test_it_has_the_entries_it_holds_by_their_seq_and_the_hash_of_the_newest() -> None:
    tail = filled(5, 8)
    assert [tail.at(seq) for seq in (0, 4, 9)] == [None] * 3
    assert [found.seq for seq in (5, 8) if (found := tail.at(seq)) is not None] == [5, 8]
    assert (Tail(7).head_hash, Tail(7, head_hash=b"h").head_hash) == (None, b"h")
    chained = entry(9)
    chained.hash = b"9" * 32
    tail.extend([chained])
    assert tail.head_hash == b"9" * 32


def test_what_is_not_recorded_stays_however_much_it_is() -> None:
    tail = filled(1, 50, max_bytes=1000)
    assert tail.first_seq == 1
    tail.recorded(45)
    assert tail.first_seq == 41  # ten of a hundred bytes each
    tail.recorded(50)
    assert seqs(tail.after(40)) == list(range(41, 51))


def test_the_first_entry_of_a_time_is_found_only_where_none_before_could_be_it() -> None:
    tail = Tail(0)
    for seq, at_ms in enumerate((10, 10, 20, 30), 1):
        tail.extend([entry(seq, at_ms=at_ms)])
    at = lambda ms: format_ms(1_763_640_000_000 + ms)  # noqa: E731
    assert tail.first_at(at(5)) is None
    assert tail.first_at(at(10)) is None  # an entry before this run may be of the same millisecond
    assert tail.first_at(at(11)) == 3
    assert tail.first_at(at(20)) == 3
    assert tail.first_at(at(31)) == 5
    assert Tail(9).first_at(at(0)) is None


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 400)), max_size=60),
    st.integers(0, 2000),
)
def test_it_is_gapless_up_to_the_head_and_bounded_by_what_is_recorded(
    steps: list[tuple[bool, int]], max_bytes: int
) -> None:
    tail, head, recorded, sizes = Tail(0, max_bytes), 0, 0, [0]
    for is_append, number in steps:
        if is_append:
            head += 1
            sizes.append(number)
            tail.extend([entry(head, size=number)])
        else:
            recorded = min(head, recorded + number % 7)
            tail.recorded(recorded)
        assert tail.first_seq <= recorded + 1
        assert seqs(tail.after(tail.first_seq - 1)) == list(range(tail.first_seq, head + 1))
        held = sum(sizes[tail.first_seq :])
        assert held <= max_bytes or tail.first_seq == recorded + 1
