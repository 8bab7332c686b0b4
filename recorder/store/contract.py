"""The contract of a store, whatever it is made of. Every implementation passes `tests/contract/`.

`Store` names all that the rest of the recorder uses of one: a store of another kind is written from this module alone.
It has three parts:

* `EventStore`: append-only and authoritative. What it says was recorded was recorded; entries leave it only by
  retention, oldest first, without a gap between those that stay.
* `StateStore`: the sessions as of now. A cache: everything in it follows from the events that are kept and from the
  states kept for what was pruned, and `rebuild` recreates it from these.
* `JobLog`: what jobs have run.

All of it is used from one event loop. Unless said otherwise, a method of a closed store raises `Closed`, and one that
the disk fails raises `StoreError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from recorder.core.delta import Entry
from recorder.core.session_filter import Sessions
from recorder.core.statements import ErasureReceipt, Head, PruneReceipt, Signed


@dataclass(frozen=True, slots=True)
class Guarantee:
    """The guarantees of an implementation, in words for operators.

    Args:
        order: In what order entries come back.
        durability: When an entry survives a crash.
        loss_window_ms: How much acked time a crash can cost, at most.
        rebuilds: For a cache: what it is rebuilt from; empty for an authority.
    """

    order: str
    durability: str
    loss_window_ms: int
    rebuilds: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """The health of a store.

    Args:
        ok: Whether it does.
        reason: Why not, in one line.
        details: Figures for people.
    """

    ok: bool
    reason: str = ""
    details: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Query:
    """A query: the entries that are wanted, and their order.

    Args:
        sessions: Which sessions, None for all.
        types: Delta types, None for all.
        after: Only seqs greater than this.
        before: Only seqs less than this; None for no bound.
        since: Only what was recorded at or after this time (fixed-width form).
        until: Only what was recorded at or before this time (fixed-width form).
        happened_since, happened_until: The same for the time of happening.
        lineage: `"broken"`: only those.
        descending: Newest first.
    """

    sessions: Sessions = None
    types: frozenset[str] | None = None
    after: int = 0
    before: int | None = None
    since: str | None = None
    until: str | None = None
    happened_since: str | None = None
    happened_until: str | None = None
    lineage: str | None = None
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of the answer to a query.

    Args:
        items: Item texts (`protocol.events.item_text`) as UTF-8, in the query's order.
        last_seq: The seq up to which everything has been looked at, in the query's direction.
        done: Whether that was all.
    """

    items: Sequence[bytes]
    last_seq: int
    done: bool


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as of now.

    Args:
        session_id: Its id.
        seq: Its last delta.
        recorded_at: When that was recorded.
        count: How many of its deltas are kept.
        deleted: Whether the last one deleted it.
    """

    session_id: str
    seq: int
    recorded_at: str
    count: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class StateRow:
    """A session's state as of some point.

    Args:
        session_id: Its id.
        seq: The delta that made it.
        state: JSON text, None where it is deleted.
        deleted: Whether it is deleted.
    """

    session_id: str
    seq: int
    state: str | None
    deleted: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """The position at which a loaded recording continues.

    Args:
        epoch: The epoch it goes on with.
        head: The highest seq ever given.
        pruned: The highest seq that retention removed.
        count: How many entries are kept.
        last_hash: The chain's hash at the head; `GENESIS` where the chain begins.
        last_recorded_at: The time of recording at the head, or "".
        meta: The small facts kept beside the data.
    """

    epoch: str
    head: int
    pruned: int
    count: int
    last_hash: bytes
    last_recorded_at: str
    meta: dict[str, str]


@dataclass(frozen=True, slots=True)
class SnapshotResult:
    """The result of a snapshot.

    Args:
        rows: Entries it brought to disk.
        head: The highest seq on disk now.
        size: Bytes of the file.
    """

    rows: int
    head: int
    size: int


@dataclass(frozen=True, slots=True)
class Receipts:
    """The receipts of prunes and erasures, and the epochs of the recording.

    Args:
        epochs: (name, first seq) of each, in order.
        prunes, erasures: The receipts, in order; signed where they are on disk.
    """

    epochs: list[tuple[str, int]]
    prunes: list[Signed[PruneReceipt]]
    erasures: list[Signed[ErasureReceipt]]


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a job.

    Args:
        name: Which job.
        started_at: Fixed-width form.
        duration_ms: How long it took.
        outcome: `ok` or `failed`.
        counts: What it did, in figures.
        error: Why it failed, or None.
        id: Its number, given when it is kept.
    """

    name: str
    started_at: str
    duration_ms: int
    outcome: str
    counts: dict[str, int]
    error: str | None = None
    id: int = 0


