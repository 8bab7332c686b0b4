"""Erasing what a session's states say, from the file and the database in memory, with the chain intact.

In the file, in one transaction: the states of every entry up to a seq become NULL, their digests go to `erased_states`
(links cover states by their digests, so every link still verifies), the state kept for what was pruned likewise, and a
signed receipt goes to `erasures`. From then on it is erased, whatever happens.

Old bytes may survive inside the pages of a database though SQLite overwrites what it deletes (`secure_delete`): cells
that it once moved from page to page leave copies behind. So the file is then written anew, page by page, and takes the
old one's place by rename; and the memory is filled anew from that file, takes over what has been recorded meanwhile in
slices of a few milliseconds, and takes the old memory's place. A mark in `meta` says that this is still to be done: a
start after a crash does it first.

Left out: copies made elsewhere, what a disk or a file system keeps of blocks that were given back, and memory that the
process has freed, which nobody overwrites until it is used again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from recorder.core.statements import ErasureReceipt, Signed, erased_digest
from recorder.store.sqlite import span
from recorder.store.sqlite.connection import Database, connect_memory
from recorder.store.sqlite.files import sync
from recorder.store.sqlite.identity import FILE_MODE
from recorder.store.sqlite.receipts import Sign
from recorder.store.sqlite.recovery.load import copy_pages
from recorder.store.sqlite.rows import Transaction, get_meta, set_meta

MARK = "erasing"
"""The fact in `meta` of a file whose pages may still hold what was erased."""

CATCH_UP_ROWS = 500
"""Entries that are taken over at once while the memory is replaced: recording waits for it."""

_ENTRIES = "session_id = :session AND id <= :head AND (before_state IS NOT NULL OR after_state IS NOT NULL)"
_KEEP_DIGESTS = f"""
INSERT INTO erased_states(seq, erasure, before_digest, after_digest)
SELECT id, :number, sha256(CAST(before_state AS BLOB)), sha256(CAST(after_state AS BLOB))
FROM {span.TABLE} WHERE {_ENTRIES}
"""
_ERASE = f"UPDATE {span.TABLE} SET before_state = NULL, after_state = NULL WHERE {_ENTRIES}"
_ERASE_BASE = """
UPDATE session_bases SET state_digest = sha256(CAST(state AS BLOB)), state = NULL
WHERE session_id = :session AND state IS NOT NULL
"""


def erase(
    conn: sqlite3.Connection, session_id: str, head: int, reason: str, at: str, sign: Sign | None
) -> Signed[ErasureReceipt] | None:
    """Erase a session's content in a file, in one transaction; `clean` has to follow.

    Args:
        conn: The file.
        session_id: Whose.
        head: The last entry; what comes later is left.
        reason: Why, for the receipt.
        at: The time, fixed-width form.
        sign: Signs the receipt; None leaves it unsigned.

    Returns:
        The receipt; None where there was nothing to erase.
    """
    conn.create_function("sha256", 1, _sha256, deterministic=True)
    number = conn.execute("SELECT coalesce(max(id), 0) + 1 FROM erasures").fetchone()[0]
    names = {"session": session_id, "head": head, "number": number}
    with Transaction(conn):
        count = conn.execute(_KEEP_DIGESTS, names).rowcount
        conn.execute(_ERASE, names)
        based = conn.execute(_ERASE_BASE, names).rowcount
        if not count and not based:
            return None
        taken = conn.execute(
            "SELECT seq, before_digest, after_digest FROM erased_states WHERE erasure = ? ORDER BY seq",
            (number,),
        ).fetchall()
        # Where only the state that was kept for what was pruned is left, it is named by its own seq.
        base = conn.execute("SELECT seq FROM session_bases WHERE session_id = ?", (session_id,)).fetchone()
        ends = (taken[0][0], taken[-1][0]) if taken else (base[0], base[0])
        receipt = ErasureReceipt(number, session_id, *ends, count, head, reason, at, erased_digest(taken))
        signature = None if sign is None else sign(receipt)
        conn.execute(
            "INSERT INTO erasures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number, session_id, *ends, count, head, reason, at, receipt.digest,
                signature and signature.key_id, signature and signature.signature,
            ),
        )  # fmt: skip
        set_meta(conn, **{MARK: "1"})
    return Signed(receipt, signature)


def told_since(conn: sqlite3.Connection, seq: int) -> list[tuple[str, int, int, str]]:
    """Return (session id, last seq then, count, time) of the erasures since the log had this seq, in order."""
    return conn.execute(
        "SELECT session_id, head_seq, count, erased_at FROM erasures WHERE head_seq >= ? ORDER BY id", (seq,)
    ).fetchall()


def is_unclean(conn: sqlite3.Connection) -> bool:
    """Return whether pages of a file may still contain erased content."""
    return MARK in get_meta(conn)


def rewrite(conn: sqlite3.Connection, path: Path, lock: Callable[[Path], None] = lambda new: None) -> None:
    """Rewrite a file without its old pages; the new file replaces it, and must be opened.

    Args:
        conn: The file; no transaction may be open.
        path: Where it is.
        lock: Locks the new one before it gets its name.

    Raises:
        sqlite3.Error, OSError: It could not be written; the old one is still there, and nothing else.
    """
    # The lock is ours, so a file of this name was left by a crash.
    new = path.with_name(f"{path.name}.anew")
    try:
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE))
        conn.execute("VACUUM INTO ?", (str(new),))
        sync(new)
        lock(new)
        new.rename(path)
        sync(path.parent)
    finally:
        new.unlink(missing_ok=True)


def unmark(conn: sqlite3.Connection) -> None:
    """Remove the mark: the pages of the file contain no erased content."""
    conn.execute("DELETE FROM meta WHERE key = ?", (MARK,))


async def refill(memory: Database, file: Database) -> None:
    """Load the memory again from the file and the rows it has beyond the file, and replace the old one.

    Args:
        memory: What is recorded. Nothing may be pruned meanwhile; entries may be recorded.
        file: All of it, but for the last entries; not written to meanwhile.
    """
    fresh = connect_memory()
    try:
        await file.run(lambda conn: copy_pages(conn, fresh))
        replaced: sqlite3.Connection | None = None
        while replaced is None:
            replaced = await memory.exchange(lambda old: fresh if _caught_up(old, fresh) else None)
    except BaseException:
        fresh.close()
        raise
    # A large one takes long to give back: nobody need wait for that.
    await asyncio.to_thread(replaced.close)


def leftovers(path: Path) -> list[str]:
    """Return the names of other files beside a database that derive from it and may contain erased content."""
    ours = {f"{path.name}{end}" for end in (".lock", ".tenure", "-journal")}
    return sorted(
        entry.name
        for entry in path.parent.iterdir()
        if entry.name.startswith((f"{path.name}.", f"{path.name}-"))
        and entry.name not in ours
        and not entry.name.startswith(f"{path.name}.commits.")
    )


def _caught_up(old: sqlite3.Connection, fresh: sqlite3.Connection) -> bool:
    """Take over the next entries; whether those were the last, and everything else has been taken over, too."""
    rows = span.rows(old, span.given(fresh), CATCH_UP_ROWS).fetchall()
    with Transaction(fresh):
        if rows:
            span.append_rows(fresh, [value for row in rows for value in row], rows[0][0], rows[-1][0])
        if len(rows) == CATCH_UP_ROWS:
            return False
        # What is newer in memory than on disk, beside the entries.
        facts = get_meta(old)
        facts.pop(MARK, None)
        set_meta(fresh, **facts)
        fresh.execute("DELETE FROM job_runs")
        for run in old.execute("SELECT * FROM job_runs ORDER BY id"):
            fresh.execute(f"INSERT INTO job_runs VALUES ({','.join('?' * len(run))})", run)
    return True


def _sha256(value: bytes | None) -> bytes | None:
    return None if value is None else hashlib.sha256(value).digest()
