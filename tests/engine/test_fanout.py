"""From one entry to everyone who wants it: once, in order, the same bytes."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import given

from recorder.core.delta import Entry
from recorder.core.errors import RecorderError
from recorder.core.metrics import Metrics
from recorder.engine.fanout import MOST_TICKS, PIECE_BYTES, Batch, Fanout
from recorder.engine.tail import Tail
from recorder.wire.subscribe import Subscription

KINDS = ("created", "updated", "deleted")


class Member:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.then: Callable[[], object] = lambda: None  # done at each delivery
        self.error: RecorderError | None = None  # why it was ended

    @property
    def seqs(self) -> list[int]:
        return [entry.seq for batch in self.batches for entry in batch.entries]

    def deliver(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.then()

    def failed(self, error: RecorderError) -> None:
        self.error = error
        self.then()


class Ticks:
    """A loop whose ticks end when told."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def __call__(self, callback: Callable[[], None]) -> None:
        self.due.append(callback)

    def end(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()


def entry(seq: int, session: str = "s", kind: str = "updated") -> Entry:
    frame = f"{seq},".encode()
    return Entry(seq, session, kind, None, "1", "", "", None, None, False, None, None, frame)


def make() -> tuple[Fanout, Ticks, Metrics]:
    ticks, metrics = Ticks(), Metrics()
    return Fanout(Tail(0), metrics, ticks), ticks, metrics


def wants(sessions: set[str] | None = None, types: set[str] | None = None) -> Subscription:
    return Subscription(
        None if sessions is None else frozenset(sessions), None if types is None else frozenset(types)
    )


def test_the_entries_of_one_tick_arrive_as_one_batch_at_its_end() -> None:
    fanout, ticks, metrics = make()
    member = Member()
    fanout.join(member, wants())
    for seq in (1, 2, 3):
        fanout.publish([entry(seq)])
    assert member.batches == []
    ticks.end()
    assert [batch.wire for batch in member.batches] == [b"1,2,3,"]
    assert member.batches[0].last_seq == 3
    assert (metrics.deliveries, metrics.delivered_bytes) == (3, 6)


def test_members_with_the_same_filter_get_the_very_same_bytes() -> None:
    fanout, ticks, _ = make()
    members = [Member(), Member(), Member()]
    for member in members:
        fanout.join(member, wants({"a", "b"}, {"updated"}))
    fanout.publish([entry(1, "b")])
    ticks.end()
    assert len({id(member.batches[0].wire) for member in members}) == 1


def test_a_flush_before_the_ticks_end_leaves_nothing_for_it() -> None:
    fanout, ticks, _ = make()
    member = Member()
    fanout.join(member, wants())
    fanout.publish([entry(1)])
    fanout.flush()
    ticks.end()
    assert member.seqs == [1]


def test_who_leaves_gets_nothing_more_and_leaving_twice_is_harmless() -> None:
    fanout, ticks, _ = make()
    member, other = Member(), Member()
    fanout.join(member, wants({"a"}))
    fanout.join(other, wants({"a"}))
    fanout.publish([entry(1, "a")])
    fanout.leave(member, wants({"a"}))
    fanout.leave(member, wants({"a"}))
    fanout.leave(member, wants({"never"}))
    ticks.end()
    assert (member.seqs, other.seqs, fanout.receivers) == ([], [1], 1)


def test_a_member_may_leave_while_it_is_being_served_and_take_its_audience_along() -> None:
    fanout, ticks, _ = make()
    member, other = Member(), Member()
    member.then = lambda: fanout.leave(member, wants({"a"}))
    fanout.join(member, wants({"a"}))
    fanout.join(other, wants())
    fanout.publish([entry(1, "a")])
    ticks.end()
    fanout.publish([entry(2, "a")])
    ticks.end()
    assert (member.seqs, other.seqs, fanout.receivers) == ([1], [1, 2], 1)


def test_who_joins_in_the_middle_of_a_tick_after_a_flush_gets_only_what_follows() -> None:
    fanout, ticks, _ = make()
    member = Member()
    fanout.publish([entry(1)])
    fanout.flush()
    fanout.join(member, wants())
    fanout.publish([entry(2)])
    ticks.end()
    assert member.seqs == [2]


filters = st.tuples(
    st.none() | st.sets(st.sampled_from("abcd"), min_size=1),
    st.none() | st.sets(st.sampled_from(KINDS), min_size=1),
)


@given(
    st.lists(filters, min_size=1, max_size=6),
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abcd"), st.sampled_from(KINDS)),
            st.just("tick"),
            st.integers(0, 5),
        ),
        max_size=60,
    ),
)
def test_everyone_gets_exactly_what_it_wants_in_order_while_others_come_and_go(
    wanted: list[tuple[set[str] | None, set[str] | None]], steps: list[object]
) -> None:
    fanout, ticks, metrics = make()
    members = [Member() for _ in wanted]
    live, expected, seq = [False] * len(wanted), [[] for _ in wanted], 0
    for step in steps:
        if isinstance(step, int):
            index = step % len(members)
            # Who comes or goes does so between ticks, as the feed sees to.
            fanout.flush()
            act = fanout.leave if live[index] else fanout.join
            act(members[index], wants(*wanted[index]))
            live[index] = not live[index]
        elif isinstance(step, tuple):
            seq += 1
            session, kind = step
            fanout.publish([entry(seq, session, kind)])
            for index, (sessions, types) in enumerate(wanted):
                matches = (sessions is None or session in sessions) and (types is None or kind in types)
                if live[index] and matches:
                    expected[index].append(seq)
        else:
            ticks.end()
    ticks.end()
    assert [member.seqs for member in members] == expected
    assert metrics.deliveries == sum(map(len, expected))


