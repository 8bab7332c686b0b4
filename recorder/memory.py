"""How much memory this process may use: what the machine has, or what its container is given, whichever is less.

Read where Linux keeps it (cgroup v2, then v1) and from the system. Left out: what others use of it now, which changes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

CGROUP_FILES = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def available_memory(files: Iterable[Path] = CGROUP_FILES) -> int | None:
    """Bytes this process may use; None where the system does not say.

    Args:
        files: Where a container's limit stands.
    """
    found = [size for path in files if (size := _limit(path)) is not None]
    if (machine := _machine()) is not None:
        found.append(machine)
    return min(found, default=None)


def _limit(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    # v2 says "max", v1 a number near 2**63, where there is no limit.
    return int(text) if text.isdigit() and int(text) > 0 else None


def _machine() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None  # Windows has no sysconf, and others have no such name
