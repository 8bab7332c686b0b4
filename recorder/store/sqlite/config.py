"""The configuration a SQLite store is opened with. It is immutable: a change of it is a new start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recorder.store.sqlite.receipts import (
    Sign,
)


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """The options that a store is opened with.

    Args:
        path: The database file.
        snapshot_interval_ms: Time between snapshots; the loss window.
        keep_ids: How many ids are remembered (`DEDUPE_IDS`).
        queue_max_deltas, queue_max_bytes: Beyond either the recording queue counts as full.
        commit: Whether entries are on disk before they count as recorded.
        allow_data_loss: Whether to go on with what can be saved of a damaged file.
        accept_gap: Whether to go on where the file is not as it was signed; that is signed as a gap.
        new_epoch: Whether a new epoch begins in any case.
        log_entries: Whether each entry gets a line in the log (at debug).
        sign: Signs heads and receipts; None signs nothing.
        busy_seconds: How long the file's statements wait for another program's lock.
    """

    path: Path
    snapshot_interval_ms: int = 60_000
    keep_ids: int = 100_000
    queue_max_deltas: int = 50_000
    queue_max_bytes: int = 32 << 20
    commit: bool = False
    allow_data_loss: bool = False
    accept_gap: bool = False
    new_epoch: bool = False
    log_entries: bool = False
    sign: Sign | None = None
    busy_seconds: float = 5.0
