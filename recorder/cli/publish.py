"""`recorder publish`: deltas from a file or from standard input into a running recorder.

What the input is shows in its content: a delta, an array of them, or one a line. Lines are sent as they
come, so that a pipe that never ends works too. The states travel byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from recorder.bridges.imports import SourceDelta, rawjson
from recorder.bridges.imports import files as reading
from recorder.bridges.imports.records import MAX_FILE_BYTES, MAX_LINE_BYTES, Unfit
from recorder.cli import console
from recorder.cli.batches import Sender
from recorder.cli.http import DEFAULT_URL, Remote, UrlOption
from recorder.cli.options import JsonOption
from recorder.core.errors import SourceError

_BLANK = b" \t\r\n"


def publish(
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="JSON: one delta, an array, or one a line. - is stdin.")
    ],
    json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Publish deltas from a file or stdin.

    Prints the position of the last one: `tail --since POSITION` goes on from there.
    """
    with Remote(url) as remote, console.Steps("publishing", "deltas") as steps:
        sender = Sender(remote, steps, _stop)
        try:
            _publish(file, sender)
        finally:
            if sender.published or sender.known:
                console.print_status(sender.summary())
        remote.warn_if_not_recording()
    if json:
        console.json_line({"published": sender.published, "known": sender.known, "position": sender.position})
    elif sender.position is not None:
        console.out_line(sender.position)


def _publish(file: str, sender: Sender) -> None:
    try:
        for delta in deltas(file, sender.wait):
            sender.add(delta)
    except SourceError:
        # What came in front of the bad one is recorded; after a refusal nothing is left to send.
        sender.flush()
        raise
    sender.flush()


def _stop(error: SourceError) -> None:
    raise error


def deltas(file: str, wait: reading.Wait | None = None) -> Iterator[SourceDelta]:
    """Yield the deltas of a file without decoding them; the recorder validates them.

    Args:
        file: Its path, or `-`.
        wait: Called before more of a stream is waited for: what came before should leave soon.

    Raises:
        SourceError: It cannot be read, or something in it is not JSON.
    """
    name = reading.name_of(file)
    parts = reading.chunks(file, wait)
    head = b""
    # A pipe may hand over the first line in pieces.
    for part in parts:
        head = (head + part).lstrip(_BLANK)
        if head.startswith(b"[") or b"\n" in head or len(head) > MAX_LINE_BYTES:
            break
    rest = _joined(head, parts)
    if _is_lines(head):
        yield from _lines(rest, name)
    else:
        yield from _document(reading.whole(rest, name, MAX_FILE_BYTES), name)


def _joined(head: bytes, parts: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from parts


def _is_lines(head: bytes) -> bool:
    """Return whether the first line is a complete value, whatever follows; an array is a document."""
    first, newline, _ = head.partition(b"\n")
    if head.startswith(b"[") or not newline:
        return False
    try:
        rawjson.check(first.strip())
    except Unfit:
        return False
    return True


def _lines(parts: Iterator[bytes], name: str) -> Iterator[SourceDelta]:
    for number, line in reading.lines(parts, MAX_LINE_BYTES):
        place = f"{name}: line {number}"
        try:
            if isinstance(line, Unfit):
                raise line
            rawjson.check(line)
        except Unfit as unfit:
            raise unfit.at(place) from None
        yield SourceDelta(line, place)


def _document(text: bytes, name: str) -> Iterator[SourceDelta]:
    values = rawjson.elements(text) if text.startswith(b"[") else rawjson.values(text)
    number = 0
    try:
        for number, value in enumerate(values, 1):
            yield SourceDelta(value, f"{name}: delta {number}")
    except Unfit as unfit:
        raise unfit.at(f"{name}: delta {number + 1}") from None
