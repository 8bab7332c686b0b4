"""The memory of ids: the last ones whole, the others in an index as long as the store keeps them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.chain import digest
from recorder.engine import idempotency
from recorder.engine.idempotency import IdIndex, RecentIds

OLD, NEW = digest("old"), digest("new")


def test_an_id_is_found_with_its_seq_and_whether_its_content_is_the_same() -> None:
    ids = RecentIds(10)
    ids.add("k", 5, OLD)
    assert ids.find("k", OLD) == (5, True)
    assert ids.find("k", NEW) == (5, False)
    assert ids.find("K", OLD) is None


def test_where_nothing_is_recorded_the_oldest_is_forgotten_beyond_the_limit() -> None:
    ids = RecentIds(3)
    for seq in range(1, 6):
        ids.add(f"k{seq}", seq, OLD)
    assert [ids.find(f"k{seq}", OLD) is not None for seq in range(1, 6)] == [False, False, True, True, True]


def test_being_found_makes_an_id_no_younger() -> None:
    ids = RecentIds(2)
    ids.add("a", 1, OLD)
    ids.add("b", 2, OLD)
    assert ids.find("a", OLD)
    ids.add("c", 3, OLD)
    assert ids.find("a", OLD) is None


def test_being_used_anew_makes_it_young_again() -> None:
    ids = RecentIds(2)
    ids.add("a", 1, OLD)
    ids.add("b", 2, OLD)
    ids.add("a", 3, NEW)
    ids.add("c", 4, OLD)
    assert ids.find("a", NEW) == (3, True)
    assert ids.find("b", OLD) is None


def test_with_a_limit_of_none_nothing_is_remembered() -> None:
    ids = RecentIds(0, lambda: 0)
    ids.add("k", 1, OLD)
    assert ids.find("k", OLD) is None


def test_a_scan_in_the_order_of_the_first_one_finds_every_id_beyond_the_limit() -> None:
    ids = RecentIds(100, lambda: 0)
    for scan in range(2):
        for seq in range(1, 1101):
            found = ids.find(f"k{seq}", OLD)
            assert found == (None if scan == 0 else (seq, True))
            if found is None:
                ids.add(f"k{seq}", seq, OLD)
    assert ids.find("k1", NEW) == (1, False)


def test_what_the_store_keeps_no_longer_is_not_known_beyond_the_limit() -> None:
    oldest = 0
    ids = RecentIds(2, lambda: oldest)
    ids.load((f"k{seq}", seq, OLD) for seq in range(1, 9))
    assert [seq for seq in range(1, 9) if ids.find(f"k{seq}", OLD)] == list(range(1, 9))
    oldest = 5
    assert [seq for seq in range(1, 9) if ids.find(f"k{seq}", OLD)] == [5, 6, 7, 8]
    oldest = 9
    assert [seq for seq in range(1, 9) if ids.find(f"k{seq}", OLD)] == [7, 8]


def test_what_is_rolled_back_is_forgotten_wherever_it_is() -> None:
    ids = RecentIds(1, lambda: 0)
    for seq, name in enumerate("abc", 1):
        ids.add(name, seq, OLD)
    ids.forget("a")
    ids.forget("c")
    ids.forget("never")
    assert [ids.find(name, OLD) for name in "abc"] == [None, (2, True), None]


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=200), st.integers(0, 60))
def test_the_index_is_a_dictionary_of_what_is_kept(steps: list[tuple[int, bool]], oldest: int) -> None:
    index, model = IdIndex(lambda: oldest), dict[str, int]()
    for seq, (number, is_added) in enumerate(steps):
        name = f"k{number}"
        if is_added and name not in model:
            index.add(name, seq, OLD)
            model[name] = seq
        elif not is_added:
            index.remove(name)
            model.pop(name, None)
    found = {f"k{n}": index.find(f"k{n}", OLD) for n in range(41)}
    assert {name: each[0] for name, each in found.items() if each} == {
        name: seq for name, seq in model.items() if seq >= oldest
    }


def test_the_index_holds_no_more_than_twice_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "BUCKETS", 1)
    oldest, kept = 0, 200
    index = IdIndex(lambda: oldest)
    for seq in range(8 * kept):
        oldest = seq - kept
        index.add(f"k{seq}", seq, OLD)
        assert len(index) <= 2 * kept + 1


@pytest.mark.parametrize("kept", [True, False])
def test_what_was_added_beyond_the_limit_goes_bit_by_bit(kept: bool) -> None:
    ids = RecentIds(3, (lambda: 0) if kept else None)
    ids.add_all({f"k{seq}": (seq, OLD) for seq in range(1, 11)})
    assert len(ids._ids) == 10
    assert ids.trim(2)
    assert len(ids._ids) == 8
    ids.add("k11", 11, OLD)
    assert len(ids._ids) == 7  # one more than came
    assert not ids.trim(100)
    assert list(ids._ids) == ["k9", "k10", "k11"]
    assert [ids.find(f"k{seq}", OLD) for seq in range(1, 9)] == [
        (seq, True) if kept else None for seq in range(1, 9)
    ]


def test_an_id_that_finds_no_memory_in_the_index_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    ids = RecentIds(1, lambda: 0)
    with monkeypatch.context() as patch:
        patch.setattr(IdIndex, "add", fail)
        for seq in (1, 2, 3):
            ids.add(f"k{seq}", seq, OLD)
        assert not ids.trim(5)
        assert list(ids._ids) == ["k1", "k2", "k3"]
    assert not ids.trim(5)
    assert [ids.find(f"k{seq}", OLD) for seq in (1, 2, 3)] == [(1, True), (2, True), (3, True)]
