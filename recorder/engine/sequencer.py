"""The one place where a delta gets its number, its time, its link in the chain and its bytes on the wire.

Synchronous and pure but for its own state: it reads no clock and does no I/O, so two deltas can never race for a
place. Whatever valid delta comes, `append` refuses none. It may still run out of memory: then that delta has no place
and nothing has changed.

The deltas of one publish get their places all or none, and a long publish must not hold the loop: it is numbered on a
`Branch`, beside the order, in as many steps as it needs. `Branch.merge` makes it the order in one step, which is right
as long as nothing has changed the order since the branch began.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from recorder.core import chain
from recorder.core.delta import CREATED, Delta, Entry
from recorder.core.redaction import without_digests
from recorder.core.timestamps import format_ms
from recorder.engine.session_states import CurrentState, CurrentStates, StateChanges, same_json
from recorder.wire.events import EVENT_OPENING, item_text
from recorder.wire.frames import text_frame


class States(Protocol):
    """The current states, as far as appending needs them."""

    def get(self, session_id: str) -> CurrentState | None:
        """Return a session's state; None if it is unknown or deleted."""
        ...

    def put(self, session_id: str, seq: int, text: str | None, text_digest: bytes | None) -> None:
        """Set a session's new state; None if it was deleted."""
        ...


class BaseSequencer:
    """Gives out places, one after the other.

    Args:
        epoch: The current epoch.
        head: The highest seq given so far.
        last_hash: The chain's hash there; None where the chain is off.
        last_recorded_at: The time of recording there (fixed-width form), or "" before the first.
        states: The current states; kept up here.
    """

    def __init__(
        self, epoch: str, head: int, last_hash: bytes | None, last_recorded_at: str, states: States
    ) -> None:
        self.epoch = epoch  # never changes while the process lives
        self.head = head  # the highest seq given
        self._hash = last_hash  # of the entry at `head`
        self._states = states
        self._recorded_at = last_recorded_at  # of the entry at `head`; times of recording never go back
        self._now_ms = -1  # the time that `_now_text` is the text of
        self._now_text = ""

    @property
    def recorded_at(self) -> str:
        """The time at which the head entry was recorded (fixed-width form); "" before the first."""
        return self._recorded_at

    @property
    def chained(self) -> bool:
        """Return whether entries carry a hash."""
        return self._hash is not None

    @property
    def hash(self) -> bytes | None:
        """The chain's hash at the head: what the next link covers; None where the chain is off."""
        return self._hash

    def append(self, delta: Delta, now_ms: int, id_digest: bytes | None) -> Entry:
        """Append a delta to the order.

        Args:
            delta: A valid delta.
            now_ms: The time, milliseconds since the Unix epoch.
            id_digest: With an id: the digest of its content as sent.

        Returns:
            The entry, with `before` filled in where it was left out and known.
        """
        seq = self.head + 1
        recorded_at = self._time(now_ms)
        timestamp = delta.timestamp or self._now_text
        before, before_digest, filled, lineage = self._before(delta)
        extras = (delta.id, id_digest, filled, lineage)
        after_digest, link = None, self._hash
        if link is not None:
            after_digest = None if delta.after is None else chain.digest(delta.after)
            link = chain.link(
                link,
                seq,
                (delta.session_id, delta.type),
                (before_digest, after_digest),
                (timestamp, recorded_at),
                extras,
            )
        event = item_text(
            seq,
            recorded_at,
            link,
            (delta.type, delta.session_id),
            (before, delta.after),
            timestamp,
            extras,
            EVENT_OPENING,
        )
        entry = Entry(
            seq,
            delta.session_id,
            delta.type,
            before,
            delta.after,
            timestamp,
            recorded_at,
            delta.id,
            id_digest,
            filled,
            lineage,
            link,
            text_frame(event.encode()),
        )
        # Only now does anything change: the state first, which may fail and then has not changed either. A head that
        # moved while its entry was lost to a lack of memory would leave a hole that the next start finds.
        self._states.put(delta.session_id, seq, delta.after, after_digest)
        self.head, self._hash, self._recorded_at = seq, link, recorded_at
        return entry

    def _time(self, now_ms: int) -> str:
        if now_ms != self._now_ms:
            self._now_ms, self._now_text = now_ms, format_ms(now_ms)
        # The clock may be set back; the order of recording may not.
        return max(self._now_text, self._recorded_at)

    def _before(self, delta: Delta) -> tuple[str | None, bytes | None, bool, str | None]:
        """Return the state before, its digest, whether it was filled in, and the lineage."""
        last, before = self._states.get(delta.session_id), delta.before
        if before is None:
            if last is None:
                return None, None, False, None
            if delta.type == CREATED:
                # It says that there was no state, but one is recorded: the recorded one ends here.
                return None, None, False, "broken"
            return last.text, last.digest if self.chained else None, True, None
        if last is not None and before == last.text:
            # Use the text already in memory: one copy, and its digest is known.
            return last.text, last.digest if self.chained else None, False, None
        lineage = None if last is None or _is_same(before, last.text) else "broken"
        return before, chain.digest(before) if self.chained else None, False, lineage


