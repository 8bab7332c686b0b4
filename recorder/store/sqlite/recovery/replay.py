"""Replay of the commit log at start: entries that were on disk there and not yet in the database file.

Every entry is checked against the chain before it is taken. A torn end was never acked: it is dropped, and said. Damage
before the end, or seqs that are missing, mean that something acked is gone: the start is refused, or, where the operator
accepts the loss, goes on with what is whole up to there, in a new epoch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recorder.core.chain import GENESIS, digest, link
from recorder.store.sqlite import span
from recorder.store.sqlite.commit_log import SegmentFile, SegmentReader, segment_files
from recorder.store.sqlite.rows import Transaction
from recorder.store.sqlite.span import WIDTH, append_rows


@dataclass(slots=True)
class Replayed:
    """The result of a replay.

    Args:
        rows: Entries that the file did not have.
        segments: The segments that were read, and the highest seq of each.
        torn: Bytes that a crash left incomplete; they were never acked.
        damage: What is wrong, None where nothing is.
        given: The highest seq that the segments tell of.
    """

    rows: int = 0
    segments: list[tuple[SegmentFile, int]] = field(default_factory=list)
    torn: int = 0
    damage: str | None = None
    given: int = 0


def replay(conn: sqlite3.Connection, database: Path) -> Replayed:
    """Append what the segments have beyond the database in memory, on its thread.

    Args:
        conn: The database in memory, filled from the file.
        database: The database file, beside which the segments are.

    Raises:
        OSError: A segment cannot be read.
    """
    result = Replayed()
    head, last_hash, _ = span.end(conn)
    previous = last_hash or GENESIS
    for segment in segment_files(database):
        reader = SegmentReader(segment.path)
        for values in reader:
            if result.damage is None and reader.last > head:
                rows = list(_rows(values, head))
                result.damage = _break(rows, head, previous, segment.path.name)
                if result.damage is not None:
                    continue
                with Transaction(conn):
                    append_rows(conn, [value for row in rows for value in row], rows[0][0], reader.last)
                head, previous = reader.last, rows[-1][-1] or GENESIS
                result.rows += len(rows)
        result.segments.append((segment, reader.last))
        result.torn += reader.torn
        result.damage = result.damage or reader.damage
        result.given = max(result.given, reader.last, reader.acked)
    return result


def _rows(values: Sequence[Any], head: int) -> Iterator[Sequence[Any]]:
    """Yield the rows after a seq."""
    for start in range(0, len(values), WIDTH):
        if values[start] > head:
            yield values[start : start + WIDTH]


def _break(rows: Sequence[Sequence[Any]], head: int, previous: bytes, name: str) -> str | None:
    """Return a description of the first place where these rows do not continue the log; None if they do."""
    for row in rows:
        seq, session, kind, before, after, happened, recorded, delta_id, id_digest, filled, lineage, hash_ = (
            row
        )
        if seq != head + 1:
            return f"{name}: deltas {head + 1} to {seq - 1} are missing"
        if hash_ is not None and hash_ != link(
            previous,
            seq,
            (session, kind),
            (before if before is None else digest(before), after if after is None else digest(after)),
            (happened, recorded),
            (delta_id, id_digest, bool(filled), lineage),
        ):
            return f"{name}: delta {seq} is not what its hash says"
        head, previous = seq, hash_ or GENESIS
    return None
