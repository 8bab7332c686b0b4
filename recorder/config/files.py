"""Files that a user names, checked before they are opened: opening a named pipe waits for a writer, and a device may
never end. At a reload that would stop the event loop."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from recorder.core.errors import InvalidSetting

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


def read_file(path: Path) -> bytes:
    """Return the content of a regular file; of /dev/null, which stands for an empty one, nothing.

    Args:
        path: The path; symbolic links are followed.

    Raises:
        OSError: It cannot be read, or it is no regular file.
    """
    # The kind of what was opened is checked: what the path names may change in between.
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode) and not os.path.samefile(path, os.devnull):
            raise OSError(
                errno.EINVAL, f"is {special_kind(path) or 'no regular file'}, not a file", str(path)
            )
        return file.read()


def file_of_setting(path: Path, setting: str) -> bytes:
    """Return the content of the file that a setting names.

    Args:
        path: The path.
        setting: The setting's name, for the message.

    Raises:
        InvalidSetting: It cannot be read, or it is no regular file.
    """
    try:
        return read_file(path)
    except OSError as error:
        raise InvalidSetting(
            f"{setting}: {path}: {error.strerror}", hint="correct the path or its permissions"
        ) from None