def test_those_who_are_set_aside_are_not_called_and_share_one_account() -> None:
    fanout, ticks, metrics = make()
    members = [Member() for _ in range(50)]
    for member in members:
        fanout.join(member, wants())
    accounts = {id(fanout.pause(member, wants())) for member in members[1:]}
    assert len(accounts) == 1
    account = fanout.pause(members[0], wants())
    assert account is not None
    for seq, session, kind in ((1, "a", "updated"), (2, "b", "deleted"), (3, "a", "updated")):
        fanout.publish([entry(seq, session, kind)])
        ticks.end()
    assert [member.seqs for member in members] == [[]] * 50
    assert metrics.deliveries == 0
    assert (account.count, account.seq) == (3, 3)
    assert account.touched(0) == {"a": (3, False), "b": (2, True)}
    assert account.touched(2) == {"a": (3, False)}
    fanout.resume(members[0], wants())
    fanout.publish([entry(4)])
    ticks.end()
    assert (members[0].seqs, members[1].seqs) == ([4], [])


def test_an_audience_lasts_while_somebody_is_set_aside_and_its_account_no_longer() -> None:
    fanout, ticks, _ = make()
    one, other = Member(), Member()
    fanout.join(one, wants({"s"}))
    first = fanout.pause(one, wants({"s"}))
    fanout.publish([entry(1), entry(2, "t")])
    ticks.end()
    assert first is not None
    assert first.count == 1
    fanout.join(other, wants({"s"}))
    fanout.leave(one, wants({"s"}))
    again = fanout.pause(other, wants({"s"}))
    assert again is not None
    assert again.count == 0
    fanout.leave(other, wants({"s"}))
    assert fanout._audiences == {}
    assert fanout.pause(other, wants({"s"})) is None
    fanout.resume(other, wants({"s"}))
    assert fanout.receivers == 0


def test_what_is_being_handed_out_is_not_in_the_account_of_one_who_is_set_aside_by_it() -> None:
    """It counts that itself: it knows whether it was written."""
    fanout, ticks, _ = make()
    before, slow = Member(), Member()
    fanout.join(before, wants())
    fanout.join(slow, wants())
    fanout.pause(before, wants())
    counts: list[int] = []

    def too_much() -> None:
        account = fanout.pause(slow, wants())
        assert account is not None
        counts.append(account.count)

    slow.then = too_much
    fanout.publish([entry(1), entry(2)])
    ticks.end()
    fanout.publish([entry(3)])
    ticks.end()
    account = fanout._audiences[None, None, True].skipped
    assert (slow.seqs, counts, account.count - counts[0]) == ([1, 2], [2], 1)


