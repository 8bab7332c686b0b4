"""Reading logs as the import does, and holding what comes out against the recorder's own rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recorder.bridges.imports import FORMATS, Importer, SourceDelta, SourceItem, SourceOptions, open_source
from recorder.bridges.imports.records import Sessions
from recorder.cli import main
from recorder.core.delta import Delta
from recorder.core.errors import SourceError
from recorder.wire.decode import decode_text

LOGS = (
    ("debezium", "debezium/*.json"),
    ("swe-agent", "swe_agent/*.traj"),
    ("claude-code", "claude_code/*.jsonl"),
)


class Told(NamedTuple):
    """What is told of a delta, wherever it is told; states as their very bytes."""

    seq: int
    type: str
    session: str
    before: bytes | None
    after: bytes | None
    timestamp: str
    id: str | None


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Bytes as a file gives them, that many at a time."""
    return (data[start : start + size] for start in range(0, max(len(data), 1), size))


def read(
    form: str, data: bytes | str, *, name: str = "log", chunk: int = 65_536, **options: Any
) -> list[SourceItem]:
    """What a log gives.

    Args:
        form: Its format.
        data: What is in it.
        name: Its name.
        chunk: How many bytes are read at a time.
        options: Fields of `SourceOptions`.
    """
    raw = data.encode() if isinstance(data, str) else data
    return list(FORMATS[form].read(pieces(raw, chunk), name, SourceOptions(**options), Sessions()))


def read_file(form: str, path: Path | str, **options: Any) -> list[SourceItem]:
    """What a file gives, with everything that is wrong with it as one error at the end."""
    items: list[SourceItem] = []
    try:
        items.extend(open_source(form, str(path), options=SourceOptions(**options)))
    except SourceError as error:
        items.append(error)
    return items


def delta_of(item: SourceItem) -> Delta:
    """The delta that an item is, as the recorder takes it."""
    assert isinstance(item, SourceDelta), item
    (delta,) = decode_text(item.text, SourceOptions().max_delta_bytes)
    return delta


def deltas_of(items: Iterable[SourceItem]) -> list[Delta]:
    """The deltas among items."""
    return [delta_of(item) for item in items if isinstance(item, SourceDelta)]


def errors_of(items: Iterable[SourceItem]) -> list[str]:
    """The messages of the errors among items."""
    return [item.message for item in items if isinstance(item, SourceError)]


def only(form: str, data: bytes | str, **options: Any) -> Delta:
    """The delta of a log that gives just one."""
    (item,) = read(form, data, **options)
    return delta_of(item)


def refusal(form: str, data: bytes | str, **options: Any) -> str:
    """The message of a log that gives just one error."""
    (item,) = read(form, data, **options)
    assert isinstance(item, SourceError), item
    assert item.place is not None
    assert item.message.startswith(f"{item.place}: ")
    return item.message


def files_of(shared_data: Path) -> list[tuple[str, list[str]]]:
    """The formats with their files, in the order in which they are imported."""
    found = [(form, [str(path) for path in sorted(shared_data.glob(pattern))]) for form, pattern in LOGS]
    assert all(files for _, files in found)
    return found


def logged(shared_data: Path) -> Iterator[SourceItem]:
    """What is in the logs: a session that is in several files goes on, as in one import."""
    importer = Importer()
    for form, files in files_of(shared_data):
        for file in files:
            yield from importer.open(form, file)


def expected(items: Sequence[SourceItem]) -> list[Told]:
    """What has to be told of them: numbered in order, and with `before` filled in from what was told last."""
    states: dict[str, bytes | None] = {}
    found = []
    for seq, delta in enumerate(deltas_of(items), 1):
        after = None if delta.after is None else delta.after.encode()
        before = None if delta.before is None else delta.before.encode()
        if before is None and delta.type != "created":
            before = states.get(delta.session_id)
        states[delta.session_id] = after
        found.append(Told(seq, delta.type, delta.session_id, before, after, delta.timestamp or "", delta.id))
    return found


def import_logs(shared_data: Path, url: str) -> None:
    """Import everything, as a person does; not in the event loop."""
    for form, files in files_of(shared_data):
        assert main(["import", *files, "--format", form, "--skip-bad", "--url", url]) == 0
