"""Number the deltas of a prepared publish: look up their ids, then append the new ones to the order, all or none.

Invariant: after a publish, either every new delta has its seq and its id is known, or the sequencer and the ids are as
they were before it, whatever was raised. If they can't be rolled back, `on_broken` gets the error and recording ends.

A long publish is numbered in steps, on a branch of the order, and nothing of it is seen by anybody before the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import count
from typing import NamedTuple, TypeVar, cast

from recorder.core.chain import content_digest
from recorder.core.delta import Delta, Entry
from recorder.core.errors import (
    Conflict,
)
from recorder.core.metrics import Metrics
from recorder.engine.answers import Accepted
from recorder.engine.idempotency import RecentIds
from recorder.engine.prepare import Prepared
from recorder.engine.sequencer import BaseSequencer, Branch, Sequencer
from recorder.wire.decode import place_of

Known = tuple[int | None, bytes | None]
"""The seq that a delta's id has already, None where it is new; the digest of its content."""


_UNKNOWN: Known = (None, None)


_NO_ENTRY = cast("Entry", None)
"""Holds the place of an entry in a list, so that the list has grown before the entry is there."""


STEP_BYTES = 512 << 10
"""How many bytes of frames are made in one step, roughly: about 2 ms of work."""
ENTRY_BYTES = 1000
"""What an entry counts beside its frame: the work that does not depend on its length."""
CHUNK = 32
"""How many deltas are numbered before it is asked whether the step is over."""
STEP_LOOKUPS = 500
"""How many ids are looked up in one step."""
TRIES = 3
"""How often a publish is numbered in steps; where the order has changed each time, it is numbered in one."""