@runtime_checkable
class EventStore(Protocol):
    """The log: append-only, authoritative, gapless from `oldest` to `recorded`."""

    @property
    def guarantee(self) -> Guarantee:
        """The guarantee of the store."""
        ...

    @property
    def recorded(self) -> int:
        """The highest seq that reads will return. Never falls."""
        ...

    @property
    def durable(self) -> int:
        """The highest seq that survives a crash. Falls only where what had it is gone."""
        ...

    @property
    def oldest(self) -> int:
        """The first seq kept; one more than the last given where none is."""
        ...

    @property
    def count(self) -> int:
        """The number of entries kept."""
        ...

    @property
    def capacity(self) -> int:
        """The number of entries that may be appended before the queue is full; 0 when it is. Not enforced."""
        ...

    @property
    def waiting(self) -> int:
        """Entries appended and not recorded."""
        ...

    @property
    def recorded_bytes(self) -> int:
        """Bytes recorded since the start, as they travel."""
        ...

    @property
    def fatal_error(self) -> str | None:
        """The error that ended recording, until the store is opened again; None while it works."""
        ...

    @property
    def disk_error(self) -> str | None:
        """The disk error that currently prevents recording in `commit` durability; retried. None if there is none."""
        ...

    def extend(self, entries: Sequence[Entry]) -> None:
        """Queue entries, at least one, all or none; without waiting.

        Args:
            entries: Gapless, and right behind the last one that was appended. Where they are not, recording fails.

        Raises:
            Closed: It was closed.
            StoreError: There is a `fatal_error` or a `disk_error`.
        """
        ...

    def fail(self, reason: str) -> None:
        """Record nothing more: what was given out can't be recorded whole. The next start begins a new epoch."""
        ...

    async def flush(self) -> None:
        """Wait until everything appended before is recorded. Raises `StoreError`."""
        ...

    async def read(self, query: Query, limit: int) -> Piece:
        """Return at most `limit` (1 to 1000) matches, in bounded time; go on from `last_seq` until `done`.

        Fewer than the limit, and none, mean the end only where `done` says so.
        """
        ...

    async def read_slice(self, after: int, sessions: Sessions, types: frozenset[str] | None) -> Piece:
        """Return the next matches after a seq, as `read` does. Raises `Pruned` where what follows it is gone."""
        ...

    async def first_at(self, time: str) -> int:
        """Return the first seq kept that was recorded at or after a time; one more than the last where none was."""
        ...

    async def last_at(self, time: str) -> int:
        """Return the last seq recorded at or before a time; 0 where there is none. Raises `Pruned`."""
        ...

    async def seq_at(self, time: str) -> int | None:
        """Return the first recorded seq at or after a time; None where entries from then were pruned."""
        ...

    async def hash_at(self, seq: int) -> bytes | None:
        """Return what the link of the entry after a recorded seq covers; None where that seq was pruned."""
        ...

    async def ids(self, after: int) -> list[tuple[str, int, bytes]]:
        """Return (id, seq, digest of the content) of the next ids after a seq, ascending; none where that is all."""
        ...

    async def prune(self, through: int, policy: str) -> int:
        """Remove everything up to a seq, keeping the states as of there; how many were removed.

        Args:
            through: The highest seq to go. What is not durable stays, as do the ids of the last that went.
            policy: Why, for the receipt.
        """
        ...

    async def erase(
        self,
        session_id: str,
        reason: str,
        forget: Callable[[], int],
        tell: Callable[[ErasureReceipt], None] = ...,
    ) -> Signed[ErasureReceipt] | None:
        """Erase what a session's states say, for good; their digests stay, and the chain verifies.

        Args:
            session_id: Whose.
            reason: Why, for the receipt.
            forget: Makes those who make entries forget the session's state; gives the last entry that may hold it.
            tell: Called once it is erased, and can be read no more; cleaning up may still fail.

        Returns:
            The receipt; None where there was nothing to erase.
        """
        ...

    async def erasures_since(self, seq: int, sessions: Sessions) -> list[tuple[str, int, int, str]]:
        """Return (session id, last seq then, count, time) of what was erased when the log had this seq, or later."""
        ...

    async def head(self) -> Signed[Head] | None:
        """Return where the recording ends now, signed; None where nothing is signed."""
        ...

    async def receipts(self) -> Receipts:
        """Return what was pruned and what was erased."""
        ...

    def on_progress(self, callback: Callable[[], None]) -> None:
        """Call `callback` when more is recorded or durable, and when `fatal_error` or `disk_error` changes."""
        ...

    def on_rolled_back(self, callback: Callable[[str, bool], None]) -> None:
        """Call `callback` when everything that is not recorded yet was rolled back.

        The next `extend` then goes on behind `recorded`. Only where recorded means on disk.

        Args:
            callback: Gets the reason, and whether nobody knows if some of it is on disk all the same.
        """
        ...

    async def health_check(self) -> Health:
        """Check whether it works now; not ok once it is closed. Raises nothing."""
        ...

    async def close(self) -> None:
        """Record what is queued and give everything back; what is asked later raises `Closed`. Twice is fine."""
        ...


