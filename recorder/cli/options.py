"""Which entries a command is about: the options, and the query parameters they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from recorder.cli.timeparse import HELP, moment
from recorder.config.validators import MAX_INT64
from recorder.core.delta import DELTA_TYPES
from recorder.core.errors import InvalidQuery

Sessions = Annotated[
    list[str] | None, typer.Option("--session", metavar="ID", help="Only this session; may be repeated.")
]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type", metavar="TYPE", help=f"Only this type ({', '.join(DELTA_TYPES)}); may be repeated."
    ),
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help=f"Recorded at or after {HELP}.", show_default=False),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help=f"Recorded at or before {HELP}.", show_default=False),
]
After = Annotated[
    int | None,
    typer.Option("--after", metavar="SEQ", min=0, max=MAX_INT64, help="Behind this seq.", show_default=False),
]
Before = Annotated[
    int | None,
    typer.Option(
        "--before", metavar="SEQ", min=0, max=MAX_INT64, help="In front of this seq.", show_default=False
    ),
]


@dataclass(frozen=True)
class Filters:
    """Which entries are wanted; times in the fixed-width form, empty and None for no bound."""

    sessions: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    after: int | None = None
    before: int | None = None

    def params(self) -> list[tuple[str, str]]:
        """As the query parameters of `GET /api/deltas` and `GET /api/export`."""
        bounds = {"since": self.since, "until": self.until, "after": self.after, "before": self.before}
        return [
            *(("session", session) for session in self.sessions),
            *(("type", kind) for kind in self.types),
            *((name, str(value)) for name, value in bounds.items() if value is not None),
        ]


def filters(
    sessions: list[str] | None = None,
    types: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    bounds: tuple[int | None, int | None] = (None, None),
) -> Filters:
    """Check what was typed.

    Args:
        sessions: Session ids.
        types: Delta types.
        since: A time as typed.
        until: A time as typed.
        bounds: after and before, seqs.

    Raises:
        InvalidQuery: No such type, an empty session, no time.
    """
    for kind in types or ():
        if kind not in DELTA_TYPES:
            raise InvalidQuery(f"--type: {kind!r} is not one of {', '.join(DELTA_TYPES)}")
    if "" in (sessions or ()):
        raise InvalidQuery("--session: a session's id has at least one character")
    return Filters(
        sessions=tuple(dict.fromkeys(sessions or ())),
        types=tuple(dict.fromkeys(types or ())),
        since=moment(since, "--since") if since is not None else None,
        until=moment(until, "--until") if until is not None else None,
        after=bounds[0],
        before=bounds[1],
    )