Spend = Callable[[int], None]
"""Gets the number of deltas, before any has a seq; raises RecorderError where that is too many."""

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work in steps: it yields after each but the last, and returns its result."""


class Draft(NamedTuple):
    """The deltas of a publish, numbered.

    Args:
        entries: The new ones.
        fresh: The ids of these, with the seq and the digest of the content.
        accepted: The answer to the publish.
    """

    entries: list[Entry]
    fresh: dict[str, tuple[int, bytes]]
    accepted: Accepted


class Numbering:
    """Look up the ids of deltas, and number those that are new.

    Args:
        sequencer: Gives the numbers.
        ids: Knows the ids used lately; only read until a whole publish is accepted.
        metrics: Counts duplicates.
        on_broken: Gets the error if assigned numbers can't be rolled back.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        ids: RecentIds,
        metrics: Metrics,
        on_broken: Callable[[BaseException], None],
    ) -> None:
        self._sequencer = sequencer
        self._ids = ids
        self._metrics = metrics
        self._on_broken = on_broken

    def _look_up(self, prepared: Prepared) -> Steps[dict[int, Known]]:
        """Look up what is known of each delta that has an id, by its index. Raises Conflict."""
        known: dict[int, Known] = {}
        fresh: dict[str, bytes] = {}
        for index, content in prepared.contents.items():
            known[index] = self._known(prepared, index, content, fresh)
            if len(known) % STEP_LOOKUPS == 0:
                yield
        return known

    def _known(self, prepared: Prepared, index: int, content: bytes, fresh: dict[str, bytes]) -> Known:
        """Look up what is known of a delta.

        Args:
            prepared: The publish that it is in.
            index: Which of its deltas.
            content: The digest of the delta's content.
            fresh: The ids that are new in this publish, and the digests of their content; kept up here.

        Raises:
            Conflict: The id was used with other content.
        """
        delta = prepared.deltas[index]
        assert delta.id is not None
        found = self._find(delta, delta.id, content)
        seq, is_same = found or (None, fresh.setdefault(delta.id, content) == content)
        if not is_same:
            raise _conflict(prepared, index, delta.id, seq)
        return seq, content

    def _find(self, delta: Delta, delta_id: str, content: bytes) -> tuple[int, bool] | None:
        """Look an id up as `RecentIds.find` does; also accept the content digest of an older release."""
        found = self._ids.find(delta_id, content)
        if found is None or found[1]:
            return found
        # Older releases made the digest of the markers, too, which the salt is in.
        older = content_digest(delta.type, delta.session_id, delta.before, delta.after, delta.timestamp)
        return found if older == content else self._ids.find(delta_id, older)

    def number(self, prepared: Prepared, spend: Spend | None, now_ms: int, entries: list[Entry]) -> Accepted:
        """Append the deltas of a publish to the order in one step, all or none.

        Args:
            prepared: The publish; it has no error.
            spend: Gets the number of its deltas, once their ids have been looked up.
            now_ms: The time of receipt, milliseconds since the Unix epoch.
            entries: The resulting entries are added here.

        Raises:
            Conflict: An id was used with other content.
            RecorderError: What `spend` raised.
        """
        if len(prepared.deltas) != 1:
            return self._number_some(prepared, spend, now_ms, entries)
        seq, content = self._known(prepared, 0, prepared.contents[0], {}) if prepared.contents else _UNKNOWN
        if spend is not None:
            spend(1)
        if seq is None:
            return self._number_one(prepared.deltas[0], content, now_ms, entries)
        self._metrics.duplicates += 1
        return Accepted(self._sequencer.epoch, seq, seq, 1, seq, 1)

    def steps(
        self, prepared: Prepared, spend: Spend | None, now_ms: int, entries: list[Entry]
    ) -> Steps[Accepted]:
        """Append the deltas of a publish in steps; the arguments and errors are those of `number`.

        The last step is the only one that changes anything. Where the order has changed since the first one, all of them
        are done again. Ids beyond the limit are left to be trimmed.
        """
        for tries in count(1):
            branch = self._sequencer.branch(prepared.deltas)
            steps = self._draft(branch, prepared, spend, now_ms)
            draft = (yield from steps) if tries <= TRIES else finish(steps)
            if branch.is_current:
                break
            spend = None  # it has been asked
        before = len(entries)
        try:
            self._keep(draft, entries)
            branch.merge()
        except BaseException:
            self._roll_back(branch, draft, entries, before)
            raise
        self._metrics.duplicates += draft.accepted.duplicates
        return draft.accepted

    def _number_some(
        self, prepared: Prepared, spend: Spend | None, now_ms: int, entries: list[Entry]
    ) -> Accepted:
        """Append the deltas of a publish right to the order, all or none; a branch knows how the order was."""
        branch, before, draft = self._sequencer.branch(prepared.deltas), len(entries), None
        try:
            draft = finish(self._draft(self._sequencer, prepared, spend, now_ms))
            self._keep(draft, entries)
        except BaseException:
            self._roll_back(branch, draft, entries, before)
            raise
        self._metrics.duplicates += draft.accepted.duplicates
        self._ids.trim(2 * len(draft.fresh))
        return draft.accepted

    def _keep(self, draft: Draft, entries: list[Entry]) -> None:
        """Add the entries of a draft to others, and remember their ids."""
        entries += draft.entries
        self._ids.add_all(draft.fresh)

    def _roll_back(self, branch: Branch, draft: Draft | None, entries: list[Entry], before: int) -> None:
        """Restore everything as it was before a publish; if that fails, end recording.

        Args:
            branch: Began before the publish.
            draft: What was kept of it, wholly or in part; None for nothing.
            entries: Of this and of other publishes.
            before: How many of them are of others.
        """
        try:
            del entries[before:]
            for delta_id in () if draft is None else draft.fresh:
                self._ids.forget(delta_id)
            branch.undo()
        except BaseException as error:
            self._on_broken(error)

    def _number_one(self, delta: Delta, content: bytes | None, now_ms: int, entries: list[Entry]) -> Accepted:
        """Append a single delta without a checkpoint: everything that may fail comes before it gets its seq.

        Args:
            delta: The delta; its id, if it has one, is new.
            content: With an id: the digest of its content.
            now_ms, entries: As in `number`.
        """
        order = self._sequencer
        seq = order.head + 1
        accepted = Accepted(order.epoch, seq, seq, 1, seq)
        entries.append(_NO_ENTRY)
        try:
            if content is not None and delta.id is not None:
                self._ids.add(delta.id, seq, content)
            entries[-1] = order.append(delta, now_ms, content)
        except BaseException:
            entries.pop()
            if delta.id is not None:
                self._forget(delta.id)
            raise
        return accepted

    def _forget(self, delta_id: str) -> None:
        """Forget the id of a delta that got no seq; if that fails, end recording."""
        try:
            self._ids.forget(delta_id)
        except BaseException as error:
            self._on_broken(error)

    def _draft(
        self, order: BaseSequencer, prepared: Prepared, spend: Spend | None, now_ms: int
    ) -> Steps[Draft]:
        """Append the deltas of a publish to an order or a branch of it."""
        deltas = prepared.deltas
        if prepared.contents:
            known = yield from self._look_up(prepared)
            if spend is not None:
                spend(len(deltas))
            return (yield from self._draft_new(order, deltas, known, now_ms))
        if spend is not None:
            spend(len(deltas))
        append, first, done = order.append, order.head + 1, 0
        entries = [append(delta, now_ms, None) for delta in deltas[:CHUNK]]
        for start in range(CHUNK, len(deltas), CHUNK):
            done += _work_of(entries[-CHUNK:])
            if done >= STEP_BYTES:
                done = 0
                yield
            entries += [append(delta, now_ms, None) for delta in deltas[start : start + CHUNK]]
        last = order.head
        return Draft(entries, {}, Accepted(order.epoch, first, last, len(deltas), last))

    def _draft_new(
        self, order: BaseSequencer, deltas: Sequence[Delta], known: dict[int, Known], now_ms: int
    ) -> Steps[Draft]:
        """Append those of some deltas whose ids are not known yet."""
        entries: list[Entry] = []
        fresh: dict[str, tuple[int, bytes]] = {}  # `ids` may hold fewer than the frame has
        seqs: list[int] = []
        done = 0
        for index, delta in enumerate(deltas):
            seq, content = known.get(index, _UNKNOWN)
            if seq is None and delta.id is not None and delta.id in fresh:
                seq = fresh[delta.id][0]
            if seq is None:
                entry = order.append(delta, now_ms, content)
                entries.append(entry)
                seq = entry.seq
                if delta.id is not None and content is not None:
                    fresh[delta.id] = seq, content
                done += len(entry.frame) + ENTRY_BYTES
                if done >= STEP_BYTES:
                    done = 0
                    yield
            seqs.append(seq)
        duplicates = len(seqs) - len(entries)
        accepted = Accepted(order.epoch, seqs[0], seqs[-1], len(seqs), max(seqs), duplicates)
        return Draft(entries, fresh, accepted)


def _work_of(entries: Sequence[Entry]) -> int:
    """Return what some entries count towards `STEP_BYTES`."""
    return sum([len(entry.frame) for entry in entries]) + len(entries) * ENTRY_BYTES


def finish(steps: Steps[T]) -> T:
    """Do work in one step, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result


def _conflict(prepared: Prepared, index: int, delta_id: str, seq: int | None) -> Conflict:
    """Return the error of a delta whose id was used with other content, at a seq or (None) in the same publish."""
    at, place = place_of(prepared.text, index, "id", lines=prepared.lines)
    # A token for some sessions must not learn where the id was used: it may be another session.
    whole = prepared.sessions is None
    used = "earlier in this publish" if seq is None else f"at seq {seq}" if whole else "before"
    return Conflict(
        f"{place}: {delta_id!r} was used {used} with other content",
        hint="an id names one delta for ever; give a new delta a new id",
        index=at,
        place=place,
    )
