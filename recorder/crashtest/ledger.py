"""The answers that the clients of one recording were given, over all its runs, compared with the recording.

A delta is unknown (sent, no answer), acked at a seq, or refused. After a crash every one of the unknown may be there
or not, an acked one must be, as far as was promised, and a refused one must not. Nothing here does I/O: times are
arguments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from recorder.crashtest.workload import number_of

SLACK = 2.0
"""Seconds that a snapshot itself may take beyond its interval, on a machine that others use."""
RESENT = 300
"""How many deltas without an answer are sent again after a restart."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The position that an ack gave to a delta, and when (seconds, monotonic; 0 for before this run)."""

    seq: int
    at: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """The content of a recorder after a restart.

    Args:
        epoch: Its epoch.
        oldest, head: The first seq kept and the last one given.
        rows: (seq, number) of all that is kept, in order; None for one that was never sent.
    """

    epoch: str
    oldest: int
    head: int
    rows: Sequence[tuple[int, int | None]]


@dataclass(slots=True)
class Loss:
    """The deltas that a crash has lost.

    Args:
        acked: Deltas that were acked and are not there.
        shown: Deltas that a subscriber was shown and are not there.
        oldest_ms: How long before the crash the first of the acked ones was acked.
        wrong: Promises that were broken, in words.
    """

    acked: int = 0
    shown: int = 0
    oldest_ms: int = 0
    wrong: list[str] = field(default_factory=list)


