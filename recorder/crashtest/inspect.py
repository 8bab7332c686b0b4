"""Inspects a recording's files as they lie on disk, in a copy: inspecting would play the original's journal back."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from recorder.auth.signing import known_keys
from recorder.core.errors import RecorderError
from recorder.core.statements import Head, Signed
from recorder.verify.file import verify_file
from recorder.verify.report import Level


def copy_of(database: Path, folder: Path) -> Path:
    """Copy a database file with its journal and commit log into a newly created folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    for file in sorted(database.parent.glob(f"{database.name}*")):
        if file.is_file():
            shutil.copy2(file, folder / file.name)
    return folder / database.name


def inspect_files(database: Path, key: Path, folder: Path) -> list[str]:
    """Return what is wrong with a recording on disk; [] if nothing is.

    Args:
        database: The file. Nobody may be writing to it.
        key: Whose signatures are believed.
        folder: Where it is copied to.
    """
    copy = copy_of(database, folder)
    try:
        play_back(copy)
    except sqlite3.Error as error:
        return [f"{database.name}: {error}"]
    return findings_of(copy, key)


def play_back(copy: Path) -> None:
    """Let SQLite roll back an unfinished transaction, as it does for the next writer.

    Raises:
        sqlite3.Error: It can't be read.
    """
    with closing(sqlite3.connect(copy)) as conn:
        conn.execute("SELECT count(*) FROM sqlite_master").fetchone()


def findings_of(database: Path, key: Path, expected: Sequence[Signed[Head]] | None = None) -> list[str]:
    """Return what the doctor reports as wrong with a file, which must be a copy."""
    try:
        report = verify_file(database, known_keys(key), expected)
    except (RecorderError, sqlite3.Error, OSError) as error:
        return [str(error)]
    return [f"{finding.kind}: {finding.text}" for finding in report.of(Level.BROKEN)]