def test_a_receiver_that_raises_is_ended_and_the_others_miss_nothing() -> None:
    fanout, ticks, metrics = make()
    first, broken, last, other = Member(), Member(), Member(), Member()
    for member in (first, broken, last):
        fanout.join(member, wants())
    fanout.join(other, wants({"s"}))
    broken.then = lambda: 1 // 0
    for seq in (1, 2):
        fanout.publish([entry(seq)])
        ticks.end()
    assert (first.seqs, last.seqs, other.seqs) == ([1, 2], [1, 2], [1, 2])
    assert broken.seqs == [1]
    assert isinstance(broken.error, RecorderError)
    assert metrics.callback_errors == {"subscriber": 2}, "at the delivery, and when it was ended"


# Long publishes


def long_one(first: int, count: int) -> list[Entry]:
    """Entries of a publish, each as long as a piece."""
    entries = [entry(seq) for seq in range(first, first + count)]
    for each in entries:
        each.frame = bytes(PIECE_BYTES)
    return entries


def test_a_long_publish_is_delivered_in_pieces_and_what_follows_it_behind_them() -> None:
    fanout, ticks, metrics = make()
    member = Member()
    fanout.join(member, wants())
    fanout.publish([entry(1)])
    fanout.publish(long_one(2, 3))
    fanout.publish([entry(5)])
    seen = []
    while ticks.due:
        assert fanout.is_behind == (len(seen) < 4)
        ticks.end()
        seen.append(member.seqs)
        if len(seen) == 2:
            fanout.publish([entry(6)])
    assert seen == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6]]
    assert metrics.deliveries == 6


def test_a_flush_delivers_all_pieces_and_leaves_nothing_for_the_next_ticks() -> None:
    fanout, ticks, _ = make()
    member = Member()
    fanout.join(member, wants())
    fanout.publish(long_one(1, 5))
    ticks.end()
    fanout.publish([entry(6)])
    fanout.flush()
    assert (member.seqs, len(member.batches), fanout.is_behind) == ([1, 2, 3, 4, 5, 6], 2, False)
    while ticks.due:
        ticks.end()
    assert len(member.batches) == 2


def test_however_many_pieces_wait_they_take_a_bounded_number_of_ticks() -> None:
    fanout, ticks, _ = make()
    member = Member()
    fanout.join(member, wants())
    fanout.publish(long_one(1, 200))
    count = 0
    while ticks.due:
        ticks.end()
        count += 1
    assert member.seqs == list(range(1, 201))
    assert len(member.batches[0].entries) == 13
    assert count < 4 * MOST_TICKS


def test_a_flush_amid_a_delivery_does_not_overtake_it() -> None:
    fanout, ticks, _ = make()
    first, second = Member(), Member()
    first.then = fanout.flush
    for member in (first, second):
        fanout.join(member, wants())
    fanout.publish(long_one(1, 3))
    while ticks.due:
        ticks.end()
    assert first.seqs == second.seqs == [1, 2, 3]


def test_who_joins_amid_a_long_publish_after_a_flush_gets_only_what_follows() -> None:
    fanout, ticks, _ = make()
    early, late = Member(), Member()
    fanout.join(early, wants())
    fanout.publish(long_one(1, 4))
    ticks.end()
    fanout.flush()
    fanout.join(late, wants())
    fanout.publish([entry(5)])
    while ticks.due:
        ticks.end()
    assert (early.seqs, late.seqs) == ([1, 2, 3, 4, 5], [5])


def test_where_a_batch_cannot_be_made_everybody_is_ended_and_nobody_has_a_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fanout, ticks, metrics = make()
    members = [Member(), Member(), Member()]
    for member, subscription in zip(members, (wants({"a"}), wants(), wants()), strict=True):
        fanout.join(member, subscription)
    fanout.pause(members[2], wants())

    def fail(*_: object) -> None:
        raise MemoryError

    fanout.publish([entry(1, "a")])
    with monkeypatch.context() as patch:
        patch.setattr("recorder.engine.fanout.Batch", fail)
        ticks.end()
    assert [member.error is not None for member in members] == [True, True, True]
    assert metrics.callback_errors == {"subscriber": 1}
    fanout.publish([entry(2, "a")])
    ticks.end()
