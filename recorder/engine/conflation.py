"""Conflate a reader that cannot keep up, instead of closing it (`?slow=conflate`).

From the moment it is too slow nothing more is written to it; the deltas it misses are counted, with their sessions.
When it has read what was written, `conflated` reports what was skipped, and for each of those sessions a `state` event
gives the current state (`null` if it was deleted; `erased` if its content was erased), at the reader's pace. Deltas
that arrive meanwhile are skipped in the same way, so it may take several rounds until `live` ends the conflation. The
reader can fetch what it skipped, starting at `from`.

All conflated readers of an audience share one count of what they miss (`fanout.Skipped`): a delta costs the same for
one of them and for a thousand.

Invariant: a reader gets every matching delta, or a `conflated` whose range covers it; never half of it. A reader that
reads nothing at all is closed as usual, by its socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from recorder.core.errors import RecorderError, Unavailable
from recorder.engine.catchup import MAX_STATES, NULL_SINK, Source, states_at_once
from recorder.engine.fanout import Batch, Skipped

State = tuple[int, str, str]
Erased = tuple[int, int, str]
"""Through which seq, how many, when."""


class Reader(Protocol):
    """A reader that is too slow for every delta."""

    position: int  # everything that matches, up to this seq, has been handed over

    def send_states(self, states: Sequence[State]) -> None:
        """Send the state of each (seq, session id, state)."""
        ...

    def send_event(self, event: str, **fields: Any) -> None:
        """Send any other event."""
        ...

    def send_erased_now(self, session_id: str, through: int, count: int, erased_at: str) -> None:
        """Send an `erased` event at once."""
        ...

    def send_live(self, seq: int) -> None:
        """Send `live`: from now on deltas are sent as they happen."""
        ...

    def pause(self) -> Skipped | None:
        """Pause delivery; return what counts the skipped deltas, None if it is not live yet."""
        ...

    def resume(self) -> None:
        """Resume delivery."""
        ...

    def failed(self, error: RecorderError) -> None:
        """End the subscription with an error."""
        ...

    async def wait_writable(self) -> None:
        """Wait until most of what was written has been sent."""
        ...


class Conflation:
    """The conflation for one reader that asked for it.

    Args:
        source: The hub.
        reader: Whom.
    """

    def __init__(self, source: Source, reader: Reader) -> None:
        self._source = source
        self._reader = reader
        self._task: asyncio.Task[None] | None = None  # while the reader is behind
        # Skipped and not reported yet: deltas handed over all the same, and those in `_skipped` since `_mark`.
        self._count = 0  # deltas
        self._touched: dict[str, tuple[int, bool]] = {}  # their sessions: the last seq, whether it deleted
        self._skipped: Skipped | None = None  # what was skipped, while it is paused
        self._mark = 0, 0  # the account's count and seq then
        self._erased: dict[str, Erased] = {}  # erasures that are not reported yet, by session

    @property
    def is_active(self) -> bool:
        """Return whether the reader is being conflated: then only this object may write to it."""
        return self._task is not None

    def start(self) -> None:
        """Start conflation: the reader is too slow."""
        if self._task is None:
            self._source.metrics.conflations += 1
            self._set_aside()
            self._task = self._source.spawn(self)

    def stop(self) -> None:
        """Stop: the reader has left or starts a new subscription."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            self._skipped = None
            self._reader.resume()
        self._count, self._touched, self._erased = 0, {}, {}

    def end(self) -> None:
        """Release the reader for good, after `stop`."""
        self._reader = NULL_SINK

    def skip(self, batch: Batch) -> None:
        """Count what it was handed and is not written."""
        # It has become live since, perhaps.
        if self._skipped is None:
            self._set_aside()
        self._count += len(batch.entries)
        for entry in batch.entries:
            self._touched[entry.session_id] = entry.seq, entry.type == "deleted"

    def erased(self, session_id: str, through: int, count: int, erased_at: str) -> None:
        """Register that a session's content was erased; the reader is told in order, as it may not have
        received it yet.
        """
        self._erased[session_id] = through, count, erased_at

    def _set_aside(self) -> None:
        self._skipped = self._reader.pause()
        if self._skipped is not None:
            self._mark = self._skipped.count, self._skipped.seq

    @property
    def _has_news(self) -> bool:
        """Return whether there is something to send."""
        account = self._skipped
        return bool(self._count or self._erased or (account is not None and account.count > self._mark[0]))

    def _take_news(self) -> tuple[int, dict[str, tuple[int, bool]], dict[str, Erased]]:
        """Take what is to be sent: the number of deltas, their sessions, and the erasures."""
        count, self._count = self._count, 0
        touched, self._touched = self._touched, {}
        erased, self._erased = self._erased, {}
        if self._skipped is not None:
            count += self._skipped.count - self._mark[0]
            touched |= self._skipped.touched(self._mark[1])
            self._mark = self._skipped.count, self._skipped.seq
        return count, touched, erased

    async def run(self) -> None:
        """Catch up, round by round."""
        try:
            await self._run()
        except Exception:
            # The boundary of a subscription: it must not stay open with a gap. The hub counts and logs it.
            self._reader.failed(Unavailable("the states cannot be read", hint="resume in a moment"))
            raise

    async def _run(self) -> None:
        reader, fanout = self._reader, self._source.fanout
        await reader.wait_writable()
        fanout.flush()
        while self._has_news:
            await self._round()
            await reader.wait_writable()
            # Otherwise the deltas collected in this tick would be written before our events.
            fanout.flush()
        # No await since: from the next batch on it is live.
        self._task = self._skipped = None
        reader.resume()
        reader.position = self._source.head
        reader.send_live(self._source.head)

    async def _round(self) -> None:
        """Send what was skipped, and the current states of the sessions concerned."""
        reader = self._reader
        head = self._source.head
        count, touched, erased = self._take_news()
        if count:
            reader.send_event(
                "conflated",
                **{"epoch": self._source.epoch, "from": reader.position, "to": head, "count": count},
            )
        for session_id, told in erased.items():
            reader.send_erased_now(session_id, *told)
        sessions = list(touched)
        for start in range(0, len(sessions), MAX_STATES):
            await self._send_states({name: touched[name] for name in sessions[start : start + MAX_STATES]})
        # Only now: a reader that is disconnected among the states resumes from before them.
        reader.position = head

    async def _send_states(self, touched: dict[str, tuple[int, bool]]) -> None:
        """Send how a few sessions are now; what comes about them later is skipped anew, and told in the next round.

        Args:
            touched: Of each, the last seq that was skipped, and whether it deleted.
        """
        living = self._source.states(frozenset(touched))
        alive = {session_id for _, session_id, _ in living}
        # A session without state that was not deleted is erased, or about to be: `erased` reports it.
        gone = [
            (seq, session_id, "null")
            for session_id, (seq, is_deleted) in touched.items()
            if is_deleted and session_id not in alive
        ]
        states = sorted([*living, *gone])
        start = 0
        while start < len(states):
            await self._reader.wait_writable()
            async with self._source.state_turn:
                stop = states_at_once(states, start, self._source.chunk_bytes)
                self._reader.send_states(states[start:stop])
                start = stop
                await asyncio.sleep(0)