@runtime_checkable
class StateStore(Protocol):
    """A cache of the sessions as of now, and the states as of any point."""

    @property
    def guarantee(self) -> Guarantee:
        """The guarantee of the store, and what it is rebuilt from."""
        ...

    async def sessions(
        self, before: int | None, limit: int, after: int = 0, among: Sessions = None
    ) -> list[SessionRow]:
        """Return sessions by their last seq, latest first, those below `before` and above `after`, of some or all."""
        ...

    async def state(self, session_id: str, at: int | None = None) -> StateRow | None:
        """Return a session's state now, or as of a seq; None where it is unknown or had not begun. Raises `Pruned`."""
        ...

    async def living(self, after: str) -> list[tuple[str, int, str]]:
        """Return (session id, seq, state) of the next living sessions after an id, in the ids' order; none at the end.

        Those whose state was erased are left out.
        """
        ...

    async def known(self, session_id: str) -> bool:
        """Return whether anything of a session is recorded."""
        ...

    async def count(self) -> int:
        """Return how many sessions are known."""
        ...

    async def counts(self, among: Sessions) -> tuple[int, int]:
        """Return how many of these sessions are known, and how many of their deltas are kept."""
        ...

    async def rebuild(self) -> int:
        """Rebuild the cache from the log; return the number of sessions."""
        ...

    async def health_check(self) -> Health:
        """Check whether it works now and agrees with the events. Raises nothing."""
        ...


@runtime_checkable
class JobLog(Protocol):
    """The last run of each job."""

    async def add(self, run: JobRun) -> None:
        """Keep a run."""
        ...

    async def latest(self, limit: int, name: str | None = None) -> list[JobRun]:
        """Return the last runs, latest first: of all jobs, or of one."""
        ...


@runtime_checkable
class Store(EventStore, Protocol):
    """All that the recorder uses of a store: the events, the states and the runs, and what keeps them up.

    It is opened by its own class, in whatever way its kind needs, and `load` is called once before anything else.
    """

    last_snapshot_at: str | None  # when the last snapshot succeeded (fixed-width form)
    last_loss: str | None  # what was lost at a start, the last time that was accepted; JSON

    @property
    def states(self) -> StateStore:
        """The sessions as of now."""
        ...

    @property
    def runs(self) -> JobLog:
        """The log of job runs."""
        ...

    @property
    def path(self) -> Path:
        """The path on disk, for messages and for the free space there."""
        ...

    @property
    def on_file(self) -> int:
        """The highest seq in what a snapshot writes. Only up to there may be pruned."""
        ...

    @property
    def is_dirty(self) -> bool:
        """Return whether a snapshot has something to write."""
        ...

    async def load(self, on_progress: Callable[[int, int], None] = ...) -> Loaded:
        """Read in what is recorded, and begin to record behind it.

        Args:
            on_progress: Gets what is left and the whole, in any unit, from any thread.

        Raises:
            StoreUnreadable: It can't be used; it is left as it is.
        """
        ...

    async def snapshot(self) -> SnapshotResult:
        """Write what is recorded now to disk. One at a time; a second call waits."""
        ...

    async def compact(self) -> None:
        """Release the disk space that pruning has freed."""
        ...

    async def set_metadata(self, **values: str) -> None:
        """Keep small facts beside the data, until the next snapshot in memory only; `load` gives them back."""
        ...

    async def used_bytes(self) -> int:
        """Return the bytes that it takes in memory."""
        ...

    def file_size(self) -> int | None:
        """Return the bytes that it takes on disk; None where there is nothing."""
        ...

    def copies(self) -> list[str]:
        """Return the names of other files that were made from it, and may hold what was erased."""
        ...
