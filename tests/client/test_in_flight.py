"""Tests of frames under way: order, bounds, and what may be sent twice."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.client.encode import Frame
from recorder.client.in_flight import Entry, InFlight


def frame(text: bytes = b"x", *, is_repeatable: bool = True) -> Frame:
    return Frame(text, 1, is_repeatable)


def filled(*repeatable: bool) -> InFlight[int]:
    window: InFlight[int] = InFlight(100, 1000)
    for owner, is_repeatable in enumerate(repeatable):
        window.add(frame(is_repeatable=is_repeatable), owner)
    return window


def sent(window: InFlight[int]) -> list[int]:
    owners = []
    while (entry := window.next()) is not None:
        owners.append(entry.owner)
    return owners


def test_frames_are_sent_and_answered_in_their_order() -> None:
    window = filled(True, True, True)
    assert sent(window) == [0, 1, 2]
    assert [window.answered().owner for _ in range(3)] == [0, 1, 2]
    assert len(window) == 0
    assert window.oldest is None
    with pytest.raises(IndexError):
        window.answered()


def test_there_is_room_for_so_many_frames_and_so_many_bytes() -> None:
    window: InFlight[int] = InFlight(2, 10)
    assert window.has_room(11)  # alone, however long
    window.add(frame(b"12345678"), 0)
    assert window.has_room(2)
    assert not window.has_room(3)
    window.add(frame(b"1"), 1)
    assert not window.has_room(1)
    window.next()
    window.answered()
    assert window.has_room(9)


def test_after_a_cut_what_has_ids_is_sent_again_first_and_the_rest_is_uncertain() -> None:
    window = filled(True, False, True, True)
    for _ in range(3):
        window.next()
    window.answered()
    lost = window.cut()
    assert [entry.owner for entry in lost] == [1]
    assert sent(window) == [2, 3]


def test_what_was_never_sent_is_never_uncertain() -> None:
    window = filled(False, False)
    assert window.cut() == []
    assert sent(window) == [0, 1]


def test_a_frame_that_nobody_waits_for_is_not_sent() -> None:
    window: InFlight[int] = InFlight(100, 10)
    entries = [window.add(frame(b"12345"), owner) for owner in range(2)]
    window.abandon(entries[0])
    assert sent(window) == [1]
    assert window.has_room(5)


def test_a_frame_that_was_sent_keeps_its_place_though_nobody_waits() -> None:
    window: InFlight[int] = InFlight(100, 1000)
    entries = [window.add(frame(), owner) for owner in range(2)]
    sent(window)
    window.abandon(entries[0])
    assert window.answered().owner == 0
    assert window.answered().owner == 1


def test_a_frame_that_nobody_waits_for_is_not_sent_again() -> None:
    window: InFlight[int] = InFlight(100, 1000)
    entries = [window.add(frame(), owner) for owner in range(2)]
    sent(window)
    window.abandon(entries[0])
    assert [entry.owner for entry in window.cut()] == [0]
    assert sent(window) == [1]


def test_the_frame_that_was_too_long_is_found_by_sending_one_at_a_time() -> None:
    window = filled(True, True, True)
    sent(window)
    assert window.cut_too_long() is None
    assert window.cut() == []
    assert sent(window) == [0]
    window.answered()
    assert sent(window) == [1]
    culprit = window.cut_too_long()
    assert culprit is not None
    assert culprit.owner == 1
    assert window.cut() == []
    assert sent(window) == [2]


def test_when_those_that_were_under_way_are_answered_it_goes_on_at_full_width() -> None:
    window = filled(True, True)
    sent(window)
    window.cut_too_long()
    window.cut()
    for owner in range(2):
        assert sent(window) == [owner]
        window.answered()
    for owner in (2, 3, 4):
        window.add(frame(), owner)
    assert sent(window) == [2, 3, 4]


def test_giving_up_tells_what_may_have_been_recorded() -> None:
    window = filled(True, True, True)
    window.next()
    window.cut()  # 0 was sent once, and waits to be sent again
    window.next()
    entries = window.clear()
    assert [(entry.owner, entry.was_sent) for entry in entries] == [(0, True), (1, False), (2, False)]
    assert len(window) == 0
    assert window.has_room(10**9)


@dataclass
class Server:
    """Records each id once; says how often each frame was recorded."""

    ids: set[int] = field(default_factory=set)
    order: list[int] = field(default_factory=list)

    def take(self, entry: Entry[int]) -> None:
        if entry.frame.is_repeatable and entry.owner in self.ids:
            return
        self.ids.add(entry.owner)
        self.order.append(entry.owner)


@settings(max_examples=150)
@given(st.lists(st.booleans(), max_size=8), st.data())
def test_whatever_is_cut_each_frame_is_recorded_once_or_uncertain(
    repeatable: list[bool], data: st.DataObject
) -> None:
    window, server = filled(*repeatable), Server()
    acked: list[int] = []
    uncertain: list[int] = []
    on_wire: list[Entry[int]] = []  # sent, not yet at the server
    answers: list[Entry[int]] = []  # taken by the server, the ack not yet here
    while len(window) > 0:
        match data.draw(st.sampled_from(["send", "send", "arrive", "arrive", "answer", "answer", "cut"])):
            case "send":
                entry = window.next()
                on_wire += [entry] if entry is not None else []
            case "arrive" if on_wire:
                server.take(on_wire[0])
                answers.append(on_wire.pop(0))
            case "answer" if answers:
                entry = answers.pop(0)
                assert window.answered() is entry
                acked.append(entry.owner)
            case "cut":
                uncertain += [entry.owner for entry in window.cut()]
                on_wire, answers = [], []
    # In order, none twice, and none acked that is not recorded.
    assert server.order == sorted(set(server.order))
    assert acked == sorted(set(acked))
    assert set(acked) <= set(server.order)
    # Everything has one outcome, and only what has no id can be uncertain.
    assert sorted(acked + uncertain) == list(range(len(repeatable)))
    assert not any(repeatable[owner] for owner in uncertain)


def test_what_was_not_taken_goes_again_after_the_cut_before_what_followed_it() -> None:
    window = filled(False, True, True, True)
    assert sent(window) == [0, 1, 2, 3]
    window.not_taken()
    assert not window.is_stalled  # answers are due
    window.answered()
    window.not_taken()
    window.add(frame(), 4)
    assert sent(window) == []
    assert window.cut() == []
    assert sent(window) == [0, 2, 3, 4]


def test_it_stalls_where_a_frame_was_not_taken_and_no_answer_is_due() -> None:
    window = filled(True)
    window.next()
    assert not window.is_stalled
    window.not_taken()
    assert window.is_stalled
    assert len(window) == 1
    window.cut()
    assert not window.is_stalled


def test_what_was_not_taken_and_is_abandoned_is_forgotten() -> None:
    window: InFlight[int] = InFlight(2, 2)
    entries = [window.add(frame(), owner) for owner in range(2)]
    sent(window)
    window.abandon(entries[0])
    window.not_taken()
    window.not_taken()
    window.abandon(entries[1])
    assert len(window) == 0
    assert window.has_room(2)


def test_what_was_not_taken_is_certain_when_everything_is_given_up() -> None:
    window = filled(False, False)
    sent(window)
    window.not_taken()
    assert [(entry.owner, entry.was_sent) for entry in window.clear()] == [(0, False), (1, True)]
