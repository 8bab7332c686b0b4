"""Erasing a session's content from all that this process can still hand out: the store, the states, the newest entries.

The order keeps it from coming back: first nobody fills the state in any more, then it is erased in the file and in
the database in memory, then it leaves the tail, and whoever may have seen it is told. An erasure that has begun is
carried through, whoever asked for it and went away; stopping waits for it.

Left out: memory that was freed. Python and the allocator do not overwrite it, so copies that requests and broadcasts
once needed stay in the heap until it is used again or the process ends. Digests stay too, and confirm a guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from loguru import logger

from recorder.core.clock import Clock
from recorder.core.errors import NotFound, RecorderError
from recorder.core.statements import ErasureReceipt, Signed
from recorder.core.timestamps import format_ms
from recorder.store.contract import JobLog, JobRun, StateStore


class ErasingStore(Protocol):
    """The part of a store that erasing needs."""

    @property
    def runs(self) -> JobLog:
        """The log of job runs."""
        ...

    @property
    def states(self) -> StateStore:
        """The sessions as of now."""
        ...

    def copies(self) -> list[str]:
        """Return the names of other files that may contain the erased content."""
        ...

    async def erase(
        self,
        session_id: str,
        reason: str,
        forget: Callable[[], int],
        tell: Callable[[ErasureReceipt], None],
    ) -> Signed[ErasureReceipt] | None:
        """Erase what a session's states say."""
        ...


class Intake(Protocol):
    """The part of ingest that fills in states."""

    def forget(self, session_id: str, through: int | None = None) -> int:
        """Stop filling in states of a session; return the last seq assigned."""
        ...

    def remember(self, session_id: str, seq: int, text: str) -> None:
        """Fill a session's state in again: the content is still there."""
        ...


class Hub(Protocol):
    """The part of the hub that has the newest entries and knows the subscribers."""

    def erased(self, session_id: str, through: int, count: int, erased_at: str) -> None:
        """Notify readers that a session's content was erased."""
        ...


REMAINS = (
    "SHA-256 digests of the states, by which a short or guessable content can be confirmed",
    "memory that the process has freed, until it is used again or the recorder is restarted",
)
"""What an erasure leaves: said to whoever asks for one, since the content can be found there."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """The result of an erasure.

    Args:
        receipt: What was erased; None where nothing was left to erase.
        copies: Names of files beside the database that may still hold it: they are whoever made them's.
    """

    receipt: Signed[ErasureReceipt] | None
    copies: list[str]


class Eraser:
    """Erases. Made by `run`.

    Args:
        store, ingest, hub: From where.
        clock: As everywhere.
    """

    def __init__(self, store: ErasingStore, ingest: Intake, hub: Hub, clock: Clock) -> None:
        self._store = store
        self._ingest = ingest
        self._hub = hub
        self._clock = clock
        self._running: set[asyncio.Task[Erasure]] = set()  # begun, and carried through

    @classmethod
    @asynccontextmanager
    async def run(cls, store: ErasingStore, ingest: Intake, hub: Hub, clock: Clock) -> AsyncIterator[Eraser]:
        """Open an eraser; at the end of the block, wait for what it has begun."""
        eraser = cls(store, ingest, hub, clock)
        try:
            yield eraser
        finally:
            await asyncio.gather(*eraser._running, return_exceptions=True)

    async def erase(self, session_id: str, reason: str = "") -> Erasure:
        """Erase the content of all that is recorded of a session so far.

        Args:
            session_id: Whose.
            reason: Why, for the receipt.

        Raises:
            NotFound: Nothing of it is recorded.
            StoreError: The disk said no. Asking again carries on.
        """
        if not await self._store.states.known(session_id):
            raise NotFound(f"nothing of session {session_id[:80]!r} is recorded")
        task = asyncio.create_task(self._erase(session_id, reason), name="erase")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _erase(self, session_id: str, reason: str) -> Erasure:
        started, begin = format_ms(self._clock.now_ms()), self._clock.monotonic()
        outcome, count, error_text = "ok", 0, None
        try:
            receipt = await self._store.erase(
                session_id, reason, lambda: self._ingest.forget(session_id), self._erased
            )
            count = 0 if receipt is None else receipt.payload.count
        except RecorderError as error:
            outcome, error_text = "failed", str(error)
            logger.bind(error=error_text).error("erasing failed")
            await self._remember(session_id)
            raise
        finally:
            milliseconds = round((self._clock.monotonic() - begin) * 1000)
            run = JobRun("erase", started, milliseconds, outcome, {"erased": count}, error_text)
            await self._store.runs.add(run)
        return Erasure(receipt, self._store.copies())

    def _erased(self, receipt: ErasureReceipt) -> None:
        """Drop the content from memory, as the store no longer has it, and notify readers who may have seen
        it.
        """
        # Again: what was held back until it was on disk has been let go since.
        self._ingest.forget(receipt.session_id, receipt.head_seq)
        self._hub.erased(receipt.session_id, receipt.head_seq, receipt.count, receipt.erased_at)
        logger.bind(count=receipt.count, through=receipt.head_seq).info("content erased")

    async def _remember(self, session_id: str) -> None:
        row = await self._store.states.state(session_id)
        if row is not None and row.state is not None:
            self._ingest.remember(session_id, row.seq, row.state)
