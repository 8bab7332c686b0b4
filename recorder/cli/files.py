"""Files that appear complete or not at all: written beside their target, synced, renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary file, mode 0600, that takes the target's place at the end, or goes when an error leaves.

    Args:
        target: Where the complete file shall be; its directory must exist. A link stays one: the file
        behind it
            is replaced.
    """
    target = target.resolve()
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    path = Path(name)
    try:
        yield path
        _sync(path)
        path.replace(target)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    # The rename itself lives in the directory: without this a power cut could take it back.
    _sync(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
