"""Start a recording: from an opened file to a filled memory and a file marked as being recorded to.

Everything that decides whether and how a recording goes on is here, in its order: read and check, verify signatures,
finish what a crash cut off, choose the epoch, replay the commit log, begin. Invariant: until all of it has succeeded no
delta is accepted, and a file that is rejected is left as it is. What runs afterwards is in `store`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from loguru import logger

from recorder.core.clock import Clock
from recorder.core.errors import StoreDamaged
from recorder.core.statements import Adoption
from recorder.core.timestamps import format_ms
from recorder.store.contract import Loaded
from recorder.store.sqlite import erasure, files, span
from recorder.store.sqlite.commit_log import CommitLog, segment_files
from recorder.store.sqlite.config import StoreConfig
from recorder.store.sqlite.connection import Database
from recorder.store.sqlite.identity import (
    NOT_STOPPED,
    FileIdentity,
    beside,
    place_of,
    read_beside,
    reason_for_new_epoch,
)
from recorder.store.sqlite.receipts import (
    Attestor,
    add_adoption,
    last_unsigned,
)
from recorder.store.sqlite.recovery import load as loading
from recorder.store.sqlite.recovery.open import Opening
from recorder.store.sqlite.recovery.replay import replay
from recorder.store.sqlite.recovery.salvage import give_up_rest
from recorder.store.sqlite.rows import get_meta, set_meta
from recorder.store.sqlite.snapshot import Snapshotter
from recorder.store.sqlite.trust import Unverified, unverified


class Start:
    """Start one recording.

    Args:
        config: The configuration of the store.
        opening: How the file was opened, and what was lost.
        file, memory: The two databases, open.
        commits: The commit log.
        identity: Notes in the file which process records to it.
        snapshotter: Used to adopt or rewrite the file.
        attestor: Keeps the signed head; None signs nothing.
        clock: For times that are written down.
    """

    def __init__(
        self,
        config: StoreConfig,
        opening: Opening,
        file: Database,
        memory: Database,
        commits: CommitLog,
        identity: FileIdentity,
        snapshotter: Snapshotter,
        attestor: Attestor | None,
        clock: Clock,
    ) -> None:
        self._config = config
        self._opening = opening
        self._file = file
        self._memory = memory
        self._commits = commits
        self._identity = identity
        self._snapshotter = snapshotter
        self._attestor = attestor
        self._clock = clock
        self.closed_receipts = 0  # no prune goes on with a receipt up to this number

    async def run(self, on_progress: Callable[[int, int], None]) -> Loaded:
        """Fill the memory from the file and begin the recording in both.

        Args:
            on_progress: Gets pages left and pages in all, from another thread.

        Returns:
            The end of the recording, from which it continues.

        Raises:
            StoreUnreadable: The file can't be used.
        """
        now, mode = self._clock.now_ms(), "commit" if self._config.commit else "snapshot"
        try:
            await self._opening.read_in(self._file, self._memory, on_progress, self._snapshotter.switch_file)
            gap = await self._unverified()
            # Not before: a file that is refused is left as it is.
            await self._opening.bring_up(self._file)
            await self._finish_erasing()
            reason = await self._reason_for_new_epoch()
            await self._replay(now)
            if self._opening.losses:
                reason = "entries were lost, and that was accepted"
            elif gap is not None and not gap.is_expected:
                reason = "what no signature vouches for was accepted"
            loaded = await self._memory.run(lambda conn: loading.facts(conn, now, reason))
            segment = await self._commits.begin() if self._config.commit else None
            begin = loading.Begin(loaded, now, mode, reason, segment)
            adoptions = await self._file.run(lambda conn: self._begin(conn, begin, gap))
            await self._memory.run(lambda conn: loading.begin(conn, begin))
            if adoptions is not None:
                await self._memory.run(lambda conn: set_meta(conn, adoptions=adoptions))
            await self._snapshotter.refresh()
            self._note_sealed(loaded.epoch)
        except (sqlite3.Error, OSError) as error:
            refused = files.unreadable(self._config.path, error)
            if not isinstance(refused, StoreDamaged):
                # It may have been opened for recording by now: less is true than that it was left as it is.
                refused.hint = f"nothing recorded in it was changed; {files.DISK_HINT}"
            raise refused from error
        return loaded

    def _note_sealed(self, epoch: str) -> None:
        """Note beside the key that this epoch's file has a seal, once it has: a later start misses one that is gone."""
        sign = self._config.sign
        if sign is None:
            return
        try:
            sign.note_sealed(epoch)
        except OSError as error:
            logger.bind(epoch=epoch, error=str(error)).warning(
                "it cannot be noted beside the key that the file is sealed: a seal that is removed will not be missed"
            )

    async def _finish_erasing(self) -> None:
        """Clean up after an erasure that a crash has cut off: what was loaded may still hold it, as the file may."""
        if await self._file.run(erasure.is_unclean):
            logger.info("finishing an erasure")
            await self._snapshotter.rewrite()
            await erasure.refill(self._memory, self._file)

    async def _unverified(self) -> Unverified | None:
        """Return what nothing vouches for and is going to be signed all the same.

        Raises:
            StoreDamaged: It is not as it was signed, and nobody has accepted that.
        """
        sign = self._config.sign
        if sign is None:
            return None
        # What a receipt of before says is signed with that, or not at all: no run goes on with it.
        self.closed_receipts = await self._memory.run(last_unsigned)
        gap = await self._memory.run(lambda conn: unverified(conn, sign.trusted, sign.sealed))
        if gap is None:
            return None
        if not (gap.is_expected or self._config.accept_gap or self._opening.losses):
            raise StoreDamaged(
                f"{self._config.path}: {gap.reason}",
                hint="it was changed since it was signed, by an older release of the recorder or by another program, and"
                " is left as it is; 'recorder doctor' says more. Put a copy back, or start once with --accept-gap to"
                " have that signed as a gap",
            )
        logger.bind(
            db_path=str(self._config.path), first=gap.first_seq, through=gap.seq, reason=gap.reason
        ).warning("entries that no signature vouches for are taken over; doctor will say so from now on")
        return gap

    async def _reason_for_new_epoch(self) -> str | None:
        """Return why the epoch may not go on; None where it may. Asked before the commit log is replayed."""
        path = self._config.path
        numbers = [segment.number for segment in segment_files(path)]

        def work(conn: sqlite3.Connection) -> tuple[dict[str, str], str | None]:
            meta = get_meta(conn)
            return meta, reason_for_new_epoch(meta, place_of(conn, meta), read_beside(path), numbers)

        meta, reason = await self._memory.run(work)
        if self._config.new_epoch and reason != "first start":
            reason = "asked for"
        if reason is not None and "epoch" in meta:
            log = logger.bind(db_path=str(path), beside=beside(path).name, reason=reason)
            if reason == NOT_STOPPED:
                last = await self._memory.run(lambda conn: span.end(conn)[0])
                log.bind(last_snapshot_at=meta.get("last_snapshot_at"), seq=last).warning(
                    "the last run was not stopped in order: what it acknowledged after its last snapshot may be lost"
                )
            log.warning("a new epoch begins: subscribers that resume receive a reset")
        return reason

    async def _replay(self, now_ms: int) -> None:
        """Take over what an earlier run left in the commit log."""
        path = self._config.path
        replayed = await self._memory.run(lambda conn: replay(conn, path))
        if replayed.damage is not None:
            if not self._config.allow_data_loss:
                raise StoreDamaged(replayed.damage, hint=files.WAYS_ON)
            found = replayed
            self._opening.losses.append(
                await self._memory.run(lambda conn: give_up_rest(conn, path, found, now_ms))
            )
        for segment, last in replayed.segments:
            self._commits.found(segment.path, segment.number, last)
        if replayed.torn:
            logger.bind(bytes=replayed.torn).warning("a crash left an incomplete group; it was never acked")
        if replayed.rows:
            logger.bind(rows=replayed.rows).info("commit log replayed")

    def _begin(self, conn: sqlite3.Connection, begin: loading.Begin, gap: Unverified | None) -> str | None:
        """Write the first transaction of this start; return what has been adopted so far, for the memory."""
        sign = self._config.sign
        with self._identity.starting(conn):
            loading.begin(conn, begin)
            if gap is not None and sign is not None:
                kind = "adopt" if gap.is_expected else "gap"
                at = format_ms(begin.now_ms)
                said = Adoption(kind, gap.first_seq, gap.seq, gap.hash, at, gap.reason)
                add_adoption(conn, said, sign)
            if self._attestor is not None:
                self._attestor.keep()
        return get_meta(conn).get("adoptions")
