"""Entries that have a seq but must not be visible yet: with `DURABILITY=commit`, until they are on disk.

Seqs, the chain and the states run ahead in the sequencer; what subscribers may see (the head, the sessions' states)
follows here, entry by entry, as the store reports them durable. Entries that the disk rejects are rolled back: nobody
has seen them, so the sequencer and the states return to the last released entry, and the seqs are assigned again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import takewhile

from recorder.core.delta import Entry
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates


class Uncommitted:
    """The order as it may be seen. It stands between the sequencer and the hub.

    Args:
        sequencer: Gives the numbers; everything up to its head may be seen now.
        states: The states that the sequencer keeps up.
    """

    def __init__(self, sequencer: Sequencer, states: CurrentStates) -> None:
        self._sequencer = sequencer
        self._ahead = states  # as of the sequencer's head
        self._mark = sequencer.mark()  # the sequencer as of the last entry released
        self._entries: deque[Entry] = deque()  # not released, in order
        self.states = states.copy()  # as of the last entry released
        self.head = sequencer.head  # the highest seq released

    @property
    def epoch(self) -> str:
        """The current epoch."""
        return self._sequencer.epoch

    @property
    def hash(self) -> bytes | None:
        """The chain's hash at the head; None where the chain is off."""
        return self._mark[1]

    def hold(self, entries: Iterable[Entry]) -> None:
        """Keep the next entries back."""
        self._entries.extend(entries)

    def release(self, through: int) -> list[Entry]:
        """Take the entries up to a seq, to be handed out now, in order."""
        entries = self._entries
        released = list(takewhile(lambda entry: entry.seq <= through, entries))
        if not released:
            return released
        for entry in released:
            # The digest is asked for only when something is rolled back: it is computed then.
            self.states.put(entry.session_id, entry.seq, entry.after, None)
        mark = (entry.seq, entry.hash, entry.recorded_at)
        # Up to here a failure can be retried; an entry removed but not handed out would be a gap.
        for _ in released:
            entries.popleft()
        self.head, self._mark = entry.seq, mark
        return released

    def roll_back(self) -> list[Entry]:
        """Take back all that is not released, as if it had never been accepted; what that was."""
        entries = list(self._entries)
        self._entries.clear()
        self._sequencer.go_back(*self._mark)
        for entry in entries:
            self._ahead.take_from(self.states, entry.session_id)
        return entries