class Ledger:
    """The answers that the clients of one recording were given, over all its runs.

    Args:
        commit: Whether the recorder promises that what it acks is on disk.
        window: Seconds of acks that a crash may cost otherwise.
        keep: How many deltas the recorder is told to keep at least; None for all.
    """

    def __init__(self, *, commit: bool, window: float, keep: int | None = None) -> None:
        self.commit = commit
        self._window = 0.0 if commit else window + SLACK
        self._keep = keep
        self._issued = 0  # numbers given
        self._again: deque[int] = deque()  # to be sent once more, one by one
        self._unknown: set[int] = set()  # sent, and no answer yet
        self._refused: set[int] = set()  # answered with an error, and not sent again since
        self.acked: dict[int, Ack] = {}  # by number
        self._shown: dict[int, int] = {}  # number by seq, of the present epoch
        self.epoch = ""  # "" before the first hello
        self.position = "earliest"  # where the subscriber goes on after a restart
        self._seen = 0  # up to where it has got
        self._reset_due = False  # whether it must be told that its position is of another epoch
        self.durable = 0  # the highest seq that was said to be on disk
        self.head = 0  # the highest seq that was acked in this epoch
        self.total_acked = 0  # deltas that were ever acked
        self.total_shown = 0  # deltas that were ever shown
        self.wrong: list[str] = []  # what must not be said, and was

    @property
    def seen(self) -> int:
        """Up to where the subscriber has got."""
        return self._seen

    @property
    def refusals(self) -> int:
        """The number of deltas that remain rejected."""
        return len(self._refused)

    def take(self, most: int) -> list[int]:
        """Return the numbers of the next publish: one that is sent again, or new ones."""
        if self._again:
            numbers = [self._again.popleft()]
        else:
            numbers = list(range(self._issued + 1, self._issued + most + 1))
            self._issued += most
        self._unknown.update(numbers)
        self._refused.difference_update(numbers)
        return numbers

    def ack(self, numbers: Sequence[int], answer: dict[str, Any], at: float) -> None:
        """Register that a publish was acked."""
        first = answer["firstSeq"]
        if answer["seq"] - first + 1 != len(numbers) or answer["count"] != len(numbers):
            self.wrong.append(f"{len(numbers)} deltas were acked as {answer}")
        if self.commit and not answer["durable"]:
            self.wrong.append(f"acked before it was on disk: {answer}")
        if answer["durable"]:
            self.durable = max(self.durable, answer["seq"])
        self.head = max(self.head, answer["seq"])
        for seq, n in enumerate(numbers, first):
            known = self.acked.get(n)
            if known is not None and known.seq != seq:
                self.wrong.append(f"delta {n} was acked at {known.seq} and again at {seq}")
            self.acked[n] = known or Ack(seq, at)
            self.total_acked += known is None
        self._unknown.difference_update(numbers)

    def refuse(self, numbers: Sequence[int], answer: dict[str, Any]) -> None:
        """Register that a publish was answered with an error."""
        if answer.get("code") not in ("store_error", "unavailable", "closed"):
            self.wrong.append(f"refused with {answer}")
        if not self.commit and answer.get("code") == "store_error":
            self.wrong.append(f"an ack waited for the disk: {answer}")
        self._unknown.difference_update(numbers)
        self._refused.update(n for n in numbers if n not in self.acked)
        self._again.extend(numbers)

    def begin(self, hello: dict[str, Any]) -> None:
        """Register a connection's `hello`."""
        if self.epoch not in ("", hello["epoch"]):
            self.wrong.append(f"hello with epoch {hello['epoch']} in {self.epoch}")
        self.epoch = hello["epoch"]
        self.durable = max(self.durable, hello["durable"])

    def see(self, event: dict[str, Any]) -> None:
        """Register an event that a subscriber received."""
        kind = event["event"]
        if kind == "hello":
            self.begin(event)
        elif kind == "heartbeat":
            self.durable = max(self.durable, event["durable"])
        elif kind == "delta":
            self._see_delta(event)
        elif kind == "reset":
            self._see_reset(event)
        elif kind == "live":
            self._see_live(event)
        elif kind == "error":
            self.wrong.append(f"a subscriber was told {event}")

    def audit(self, recorded: Recorded, killed_at: float) -> Loss:
        """Compare what a recorder has after a crash with what was promised before it.

        Args:
            recorded: What it has.
            killed_at: When it was killed, seconds, monotonic.
        """
        loss = Loss()
        at = {seq: n for seq, n in recorded.rows}
        place = {n: seq for seq, n in recorded.rows}
        self._check_form(recorded, place, loss)
        for n, ack in self.acked.items():
            if ack.seq >= recorded.oldest and at.get(ack.seq) != n:
                loss.acked += 1
                age = killed_at - ack.at
                loss.oldest_ms = max(loss.oldest_ms, round(age * 1000))
                if ack.seq <= self.durable or age > self._window:
                    loss.wrong.append(f"delta {n}, acked at {ack.seq} {age:.3f} s before the crash, is gone")
        for seq, n in self._shown.items():
            if seq >= recorded.oldest and at.get(seq) != n:
                loss.shown += 1
                if self.commit or seq <= max(self.durable, recorded.head):
                    loss.wrong.append(f"delta {n} was shown at {seq}, where {at.get(seq)} is now")
        loss.wrong += [f"delta {n} was refused and is at {place[n]}" for n in self._refused if n in place]
        if self.epoch and self.commit != (recorded.epoch == self.epoch):
            loss.wrong.append(f"the epoch was {self.epoch} and is {recorded.epoch}")
        return loss

    def resume(self, recorded: Recorded) -> None:
        """Resume with a restarted recorder: recorded deltas count as acked, the others are sent again."""
        place = {n: seq for seq, n in recorded.rows if n is not None}
        unanswered = sorted(self._unknown)
        lost = [n for n, ack in self.acked.items() if ack.seq >= recorded.oldest and n not in place]
        for n in lost:
            del self.acked[n]
        self.acked.update({n: Ack(seq, 0.0) for n, seq in place.items()})
        self._unknown.clear()
        # Those that turned out to be there, too: they must be acked with the seq they have.
        self._again.extend([*unanswered[:RESENT], *lost[:RESENT]])
        # Whoever comes with a position of another epoch is to be told.
        self._reset_due = self.position != "earliest" and not self.position.startswith(f"{recorded.epoch}:")
        if self.epoch not in ("", recorded.epoch):
            self._shown.clear()
            self.durable = 0
        self.epoch, self.head = recorded.epoch, recorded.head

    def _see_delta(self, event: dict[str, Any]) -> None:
        seq, n = event["seq"], number_of(event["delta"])
        if self._reset_due:
            self.wrong.append(f"{seq} was shown to one with a position of another epoch")
        if seq != self._seen + 1 and self.position != "earliest":
            self.wrong.append(f"{seq} was shown after {self._seen}")
        if n is None or self._shown.setdefault(seq, n) != n:
            self.wrong.append(f"{event['delta']} was shown at {seq}")
        self._reach(seq)
        self.total_shown += 1

    def _see_live(self, event: dict[str, Any]) -> None:
        if self._seen != event["seq"]:
            self.wrong.append(f"live from {event['seq']} on, and {self._seen} was shown last")
        self._reach(event["seq"])

    def _see_reset(self, event: dict[str, Any]) -> None:
        reason = event["reason"]
        if reason != ("epoch_changed" if self._reset_due else "pruned") or (
            reason == "pruned" and not self._keep
        ):
            self.wrong.append(f"a reset that should not be: {event}")
        # The states that follow are of this moment; it has a position again when it is live.
        self._reset_due, self._seen = False, event["head"]

    def _reach(self, seq: int) -> None:
        self._seen, self.position = seq, f"{self.epoch}:{seq}"

    def _check_form(self, recorded: Recorded, place: dict[int | None, int], loss: Loss) -> None:
        seqs = [seq for seq, _ in recorded.rows]
        if seqs != list(range(recorded.oldest, recorded.head + 1)):
            loss.wrong.append(f"not gapless from {recorded.oldest} to {recorded.head}: {len(seqs)} rows")
        if None in place:
            loss.wrong.append(f"what is at {place[None]} was never sent")
        if len(place) != len(seqs):
            loss.wrong.append(f"{len(seqs) - len(place)} deltas are there twice")
        if recorded.head < self.durable:
            loss.wrong.append(
                f"everything up to {self.durable} was said to be on disk; it ends at {recorded.head}"
            )
        if len(seqs) < min(self._keep or recorded.head, recorded.head):
            loss.wrong.append(f"{len(seqs)} are kept, of {recorded.head}")
