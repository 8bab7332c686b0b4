"""A real recording, and everything that somebody who can write to its file could do to it.

The recording has pruned entries under two rules, states kept for them, entries with ids, filled-in and broken lineage,
two runs with several signed heads, and a log of heads that was kept elsewhere. Each tampering is a function that changes
the file; those that are careful also make anew what they can: numbers, hashes, counters, marks.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from recorder.auth.signing import known_keys, open_key
from recorder.core.chain import GENESIS, digest, link
from recorder.core.clock import FakeClock
from recorder.core.statements import ErasureReceipt, Head, Signed, erased_digest
from recorder.store.sqlite import schema
from recorder.store.sqlite.receipts import Sign, read_heads, signer, write_seal
from recorder.store.sqlite.rows import rebuild_states
from tests.support.store import Opened, opened

FIRST, LAST = 16, 60
"""The entries that are kept: what was before was pruned."""
YESTERDAY = 40
"""Where the first run ended."""
ERASED = 50
"""An entry whose content was erased."""


@dataclass(frozen=True)
class Recording:
    """A recording on disk.

    Args:
        path: The database.
        yesterday: A copy of it as of the end of the first run.
        heads: Signed heads that were kept elsewhere.
        keys: The ids of the keys that it was signed with.
        sign: Signs with the last of them.
    """

    path: Path
    yesterday: Path
    heads: list[Signed[Head]]
    keys: frozenset[str]
    sign: Sign

    def copied(self, folder: Path) -> Recording:
        """A copy of its own, to be tampered with."""
        for source in (self.path, self.yesterday):
            shutil.copy(source, folder)
        return replace(self, path=folder / self.path.name, yesterday=folder / self.yesterday.name)


def make_sign(key_file: Path) -> Sign:
    """Signs with a file's key."""
    key = open_key(key_file)
    return signer(key.key_id, key.sign)


async def make_recording(folder: Path) -> Recording:
    """Record it, in two runs."""
    path, clock = folder / "sessions.sqlite", FakeClock()
    path.parent.chmod(0o700)
    sign = make_sign(folder / "keys" / "signing.key")
    async with opened(path, clock, sign=sign) as run:
        await _record(run, clock, 30)
        await run.store.snapshot()
        await run.store.prune(10, "30 days")
        await _record(run, clock, 10)
    shutil.copy(path, folder / "yesterday.sqlite")
    heads = []
    async with opened(path, clock, sign=sign) as run:
        await _record(run, clock, 10)
        await run.store.snapshot()
        await run.store.prune(15, "45 deltas")
        heads.append(await run.store.head())
        await _record(run, clock, 10)
        await run.store.snapshot()
        heads.append(await run.store.head())
    _erase(path, sign)
    kept = [head for head in heads if head is not None]
    assert [(head.payload.seq, head.payload.durable) for head in kept] == [(50, 50), (60, 60)]
    return Recording(
        path, folder / "yesterday.sqlite", kept, known_keys(folder / "keys" / "signing.key"), sign
    )


async def _record(run: Opened, clock: FakeClock, count: int) -> None:
    for _ in range(count):
        n = run.feeder.head + 1
        # A before that is wrong now and then, else one that is left out; an id now and then; a session that ends.
        wrong = '"not what it was"' if n % 7 == 0 else None
        state = None if n % 10 == 9 else f'{{"n":{n}}}'
        run.put(f"s{n % 4}", state, before=wrong, delta_id=f"id-{n}" if n % 3 == 0 else None)
        clock.advance(1)
    await run.store.flush()


