"""The targets that need files: a commit log, a database and a packed log, written to a folder of this process's own."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

from recorder.bridges.imports import files as reading
from recorder.store.sqlite import schema
from recorder.store.sqlite.commit_log import segment_files
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.recovery.replay import replay
from recorder.verify.file import verify_file
from recorder.verify.report import Verdict
from stress.fuzz_recording import DATABASE, IN_FILE, recording

_ENTRIES = "SELECT * FROM session_deltas ORDER BY id"


FOLDER_VARIABLE = "FUZZ_FOLDER"
"""Says where to write; whoever sets it cleans up. A fuzzer that has found something ends without doing so."""


@cache
def folder() -> Path:
    """Return where this process writes."""
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given)
    place = Path(tempfile.mkdtemp(prefix="recorder-fuzz-", dir=in_memory()))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


def in_memory() -> Path | None:
    """Return where files are in memory, if the machine has such a place."""
    shm = Path("/dev/shm")
    return shm if shm.is_dir() else None


def damaged_commits(segment: bytes) -> None:
    """Read a segment as a start does, on top of the database it belongs to, and as the doctor does.

    Raises:
        AssertionError: What a start took from it does not hold.
    """
    path = _write(recording().database)
    for old in segment_files(path):
        old.path.unlink()
    path.with_name(f"{DATABASE}.commits.2").write_bytes(segment)
    with closing(connect_sqlite(":memory:")) as memory:
        with closing(connect_sqlite(str(path))) as file:
            file.backup(memory)
        result = replay(memory, path)
        seqs = [seq for (seq,) in memory.execute("SELECT id FROM session_deltas ORDER BY id")]
        assert seqs == list(range(seqs[0], seqs[-1] + 1)), "a gap was taken"
        assert result.rows == seqs[-1] - IN_FILE
    report = verify_file(path, recording().trusted)
    if result.damage is not None:
        assert report.verdict is not Verdict.INTACT, (
            f"a start refuses what the doctor calls intact: {result.damage}"
        )


def damaged_database(changes: bytes) -> None:
    """Verify a file with some bytes changed.

    Args:
        changes: For each of them three bytes that say where, and one to put there.

    Raises:
        AssertionError: It is called intact, and is another recording.
    """
    data = bytearray(recording().database)
    for at in range(0, len(changes) - 3, 4):
        data[int.from_bytes(changes[at : at + 3], "big") % len(data)] = changes[at + 3]
    path = _write(bytes(data))
    for name, segment in recording().commits.items():
        path.with_name(name).write_bytes(segment)
    report = verify_file(path, recording().trusted)
    if report.verdict is Verdict.INTACT:
        assert _entries(path) == _whole(), "another recording is called intact"


def packed_file(data: bytes) -> None:
    """Read a packed log, as far as a bound.

    Raises:
        SourceError: It cannot be unpacked, or is too large.
    """
    path = folder() / "log.gz"
    path.write_bytes(data)
    reading.whole(reading.chunks(str(path)), path.name, 1 << 20)


def _write(data: bytes) -> Path:
    path = folder() / DATABASE
    path.write_bytes(data)
    path.chmod(0o600)
    return path


@cache
def _whole() -> list[tuple[object, ...]]:
    path = folder() / "whole.sqlite"
    path.write_bytes(recording().database)
    return _entries(path)


def _entries(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as conn:
        assert schema.version(conn) == schema.USER_VERSION
        return conn.execute(_ENTRIES).fetchall()
