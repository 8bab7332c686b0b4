"""Entries that have their place and may not be seen yet: with `DURABILITY=commit`, until they are on disk.

Numbers, the chain and the states run ahead in the sequencer; what subscribers may know (the head, the sessions' states)
follows here, entry by entry, as the store says that they are safe. What the disk refuses is withdrawn: nobody has seen
it, so the sequencer and the states go back to what was released last, and the numbers are given again.
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
            # The digest is asked for only when something is withdrawn: it is computed then.
            self.states.put(entry.session_id, entry.seq, entry.after, None)
        mark = (entry.seq, entry.hash, entry.recorded_at)
        # Until here it could fail, and be done again; an entry that was taken off and not handed out would be a gap.
        for _ in released:
            entries.popleft()
        self.head, self._mark = entry.seq, mark
        return released

    def withdraw(self) -> list[Entry]:
        """Take back all that is not released, as if it had never been accepted; what that was."""
        entries = list(self._entries)
        self._entries.clear()
        self._sequencer.go_back(*self._mark)
        for entry in entries:
            self._ahead.take_from(self.states, entry.session_id)
        return entries