def _erase(path: Path, sign: Sign) -> None:
    """Erase one entry's content, with a receipt."""
    with writing(path) as conn:
        session, before, after = conn.execute(
            "SELECT session_id, before_state, after_state FROM session_deltas WHERE id = ?", (ERASED,)
        ).fetchone()
        digests = [None if state is None else sha256(state.encode()).digest() for state in (before, after)]
        conn.execute(
            "UPDATE session_deltas SET before_state = NULL, after_state = NULL WHERE id = ?", (ERASED,)
        )
        conn.execute("INSERT INTO erased_states VALUES (?, 1, ?, ?)", (ERASED, *digests))
        time, total = "2026-11-20T13:00:00.000Z", erased_digest([(ERASED, *digests)])
        said = ErasureReceipt(1, session, ERASED, ERASED, 1, LAST, "asked for", time, total)
        by = sign(said)
        conn.execute(
            "INSERT INTO erasures VALUES (1, ?, ?, ?, 1, ?, 'asked for', ?, ?, ?, ?)",
            (session, ERASED, ERASED, LAST, time, total, by.key_id, by.signature),
        )
        (state,) = conn.execute("SELECT state FROM session_bases WHERE session_id = ?", (session,)).fetchone()
        conn.execute(
            "UPDATE session_bases SET state_digest = ?, state = NULL WHERE session_id = ?",
            (sha256(state.encode()).digest(), session),
        )
        write_seal(conn, sign)


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, to be changed in one transaction."""
    with closing(sqlite3.connect(path)) as conn, conn:
        yield conn


Row = dict[str, Any]


def rows(conn: sqlite3.Connection) -> list[Row]:
    """All entries, by column."""
    names = ",".join(schema.COLUMNS)
    found = conn.execute(f"SELECT {names} FROM session_deltas ORDER BY id")
    return [dict(zip(schema.COLUMNS, row, strict=True)) for row in found]


def put_back(conn: sqlite3.Connection, entries: list[Row]) -> None:
    """Have the table hold these entries and no others, and the cache what they make."""
    conn.execute("DELETE FROM session_deltas")
    marks = ",".join("?" * len(schema.COLUMNS))
    conn.executemany(
        f"INSERT INTO session_deltas VALUES ({marks})", [tuple(entry.values()) for entry in entries]
    )
    mend_cache(conn)


def mend_cache(conn: sqlite3.Connection) -> None:
    """What a careful hand does not forget: the current states, and the highest number given."""
    rebuild_states(conn)
    conn.execute(
        "UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM session_deltas) WHERE name = 'session_deltas'"
    )


def link_of(entry: Row, previous: bytes, erased: dict[int, tuple[Any, Any]] | None = None) -> bytes:
    """The hash that an entry should have behind another."""
    kept = (erased or {}).get(entry["id"], (None, None))
    states = (entry["before_state"], entry["after_state"])
    digests = [found if text is None else digest(text) for text, found in zip(states, kept, strict=True)]
    return link(
        previous,
        entry["id"],
        (entry["session_id"], entry["delta_type"]),
        (digests[0], digests[1]),
        (entry["timestamp"], entry["created_at"]),
        (entry["delta_id"], entry["id_digest"], bool(entry["before_filled"]), entry["lineage"]),
    )


def rewrite(recording: Recording, at: int = 35) -> None:
    """Change an entry, and make every hash behind it anew."""
    with writing(recording.path) as conn:
        conn.execute("UPDATE session_deltas SET after_state = '\"a lie\"' WHERE id = ?", (at,))
        entries = rows(conn)
        erased = {
            seq: (before, after)
            for seq, before, after in conn.execute(
                "SELECT seq, before_digest, after_digest FROM erased_states"
            )
        }
        previous = next((entry["hash"] for entry in entries if entry["id"] == at - 1), GENESIS)
        for entry in entries:
            if entry["id"] >= at:
                entry["hash"] = previous = link_of(entry, previous, erased)
        put_back(conn, entries)


def sign_heads(recording: Recording, sign: Sign) -> None:
    """Have the heads say what the file says, signed anew."""
    with writing(recording.path) as conn:
        hashes = {entry["id"]: entry["hash"] for entry in rows(conn)}
        for number, head in enumerate(read_heads(conn), 1):
            said = replace(head.payload, hash=hashes.get(head.payload.seq, head.payload.hash))
            by = sign(said)
            conn.execute(
                "UPDATE heads SET hash = ?, key_id = ?, signature = ? WHERE id = ?",
                (said.hash, by.key_id, by.signature, number),
            )
        write_seal(conn, sign)


def run_sql(*statements: str) -> Callable[[Recording], None]:
    """A tampering by SQL."""

    def tamper(recording: Recording) -> None:
        with writing(recording.path) as conn:
            for statement in statements:
                conn.execute(statement)

    return tamper
