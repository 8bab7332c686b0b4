"""The end of a subscription that is the same wherever its events go: a WebSocket, an event stream, this process.

It ties a feed (history, then live) to the conflation of a reader that is too slow, and keeps the position. What differs
is in the subclasses: how events are encoded, where they are queued, and what happens to a reader that is too slow.

Invariant: `position` moves only with what was handed over, so whoever resumes from it misses nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from recorder.core.errors import RecorderError
from recorder.engine.catchup import Feed, Source
from recorder.engine.conflation import Conflation
from recorder.engine.fanout import Batch, Skipped


class BaseSink(ABC):
    """The base of the destinations of one subscription's events.

    Args:
        source: The hub.
    """

    def __init__(self, source: Source) -> None:
        self._feed = Feed(source, self)
        self._conflation = Conflation(source, self)
        self._catching_up = False  # whether history is being sent, at the reader's own pace
        self.position = source.head  # everything that matches, up to here, has been handed over

    @property
    def at_own_pace(self) -> bool:
        """Return whether it is catching up, with history or states."""
        return self._catching_up or self._conflation.is_active

    @property
    def is_live(self) -> bool:
        """Return whether everything that matches, up to the head, has been handed over."""
        return self._feed.is_live and not self._conflation.is_active

    def release(self) -> None:
        """Stop for good, and release what refers to this: cycles would wait for the garbage collector."""
        self._feed.stop()
        self._conflation.stop()
        self._feed.end()
        self._conflation.end()

    def deliver(self, batch: Batch) -> None:
        """Hand over live entries; those that a reader skips that is too slow are counted."""
        # Handed over first: where that is too much, the position in the close reason must not count it.
        if not self._conflation.is_active and self.send_batch(batch):
            self.position = batch.last_seq
        elif self._conflation.is_active:
            self._conflation.skip(batch)

    def send_erased(self, session_id: str, through: int, count: int, erased_at: str) -> None:
        """Send an `erased` event; a conflated reader receives it in order."""
        if self._conflation.is_active:
            self._conflation.erased(session_id, through, count, erased_at)
        else:
            self.send_erased_now(session_id, through, count, erased_at)

    def send_erased_now(self, session_id: str, through: int, count: int, erased_at: str) -> None:
        """Send an `erased` event at once, whatever is in progress."""
        self._feed.tell_erased(session_id, through, count, erased_at)

    def send_live(self, seq: int) -> None:
        """Send `live` after conflation."""
        self._feed.tell_live(seq)

    def pause(self) -> Skipped | None:
        """Pause delivery."""
        return self._feed.pause()

    def resume(self) -> None:
        """Resume delivery."""
        self._feed.resume()

    def catching_up(self, yes: bool) -> None:
        """Register that sending of history begins (True) or is over (False): the reader may then be slow."""
        self._catching_up = yes

    # The subclass has these.

    @abstractmethod
    def send_batch(self, batch: Batch) -> bool:
        """Send live entries; return whether they were handed over."""
        ...

    @abstractmethod
    def send_items(self, items: Sequence[bytes]) -> None:
        """Send deltas from history."""
        ...

    @abstractmethod
    def send_states(self, states: Sequence[tuple[int, str, str]]) -> None:
        """Send a `state` event for each (seq, session id, state)."""
        ...

    @abstractmethod
    def send_event(self, event: str, **fields: Any) -> None:
        """Send any other event."""
        ...

    @abstractmethod
    async def wait_writable(self) -> None:
        """Wait until most of what was handed over has been sent."""
        ...

    @abstractmethod
    def failed(self, error: RecorderError) -> None:
        """End the subscription with an error."""
        ...
