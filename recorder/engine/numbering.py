"""Number the deltas of a prepared publish: look up their ids, then append the new ones to the order, all or none.

Invariant: after a publish, either every new delta has its seq and its id is known, or the sequencer and the ids are as
they were before it, whatever was raised. If they can't be rolled back, `on_broken` gets the error and recording ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from recorder.core.chain import content_digest
from recorder.core.delta import Delta, Entry
from recorder.core.errors import (
    Conflict,
)
from recorder.core.metrics import Metrics
from recorder.engine.answers import Accepted
from recorder.engine.idempotency import RecentIds
from recorder.engine.prepare import Prepared
from recorder.engine.sequencer import Sequencer
from recorder.wire.decode import place_of

Known = tuple[int | None, bytes | None]
"""The seq that a delta's id has already, None where it is new; the digest of its content."""


_UNKNOWN: Known = (None, None)


_NO_ENTRY = cast("Entry", None)
"""Holds the place of an entry in a list, so that the list has grown before the entry is there."""


NOTHING_KNOWN: dict[int, Known] = {}


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

    def known(self, prepared: Prepared) -> dict[int, Known]:
        """Return what is known of each delta that has an id, by its index. Raises Conflict."""
        known: dict[int, Known] = {}
        fresh: dict[str, bytes] = {}  # ids that are new in this very frame, and their content
        for index, content in prepared.contents.items():
            delta_id = prepared.deltas[index].id
            assert delta_id is not None
            seq, is_same = self._find(prepared.deltas[index], delta_id, content) or (
                None,
                fresh.setdefault(delta_id, content) == content,
            )
            if not is_same:
                at, place = place_of(prepared.text, index, "id", lines=prepared.lines)
                # A token for some sessions must not learn where the id was used: it may be another session.
                whole = prepared.sessions is None
                used = "earlier in this publish" if seq is None else f"at seq {seq}" if whole else "before"
                raise Conflict(
                    f"{place}: {delta_id!r} was used {used} with other content",
                    hint="an id names one delta for ever; give a new delta a new id",
                    index=at,
                    place=place,
                )
            known[index] = (seq, content)
        return known

    def _find(self, delta: Delta, delta_id: str, content: bytes) -> tuple[int, bool] | None:
        """Look an id up as `RecentIds.find` does; also accept the content digest of an older release."""
        found = self._ids.find(delta_id, content)
        if found is None or found[1]:
            return found
        # Older releases made the digest of the markers, too, which the salt is in.
        older = content_digest(delta.type, delta.session_id, delta.before, delta.after, delta.timestamp)
        return found if older == content else self._ids.find(delta_id, older)

    def number(
        self, deltas: Sequence[Delta], known: dict[int, Known], now_ms: int, entries: list[Entry]
    ) -> Accepted:
        """Append deltas to the order, all or none; the resulting entries are added to `entries`."""
        if len(deltas) == 1:
            seq, content = known.get(0, _UNKNOWN)
            if seq is None:
                return self._number_one(deltas[0], content, now_ms, entries)
        before, checkpoint = len(entries), self._sequencer.checkpoint(deltas)
        # Ids that are new in this very frame; `ids` may hold fewer than the frame has.
        fresh: dict[str, tuple[int, bytes]] = {}
        try:
            accepted = self._number(deltas, known, now_ms, entries, fresh)
            for delta_id, (seq, content) in fresh.items():
                self._ids.add(delta_id, seq, content)
        except BaseException:
            try:
                del entries[before:]
                for delta_id in fresh:
                    self._ids.forget(delta_id)
                self._sequencer.roll_back(checkpoint)
            except BaseException as error:
                self._on_broken(error)
            raise
        self._metrics.duplicates += accepted.duplicates
        return accepted

    def _number_one(self, delta: Delta, content: bytes | None, now_ms: int, entries: list[Entry]) -> Accepted:
        """Append a single delta without a checkpoint: everything that may fail comes before it gets its seq.

        Args:
            delta: The delta; its id, if it has one, is new.
            content: With an id: the digest of its content.
            now_ms, entries: As in `number`.
        """
        seq = self._sequencer.head + 1
        accepted = Accepted(self._sequencer.epoch, seq, seq, 1, seq)
        entries.append(_NO_ENTRY)
        try:
            if delta.id is not None and content is not None:
                self._ids.add(delta.id, seq, content)
            entries[-1] = self._sequencer.append(delta, now_ms, content)
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

    def _number(
        self,
        deltas: Sequence[Delta],
        known: dict[int, Known],
        now_ms: int,
        entries: list[Entry],
        fresh: dict[str, tuple[int, bytes]],
    ) -> Accepted:
        sequencer = self._sequencer
        start = sequencer.head
        if not known:
            entries += [sequencer.append(delta, now_ms, None) for delta in deltas]
            last = sequencer.head
            return Accepted(sequencer.epoch, start + 1, last, len(deltas), last)
        seqs: list[int] = []
        for index, delta in enumerate(deltas):
            seq, content = known.get(index, _UNKNOWN)
            if seq is None and delta.id is not None and delta.id in fresh:
                seq = fresh[delta.id][0]
            if seq is None:
                entry = sequencer.append(delta, now_ms, content)
                entries.append(entry)
                seq = entry.seq
                if delta.id is not None and content is not None:
                    fresh[delta.id] = seq, content
            seqs.append(seq)
        duplicates = len(seqs) - (sequencer.head - start)
        return Accepted(sequencer.epoch, seqs[0], seqs[-1], len(seqs), max(seqs), duplicates)
