"""Reading logs as the import does, and holding what comes out against the recorder's own rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from recorder.errors import SourceError
from recorder.model.delta import Delta
from recorder.protocol.decode import decode_text
from recorder.sources import FORMATS, SourceDelta, SourceItem, SourceOptions, open_source


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
    return list(FORMATS[form].read(pieces(raw, chunk), name, SourceOptions(**options)))


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
