"""From a path to bytes: files, packed files, standard input; as lines or as a whole, always within a bound.

Reading is by chunks, so that a line or a file that is too long is noticed before it fills the memory. What fails here
is the file and not a record, so it is raised: nothing after it could be read.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, cast

from recorder.bridges.imports.records import Unfit
from recorder.core.errors import SourceError

STDIN = "-"
_CHUNK = 65_536
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"


def name_of(path: str) -> str:
    """How messages name the file."""
    return "<stdin>" if path == STDIN else path


def chunks(path: str) -> Iterator[bytes]:
    """The bytes of a file, unpacked where its name ends in `.gz`, without a byte order mark.

    Args:
        path: Its path, or `-` for standard input, which is left open.

    Raises:
        SourceError: It cannot be opened, read or unpacked.
    """
    try:
        if path == STDIN:
            yield from _without_bom(sys.stdin.buffer)
            return
        with _opened(path) as file:
            yield from _without_bom(file)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        # ValueError: a name that no file can have (a NUL, lone surrogates), a standard input that is closed.
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{name_of(path)}: cannot be read: {reason}", place=name_of(path)) from error


def whole(parts: Iterable[bytes], name: str, max_bytes: int) -> bytes:
    """All of it at once.

    Raises:
        SourceError: It has more than `max_bytes`.
    """
    data = bytearray()
    for part in parts:
        data += part
        if len(data) > max_bytes:
            raise SourceError(
                f"{name}: larger than {max_bytes} bytes, and this format has to be read as a whole",
                hint="split the file, or raise max_file_bytes",
                place=name,
            )
    return bytes(data)


def lines(parts: Iterable[bytes], max_bytes: int) -> Iterator[tuple[int, bytes | Unfit]]:
    """The lines that are not blank, with their numbers from 1, without the white space around them.

    A line of more than `max_bytes` is passed over without being held, and comes as the reason to refuse it.
    """
    number, size = 1, 0
    held: list[bytes] = []
    for part in parts:
        *ended, rest = part.split(b"\n")
        for piece in ended:
            yield from _line(number, held, piece, size + len(piece), max_bytes)
            number, size = number + 1, 0
            held.clear()
        size += len(rest)
        if size <= max_bytes:
            held.append(rest)
        else:
            held.clear()
    yield from _line(number, held, b"", size, max_bytes)


def _opened(path: str) -> BinaryIO:
    if path.endswith(".gz"):
        # It is typed for text modes too.
        return cast(BinaryIO, gzip.open(path, "rb"))
    return open(path, "rb")


def _line(
    number: int, held: list[bytes], last: bytes, size: int, max_bytes: int
) -> Iterator[tuple[int, bytes | Unfit]]:
    if size > max_bytes:
        yield number, Unfit(f"the line has more than {max_bytes} bytes", hint="raise max_line_bytes")
    elif line := b"".join([*held, last]).strip(_BLANK):
        yield number, line


def _without_bom(file: BinaryIO) -> Iterator[bytes]:
    first = file.read(_CHUNK)
    yield first.removeprefix(_BOM)
    while part := file.read(_CHUNK):
        yield part
