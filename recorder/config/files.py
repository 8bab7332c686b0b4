"""What a path names, looked at before it is opened: opening a named pipe would wait for whoever writes to it."""

from __future__ import annotations

import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


def special_kind(path: Path) -> str | None:
    """Return what a path names, in words, where it is no regular file; None where it is one, or missing.

    Args:
        path: The path; symbolic links are followed.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return None  # whoever opens it says why it cannot be
    return next((words for is_kind, words in _KINDS if is_kind(mode)), None)
