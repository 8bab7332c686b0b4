"""Filters of sessions: by name, or by a prefix of it.

`Sessions` is what every filter is made of: None for all, a set of names, or a `Scope` where beginnings count too. All
three answer `in` but None, so a reader that only asks `is None` and `in` needs to know no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Scope:
    """Sessions by name and by the beginning of their names.

    Args:
        names: Whole ids.
        prefixes: Beginnings of ids; none of them empty.
    """

    names: frozenset[str]
    prefixes: tuple[str, ...]

    def __contains__(self, session_id: str) -> bool:
        return session_id in self.names or session_id.startswith(self.prefixes)


Sessions: TypeAlias = frozenset[str] | Scope | None
"""A filter for sessions; None is all."""


def sessions_of(names: frozenset[str], prefixes: tuple[str, ...]) -> frozenset[str] | Scope:
    """Return the simplest form of the filter: a plain set if there are no prefixes."""
    return Scope(names, prefixes) if prefixes else names