class Sequencer(BaseSequencer):
    """The order itself. Made with the arguments of `BaseSequencer`.

    Args:
        states: The current states; kept up here, and read by others.
    """

    def __init__(
        self, epoch: str, head: int, last_hash: bytes | None, last_recorded_at: str, states: CurrentStates
    ) -> None:
        super().__init__(epoch, head, last_hash, last_recorded_at, states)
        self._current = states  # the same, with what only their owner may do
        self._revision = 0  # changes with everything that changes but by `append`

    def forget(self, session_id: str, through: int) -> None:
        """Forget a session's state, unless a delta after a seq has set it: the content was erased."""
        self._revision += 1
        self._current.forget(session_id, through)

    def remember(self, session_id: str, seq: int, text: str) -> None:
        """Restore a session's state, unless a newer one is known: it was not erased after all."""
        self._revision += 1
        if self._current.get(session_id) is None:
            self._current.put(session_id, seq, text, None)

    def mark(self) -> tuple[int, bytes | None, str]:
        """Return the position that the next entry follows: seq, hash, time of recording."""
        return self.head, self._hash, self._recorded_at

    def go_back(self, head: int, last_hash: bytes | None, recorded_at: str) -> None:
        """Go back to a position returned by `mark`, or that of an entry: later ones were rolled back before
        anybody saw them.
        """
        self._revision += 1
        self.head, self._recorded_at = head, recorded_at
        if self.chained:
            self._hash = last_hash

    def branch(self, deltas: Sequence[Delta]) -> Branch:
        """Return a branch that begins here, for these deltas alone."""
        return Branch(self, StateChanges(self._current, [delta.session_id for delta in deltas]))


class Branch(BaseSequencer):
    """Places beside the order, for the deltas of one publish. Made by `Sequencer.branch`.

    Args:
        order: Where it begins, and what it becomes by `merge`.
        changes: Its changes to the states.
    """

    def __init__(self, order: Sequencer, changes: StateChanges) -> None:
        self._began = began = order.mark()
        super().__init__(order.epoch, *began, changes)
        self._now_ms, self._now_text = order._now_ms, order._now_text
        self._order = order
        self._changes = changes
        self._began_at = order._revision

    @property
    def is_current(self) -> bool:
        """Return whether the order is as it was when this began: only then it may be merged."""
        return self._order.mark() == self._began and self._order._revision == self._began_at

    def merge(self) -> None:
        """Make this the order. Where it fails, `undo` takes back what it has changed."""
        assert self.is_current, "the order has changed since"
        self._changes.apply()
        order = self._order
        order.head, order._hash, order._recorded_at = self.head, self._hash, self._recorded_at
        order._now_ms, order._now_text = self._now_ms, self._now_text

    def undo(self) -> None:
        """Restore the order as it was before `merge`."""
        self._changes.undo()
        order = self._order
        order.head, order._hash, order._recorded_at = self._began


def _is_same(before: str, last: str) -> bool:
    """Return whether a state equals the last one recorded; redaction markers may have another salt."""
    if same_json(before, last):
        return True
    plain = without_digests(before)
    return plain is not before and same_json(plain, without_digests(last))
