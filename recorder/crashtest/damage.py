"""One bit flipped, or one file cut, in a copy of a recording; and what becomes of it. Nothing here is asynchronous or
shared: it runs in a process that the damage may bring down.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorder.app import open_recorder
from recorder.config.settings import load_settings
from recorder.core.errors import RecorderError
from recorder.crashtest.inspect import findings_of, play_back
from recorder.crashtest.recordings import Recording

CUTS = 0.15
"""The share of cuts; the others are flips."""
_TABLES = {
    "session_deltas": "SELECT * FROM session_deltas ORDER BY id",
    "session_states": "SELECT * FROM session_states ORDER BY session_id",
    "session_bases": "SELECT * FROM session_bases ORDER BY session_id",
    "pruned_ids": "SELECT * FROM pruned_ids ORDER BY delta_id",
    "prunes": "SELECT * FROM prunes ORDER BY id",
    "erasures": "SELECT * FROM erasures ORDER BY id",
    "erased_states": "SELECT * FROM erased_states ORDER BY seq",
    "counters": "SELECT * FROM counters ORDER BY name",
}
_GROWING = {
    "epochs": "SELECT * FROM epochs WHERE started_at <= ? ORDER BY first_seq, epoch",
    "heads": "SELECT * FROM heads WHERE at <= ? ORDER BY id",
}
"""Those to which every start adds: as they were."""

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Damage:
    """A kind of damage to a copy of a recording.

    Args:
        file: Which file, from the copy's folder.
        cut: Whether it is cut; otherwise one bit of it is flipped.
        at: Bytes that are left, or the number of the bit.
    """

    file: str
    cut: bool
    at: int

    def __str__(self) -> str:
        if self.cut:
            return f"{self.file} cut to {self.at} bytes"
        return f"bit {self.at % 8} of byte {self.at // 8} of {self.file}"

    def do(self, folder: Path) -> None:
        """Damage the file in the folder."""
        path = folder / self.file
        data = bytearray(path.read_bytes())
        if self.cut:
            del data[self.at :]
        else:
            data[self.at // 8] ^= 1 << self.at % 8
        path.write_bytes(data)


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a recording after a recorder has started and stopped on it.

    Args:
        tables: The rows of each table.
        goes_on: Whether the epoch is the one of before.
    """

    tables: dict[str, Rows]
    goes_on: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of starting a recorder on a damaged copy.

    Args:
        kind: `refused`, `named`, `namedByHead`, `harmless`; "" for none of them.
        what: The reason; what is wrong where it is none of them.
    """

    kind: str
    what: str = ""


def draw(recording: Recording, rng: random.Random) -> Damage:
    """Draw a random damage to a recording."""
    files = sorted(path for path in recording.folder.rglob("*") if path.is_file() and path.stat().st_size)
    weights = [_weight(path, recording) for path in files]
    path = rng.choices(files, weights)[0]
    size, cut = path.stat().st_size, rng.random() < CUTS
    return Damage(str(path.relative_to(recording.folder)), cut, rng.randrange(size if cut else 8 * size))


def _weight(path: Path, recording: Recording) -> float:
    """Return the weight of a file: the database has the highest, then files with recorded content, then the
    rest.
    """
    if path == recording.database:
        return 12.0
    return 6.0 if "-journal" in path.name or ".commits." in path.name else 1.0


def content_of(recording: Recording) -> Content:
    """Return what a recorder recovers. The recording must be a copy, as the recorder continues it.

    Raises:
        RecorderError: It does not start on it.
        AssertionError: What it ends up with is not sound.
    """
    asyncio.run(_start_and_stop(recording))
    with closing(sqlite3.connect(recording.database)) as conn:
        sound = conn.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if sound != "ok":
            raise AssertionError(f"it goes on with a database that is not sound: {sound}")
        tables = {name: conn.execute(query).fetchall() for name, query in _TABLES.items()}
        for name, query in _GROWING.items():
            tables[name] = conn.execute(query, (recording.made_at,)).fetchall()
        (epoch,) = conn.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    return Content(tables, epoch == recording.epoch)


async def _start_and_stop(recording: Recording) -> None:
    settings = load_settings(
        persist="1",
        db_path=recording.database,
        key_file=recording.key,
        durability=recording.durability,
        port=0,
    )
    async with open_recorder(settings):
        pass


EPOCH_ENDS = "the epoch does not go on"


def judge(recording: Recording, damage: Damage, control: Content, folder: Path) -> Outcome:
    """Return the outcome for a damaged copy of a recording.

    Args:
        recording: The original.
        damage: What is done to the copy.
        control: What a recorder ends up with on the original.
        folder: Where the copy is made.
    """
    copy = recording.copy(folder)
    whole = _bytes_of(folder)
    damage.do(folder)
    before = _bytes_of(folder)
    try:
        what = _difference(control, content_of(copy))
        # Where .tenure was damaged the epoch ends, on purpose: the log and every subscriber are told.
        is_beside = any(name.endswith(".tenure") and before.get(name) != data for name, data in whole.items())
        if what == EPOCH_ENDS and is_beside:
            what = ""
    except RecorderError as error:
        changed = [name for name, data in _bytes_of(folder).items() if before.get(name) != data]
        # A crash's journal is rolled back before the signatures can be read; the database is then as SQLite recovers it.
        changed += [name for name in before if not (folder / name).exists()]
        journals = [name for name in before if name.endswith("-journal")]
        recovered = {*journals, *(name.removesuffix("-journal") for name in journals)}
        changed = [name for name in changed if name not in recovered]
        if changed:
            return Outcome("", f"refused ({error}), and yet it has changed {', '.join(sorted(changed))}")
        return Outcome("refused", str(error))
    except (AssertionError, sqlite3.Error, OSError) as error:
        what = str(error)
    except Exception as error:
        # The boundary of a trial: no damage may end a recorder in a way that it does not know.
        return Outcome("", f"the start ended with {type(error).__name__}: {error}")
    if not what:
        return Outcome("harmless")
    return _by_doctor(recording, damage, folder, what)


def _by_doctor(recording: Recording, damage: Damage, folder: Path, what: str) -> Outcome:
    copy = recording.copy(folder)
    damage.do(folder)
    try:
        play_back(copy.database)
    except sqlite3.Error as error:
        return Outcome("named", str(error))
    if found := findings_of(copy.database, copy.key):
        return Outcome("named", found[0])
    if found := findings_of(copy.database, copy.key, [recording.head]):
        return Outcome("namedByHead", found[0])
    return Outcome("", f"neither refused nor named, and {what}")


def _difference(control: Content, found: Content) -> str:
    """Return what differs; "" if nothing does."""
    changed = [name for name, rows in control.tables.items() if found.tables[name] != rows]
    if changed:
        return f"{', '.join(changed)} changed"
    if found.goes_on != control.goes_on:
        return "the epoch goes on after a crash" if found.goes_on else EPOCH_ENDS
    return ""


def _bytes_of(folder: Path) -> dict[str, bytes]:
    """Return the content of the files, except the lock, which names its owner."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }
