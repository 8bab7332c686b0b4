"""The memory of ids: bounded, oldest first."""

from __future__ import annotations

from recorder.engine.idempotency import RecentIds


def test_an_id_is_found_with_its_seq_and_content() -> None:
    ids = RecentIds(10)
    ids.add("k", 5, b"digest")
    assert ids.find("k") == (5, b"digest")
    assert ids.find("K") is None


def test_beyond_the_limit_the_oldest_is_forgotten() -> None:
    ids = RecentIds(3)
    for seq in range(1, 6):
        ids.add(f"k{seq}", seq, b"")
    assert [ids.find(f"k{seq}") is not None for seq in range(1, 6)] == [False, False, True, True, True]


def test_being_found_makes_an_id_no_younger() -> None:
    ids = RecentIds(2)
    ids.add("a", 1, b"")
    ids.add("b", 2, b"")
    assert ids.find("a")
    ids.add("c", 3, b"")
    assert ids.find("a") is None


def test_being_used_anew_makes_it_young_again() -> None:
    ids = RecentIds(2)
    ids.add("a", 1, b"old")
    ids.add("b", 2, b"")
    ids.add("a", 3, b"new")
    ids.add("c", 4, b"")
    assert ids.find("a") == (3, b"new")
    assert ids.find("b") is None


def test_with_a_limit_of_none_nothing_is_remembered() -> None:
    ids = RecentIds(0)
    ids.add("k", 1, b"")
    assert ids.find("k") is None


def test_what_the_store_kept_is_taken_over_up_to_the_limit() -> None:
    ids = RecentIds(2)
    ids.load((f"k{seq}", seq, b"x") for seq in (3, 8, 9))
    assert (ids.find("k3"), ids.find("k8"), ids.find("k9")) == (None, (8, b"x"), (9, b"x"))
