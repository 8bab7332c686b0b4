"""What the ledger holds against a recorder: every promise that was broken, and nothing that was not promised."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from recorder.crashtest.ledger import SLACK, Ledger, Recorded
from recorder.crashtest.workload import delta_of

E1, E2 = "01AAAAAAAA", "01BBBBBBBB"


def ack(first: int, count: int = 1, *, durable: bool = False) -> dict[str, Any]:
    return {"firstSeq": first, "seq": first + count - 1, "count": count, "durable": durable}


def hello(epoch: str = E1, durable: int = 0) -> dict[str, Any]:
    return {"event": "hello", "epoch": epoch, "durable": durable}


def shown(seq: int, n: int) -> dict[str, Any]:
    return {"event": "delta", "seq": seq, "delta": orjson.loads(delta_of(n))}


def recorded(*numbers: int | None, epoch: str = E2, oldest: int = 1) -> Recorded:
    rows = list(enumerate(numbers, oldest))
    return Recorded(epoch, oldest, oldest - 1 + len(rows), rows)


def ledger_of(*, commit: bool, window: float = 1.0, keep: int | None = None) -> Ledger:
    """Three deltas acked at 1 to 3, at the times 10 to 12; the first two were shown."""
    ledger = Ledger(commit=commit, window=window, keep=keep)
    ledger.begin(hello())
    for n in (1, 2, 3):
        assert ledger.take(1) == [n]
        ledger.ack([n], ack(n, durable=commit), 9.0 + n)
    ledger.see(hello())
    for event in (shown(1, 1), shown(2, 2)):
        ledger.see(event)
    assert ledger.wrong == []
    return ledger


@pytest.mark.parametrize("commit", [True, False])
def test_a_recording_that_has_everything_is_found_to_have_lost_nothing(commit: bool) -> None:
    ledger = ledger_of(commit=commit)
    loss = ledger.audit(recorded(1, 2, 3, epoch=E1 if commit else E2), 12.0)
    assert (loss.acked, loss.shown, loss.wrong) == (0, 0, [])


def test_with_commit_one_lost_ack_is_a_broken_promise() -> None:
    loss = ledger_of(commit=True).audit(recorded(1, 2, epoch=E1), 12.0)
    assert loss.acked == 1
    assert any("delta 3, acked at 3" in text for text in loss.wrong)


def test_with_snapshots_acks_within_the_window_may_be_lost_and_are_counted() -> None:
    loss = ledger_of(commit=False).audit(recorded(1), 12.0)
    assert (loss.acked, loss.shown, loss.oldest_ms, loss.wrong) == (2, 1, 1000, [])


def test_with_snapshots_an_ack_from_before_the_window_must_not_be_lost() -> None:
    loss = ledger_of(commit=False).audit(recorded(1), 11.0 + 1.0 + SLACK + 0.1)
    assert [text.split(" ")[1] for text in loss.wrong] == ["2,"]


def test_what_was_said_to_be_on_disk_must_be_there_however_new() -> None:
    ledger = ledger_of(commit=False)
    ledger.see({"event": "heartbeat", "durable": 3})
    loss = ledger.audit(recorded(1, 2), 12.0)
    assert any("said to be on disk" in text for text in loss.wrong)
    assert any(text.startswith("delta 3,") for text in loss.wrong)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((1, 2, 3, 3), "there twice"),
        ((1, 2, 3, None), "never sent"),
        ((2, 1, 3), "acked at 1"),
    ],
    ids=["twice", "foreign", "swapped"],
)
def test_what_is_there_must_be_what_was_sent_once_and_in_its_place(
    rows: tuple[int | None, ...], said: str
) -> None:
    loss = ledger_of(commit=True).audit(recorded(*rows, epoch=E1), 12.0)
    assert any(said in text for text in loss.wrong)


def test_a_gap_is_found() -> None:
    ledger = ledger_of(commit=True)
    loss = ledger.audit(Recorded(E1, 1, 4, [(1, 1), (2, 2), (4, 3)]), 12.0)
    assert any("not gapless" in text for text in loss.wrong)


def test_what_was_refused_must_not_be_there_until_it_is_acked() -> None:
    ledger = ledger_of(commit=True)
    assert ledger.take(2) == [4, 5]
    ledger.refuse([4, 5], {"code": "store_error"})
    assert ledger.refusals == 2
    loss = ledger.audit(recorded(1, 2, 3, 4, epoch=E1), 12.0)
    assert loss.wrong == ["delta 4 was refused and is at 4"]
    assert ledger.take(9) == [4]
    ledger.ack([4], ack(4, durable=True), 12.0)
    assert ledger.audit(recorded(1, 2, 3, 4, epoch=E1), 12.0).wrong == []


def test_an_ack_that_is_not_durable_is_wrong_with_commit_only() -> None:
    for commit in (True, False):
        ledger = Ledger(commit=commit, window=1.0)
        ledger.ack(ledger.take(1), ack(1), 0.0)
        assert bool(ledger.wrong) == commit


def test_a_refusal_for_the_disks_sake_is_wrong_with_snapshots_only() -> None:
    for commit in (True, False):
        ledger = Ledger(commit=commit, window=1.0)
        ledger.refuse(ledger.take(1), {"code": "store_error"})
        assert bool(ledger.wrong) == (not commit)


def test_the_epoch_must_go_on_with_commit_and_must_not_otherwise() -> None:
    for commit in (True, False):
        loss = ledger_of(commit=commit).audit(recorded(1, 2, 3, epoch=E2 if commit else E1), 12.0)
        assert [text for text in loss.wrong if "epoch" in text]


def test_after_a_restart_what_had_no_answer_is_sent_again_and_must_be_acked_where_it_is() -> None:
    ledger = ledger_of(commit=True)
    assert ledger.take(2) == [4, 5]
    ledger.resume(recorded(1, 2, 3, 4, epoch=E1))
    assert ledger.take(9) == [4]
    ledger.ack([4], ack(6, durable=True), 20.0)
    assert ledger.wrong == ["delta 4 was acked at 4 and again at 6"]
    assert ledger.take(9) == [5]
    assert ledger.take(2) == [6, 7]


def test_a_position_of_another_epoch_must_be_answered_with_a_reset() -> None:
    ledger = ledger_of(commit=False)
    ledger.resume(recorded(1))
    assert ledger.position == f"{E1}:2"
    ledger.see(shown(2, 2))
    assert any("another epoch" in text for text in ledger.wrong)

    ledger = ledger_of(commit=False)
    ledger.resume(recorded(1))
    for event in (hello(E2), {"event": "reset", "reason": "epoch_changed", "head": 1}, shown(2, 3)):
        ledger.see(event)
    ledger.see({"event": "live", "seq": 2})
    assert (ledger.wrong, ledger.position) == ([], f"{E2}:2")


def test_with_commit_no_reset_is_due() -> None:
    ledger = ledger_of(commit=True)
    ledger.resume(recorded(1, 2, 3, epoch=E1))
    ledger.see({"event": "reset", "reason": "epoch_changed", "head": 3})
    assert len(ledger.wrong) == 1


@pytest.mark.parametrize("event", [shown(4, 4), shown(2, 2), {"event": "live", "seq": 3}])
def test_a_gap_or_a_repetition_on_the_wire_is_seen(event: dict[str, Any]) -> None:
    ledger = ledger_of(commit=True)
    ledger.see(event)
    assert len(ledger.wrong) == 1


def test_a_delta_whose_bytes_were_changed_on_the_way_is_seen() -> None:
    ledger = ledger_of(commit=True)
    event = shown(3, 3)
    event["delta"]["after"]["pad"] += "y"
    ledger.see(event)
    assert len(ledger.wrong) == 1


def test_what_was_pruned_is_not_lost_but_no_more_may_go_than_was_asked() -> None:
    kept = ledger_of(commit=True, keep=2).audit(recorded(2, 3, epoch=E1, oldest=2), 12.0)
    assert (kept.acked, kept.wrong) == (0, [])
    less = ledger_of(commit=True, keep=2).audit(recorded(3, epoch=E1, oldest=3), 12.0)
    assert less.wrong == ["1 are kept, of 3"]
