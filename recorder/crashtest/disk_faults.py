"""A disk that is full, a directory that is read-only, a file that is deleted or replaced: `scene` says what must hold.

Full is made two ways, as far as the machine allows: a limit on the size of files (as a quota would be), and a small
file system of its own that is filled up. Root may write to a read-only directory: its recorder is run without that
privilege.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from recorder.crashtest.outage import Scene, Trouble, endure, open_scene
from recorder.crashtest.runner import Bench

FILE_LIMIT = 64 << 10
"""Bytes that a file may have while the limit holds: the database has more by then, and the log on stderr fewer."""
SMALL_DISK = "24m"

Make = Callable[[Scene], Trouble]


class CannotBe(Exception):
    """Something cannot be tried on this machine."""


async def run(bench: Bench) -> None:
    """Each kind of trouble, in each mode."""
    cases = [
        *("limit", "limit-killed", "full", "full-killed", "read-only", "read-only-killed"),
        *("deleted", "replaced-put-back", "replaced-moved-away", "log-deleted"),
    ]
    names = [f"disk/{mode}/{case}" for case in cases for mode in ("snapshot", "commit")]
    names.remove("disk/snapshot/log-deleted")
    await bench.all([(name, partial(_run, bench, name)) for name in bench.plan.sample("disk", names, 3)])


async def _run(bench: Bench, name: str, folder: Path) -> None:
    _, mode, case = name.split("/")
    kind, lethal = case.removesuffix("-killed"), case.endswith("-killed")
    play = {"full": _full, "read-only": _read_only}.get(kind, partial(_plain, MAKE.get(kind, _limit)))
    try:
        found = await play(folder, mode, lethal)
    except CannotBe as reason:
        bench.part.skip(name, str(reason))
        return
    bench.part.count(mode, troubles=1)
    bench.judge(name, found, folder)


async def _plain(make: Callable[[Scene, bool], Trouble], folder: Path, mode: str, lethal: bool) -> list[str]:
    async with open_scene(folder, mode) as scene:
        return await endure(scene, make(scene, lethal))


def _limit(scene: Scene, lethal: bool) -> Trouble:
    def limit(size: int) -> None:
        if scene.victim.runs:
            resource.prlimit(scene.victim.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return Trouble(
        _doing(partial(limit, FILE_LIMIT)),
        _doing(partial(limit, resource.RLIM_INFINITY)),
        refuses=True,
        lethal=lethal,
    )


def _deleted(scene: Scene, lethal: bool) -> Trouble:
    return Trouble(_doing(scene.victim.database.unlink), _doing(lambda: None), reddens=False, lethal=lethal)


def _log_deleted(scene: Scene, lethal: bool) -> Trouble:
    def delete() -> None:
        for segment in scene.victim.database.parent.glob("*.commits.*"):
            segment.unlink()

    return Trouble(_doing(delete), _doing(lambda: None), reddens=False, lethal=lethal)


def _replaced(scene: Scene, lethal: bool, *, put_back: bool) -> Trouble:
    database = scene.victim.database
    own, other = database.with_name("own"), database.with_name("other")

    def replace() -> None:
        with closing(sqlite3.connect(other)) as conn:
            conn.execute("CREATE TABLE somebody_elses(x)")
        database.rename(own)
        shutil.copy2(other, database)

    def mend() -> None:
        if database.read_bytes() != other.read_bytes():
            raise AssertionError("somebody else's file was written to")
        if put_back:
            own.rename(database)
        else:
            database.unlink()

    return Trouble(_doing(replace), _doing(mend), lethal=lethal)


MAKE: dict[str, Callable[[Scene, bool], Trouble]] = {
    "limit": _limit,
    "deleted": _deleted,
    "log-deleted": _log_deleted,
    "replaced-put-back": partial(_replaced, put_back=True),
    "replaced-moved-away": partial(_replaced, put_back=False),
}


async def _full(folder: Path, mode: str, lethal: bool) -> list[str]:
    small = folder / "small"
    small.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        raise CannotBe("a small file system can be mounted by root only")
    await _command(
        "mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=0700", "recorder-torture", str(small)
    )
    filler = small / ".filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    try:
        async with open_scene(folder, mode, database=small / "sessions.sqlite") as scene:
            return await endure(
                scene, Trouble(_doing(fill), _doing(filler.unlink), refuses=True, lethal=lethal)
            )
    finally:
        await _command("umount", "--lazy", str(small))


async def _read_only(folder: Path, mode: str, lethal: bool) -> list[str]:
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            raise CannotBe("root may write to a read-only directory, and there is no setpriv")
        prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
        await _command(*prefix, "true")
    async with open_scene(folder, mode, prefix=prefix) as scene:
        directory = scene.victim.database.parent
        trouble = Trouble(
            _doing(partial(directory.chmod, 0o500)), _doing(partial(directory.chmod, 0o700)), lethal=lethal
        )
        return await endure(scene, trouble)


async def _command(*words: str) -> None:
    """Run a command. Raises CannotBe where it fails."""
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBe(f"{words[0]}: {done.stderr.strip()}")


def _doing(work: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def act() -> None:
        await asyncio.to_thread(work)

    return act
