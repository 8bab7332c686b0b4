"""The selection of entries by a command's options: times, options, and the query parameters they become."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from recorder.core.clock import Clock, SystemClock
from recorder.core.delta import DELTA_TYPES
from recorder.core.errors import InvalidQuery
from recorder.core.position import MAX_SEQ
from recorder.core.timestamps import format_ms, normalise

HELP = "a time (2026-11-20T12:00:00Z) or how long ago (90s, 15m, 2h, 30d, 4w)"

_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_AGO = re.compile(r"([0-9]{1,9})([smhdw])")


def is_ago(text: str) -> bool:
    """Return whether a text is a relative time, such as `2h` (two hours ago)."""
    return _AGO.fullmatch(text.strip()) is not None


def moment(text: str, option: str, clock: Clock | None = None) -> str:
    """Return the time in the fixed-width form.

    Args:
        text: What was typed.
        option: The option it was typed behind, for the message.
        clock: What "ago" counts from; the machine's clock by default.

    Raises:
        InvalidQuery: It is no time.
    """
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is None:
            return normalise(text.strip())
        return format_ms((clock or SystemClock()).now_ms() - int(ago[1]) * _UNIT_MS[ago[2]])
    except (ValueError, OverflowError):
        raise InvalidQuery(f"{option}: {text!r} is neither {HELP.replace(' or ', ' nor ', 1)}") from None


FILTER_PANEL = "Which entries"

JsonOption = Annotated[bool, typer.Option("--json", help="JSON, one value a line, even on a terminal.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]

Sessions = Annotated[
    list[str] | None,
    typer.Option(
        "--session",
        metavar="ID",
        help="Only this session; may be repeated.",
        rich_help_panel=FILTER_PANEL,
    ),
]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        help=f"Only this type ({', '.join(DELTA_TYPES)}); may be repeated.",
        rich_help_panel=FILTER_PANEL,
    ),
]


def _filter(name: str, metavar: str, words: str, **more: Any) -> Any:
    return typer.Option(
        name, metavar=metavar, help=words, show_default=False, rich_help_panel=FILTER_PANEL, **more
    )


Since = Annotated[str | None, _filter("--since", "TIME", f"Recorded at or after {HELP}.")]
Until = Annotated[str | None, _filter("--until", "TIME", "Recorded at or before such a time.")]
HappenedSince = Annotated[
    str | None,
    _filter("--happened-since", "TIME", "Happened at or after such a time, by the publisher's clock."),
]
HappenedUntil = Annotated[
    str | None, _filter("--happened-until", "TIME", "Happened at or before such a time.")
]
Lineage = Annotated[
    str | None,
    _filter("--lineage", "broken", "Only deltas whose `before` is not what was recorded last."),
]
After = Annotated[int | None, _filter("--after", "SEQ", "Behind this seq.", min=0)]
Before = Annotated[int | None, _filter("--before", "SEQ", "In front of this seq.", min=0)]


@dataclass(frozen=True)
class Filters:
    """The selected entries; times in the fixed-width form, empty and None for no bound."""

    sessions: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    after: int | None = None
    before: int | None = None
    happened_since: str | None = None
    happened_until: str | None = None
    lineage: str | None = None

    def params(self) -> list[tuple[str, str]]:
        """Return the query parameters of `GET /api/deltas` and `GET /api/export`."""
        bounds = {
            "since": self.since,
            "until": self.until,
            "after": self.after,
            "before": self.before,
            "happenedSince": self.happened_since,
            "happenedUntil": self.happened_until,
            "lineage": self.lineage,
        }
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
    happened: tuple[str | None, str | None] = (None, None),
    lineage: str | None = None,
) -> Filters:
    """Check what was typed.

    Args:
        sessions: Session ids.
        types: Delta types.
        since: A time as typed.
        until: A time as typed.
        bounds: after and before, seqs.
        happened: since and until, times of happening as typed.
        lineage: `broken`, or None.

    Raises:
        InvalidQuery: No such type, an empty session, no time, no seq.
    """
    for kind in types or ():
        if kind not in DELTA_TYPES:
            raise InvalidQuery(f"--type: {kind!r} is not one of {', '.join(DELTA_TYPES)}")
    if "" in (sessions or ()):
        raise InvalidQuery("--session: a session's id has at least one character")
    if lineage not in (None, "broken"):
        raise InvalidQuery(f"--lineage: {lineage!r} is not broken")
    for option, seq in zip(("--after", "--before"), bounds, strict=True):
        if seq is not None and seq > MAX_SEQ:
            raise InvalidQuery(f"{option}: {str(seq)[:40]} is not a seq")
    return Filters(
        sessions=tuple(dict.fromkeys(sessions or ())),
        types=tuple(dict.fromkeys(types or ())),
        since=_moment(since, "--since"),
        until=_moment(until, "--until"),
        after=bounds[0],
        before=bounds[1],
        happened_since=_moment(happened[0], "--happened-since"),
        happened_until=_moment(happened[1], "--happened-until"),
        lineage=lineage,
    )


def _moment(typed: str | None, option: str) -> str | None:
    return None if typed is None else moment(typed, option)
