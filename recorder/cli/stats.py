"""`recorder stats`: how much is recorded, and how fresh the file is; on a terminal in words and units."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from recorder.cli import console
from recorder.cli import database as dbfile
from recorder.cli.database import DbOption
from recorder.cli.http import DEFAULT_URL, NOT_RECORDING, OptionalUrl, Remote
from recorder.cli.options import JsonOption


def stats(json: JsonOption = False, url: OptionalUrl = None, db: DbOption = None) -> None:
    """Show how much is recorded, and how fresh the file is."""
    if db is not None:
        with dbfile.opened(db) as conn:
            figures = dbfile.statistics(conn, db)
    else:
        with Remote(url or DEFAULT_URL) as remote:
            figures = remote.get_json("/api/stats")
    console.answer(figures, _lines(figures), as_json=json)


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    if figures.get("enabled") is False:
        yield NOT_RECORDING
    shown = {name: figures[name] for name in (*_WORDS, *figures) if name in figures and name != "enabled"}
    lines = [(_label(name), _shown(name, value)) for name, value in shown.items()]
    width = max((len(label) for label, _ in lines), default=0)
    for label, text in lines:
        yield console.visible(f"{label:<{width}}  {text}")


def _label(name: str) -> str:
    """Return what a field means; of one that a newer server has added, its name as words."""
    if name in _WORDS:
        return _WORDS[name][0]
    return re.sub(r"(?<=[a-z])[A-Z]", lambda found: f" {found[0].lower()}", name)


def _shown(name: str, value: Any) -> str:
    show = _WORDS[name][1] if name in _WORDS else None
    if show is not None and isinstance(value, int):
        return show(value)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _bytes(count: int) -> str:
    """Return a size in its largest unit: 812 B, 116.0 KiB, 1.2 GiB."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{count} B" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


def _duration(ms: int) -> str:
    """Return a time span: none, 250 ms, 60 s."""
    if ms == 0:
        return "none"
    return f"{ms:,} ms" if ms < 1000 or ms % 1000 else f"{ms // 1000:,} s"


# Each field of /api/stats in the order of the list, with its name for people, and how its number is shown.
_WORDS: dict[str, tuple[str, Callable[[int], str] | None]] = {
    "recording": ("recording", None),
    "dbPath": ("database file", None),
    "fileSize": ("file size", _bytes),
    "deltaCount": ("deltas kept", None),
    "sessionCount": ("sessions", None),
    "lineageBreaks": ("broken lineages", None),
    "epoch": ("epoch", str),
    "oldest": ("oldest seq kept", None),
    "head": ("newest seq", None),
    "recorded": ("recorded up to seq", None),
    "durable": ("on disk up to seq", None),
    "durability": ("durability", None),
    "lossWindowMs": ("a crash can lose", _duration),
    "lastSnapshotAt": ("last snapshot", None),
    "lastSnapshotError": ("last snapshot error", None),
    "lastPruneAt": ("last prune", None),
    "pruneWithheld": ("prune withheld", None),
    "lastLoss": ("last loss", None),
    "subscribers": ("subscribers", None),
    "publishers": ("publishers", None),
    "clockBehindMs": ("clock behind by", _duration),
    "pid": ("process id", str),
}
