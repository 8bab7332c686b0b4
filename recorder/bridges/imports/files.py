"""Reading of files, compressed files and standard input, as lines or as a whole, always within a bound.

Reading is by chunks, so that a line or a file that is too long is noticed before it fills the memory. What a file is
shows in its content, never in its name. What fails here is the file and not a record, so it is raised: nothing after it
could be read.
"""

from __future__ import annotations

import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import BinaryIO

from recorder.bridges.imports.records import Unfit
from recorder.core.errors import SourceError

STDIN = "-"
_CHUNK = 65_536
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_GZIP, _GZIP_WINDOW = b"\x1f\x8b", 31


Wait = Callable[[int], None]
"""Called with a descriptor before it is waited for, where the rest of a stream may take its time."""


def name_of(path: str) -> str:
    """Return how messages name the file."""
    return "<stdin>" if path == STDIN else path


def chunks(path: str, wait: Wait | None = None) -> Iterator[bytes]:
    """Read the bytes of a file, unpacked where they are gzip's, without a byte order mark.

    Args:
        path: Its path, or `-` for standard input, which is left open.
        wait: Called each time before more of a stream (a pipe, a terminal) is waited for.

    Raises:
        SourceError: It cannot be opened, read or unpacked.
    """
    try:
        if path == STDIN:
            yield from _content(sys.stdin.buffer, wait)
            return
        with open(path, "rb") as file:
            yield from _content(file, wait)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        # ValueError: a name that no file can have (a NUL, lone surrogates), a standard input that is closed.
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{name_of(path)}: cannot be read: {reason}", place=name_of(path)) from error


def whole(parts: Iterable[bytes], name: str, max_bytes: int) -> bytes:
    """Return the joined parts.

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
    """Yield the lines that are not blank, with their numbers from 1, without the white space around them.

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


def _line(
    number: int, held: list[bytes], last: bytes, size: int, max_bytes: int
) -> Iterator[tuple[int, bytes | Unfit]]:
    if size > max_bytes:
        yield number, Unfit(f"the line has more than {max_bytes} bytes", hint="raise max_line_bytes")
    elif line := b"".join([*held, last]).strip(_BLANK):
        yield number, line


def _content(file: BinaryIO, wait: Wait | None) -> Iterator[bytes]:
    parts = _parts(file, wait)
    head = _head(parts, len(_GZIP))
    parts = chain([head], parts)
    if head.startswith(_GZIP):
        parts = _unpacked(parts)
    head = _head(parts, len(_BOM))
    yield head.removeprefix(_BOM)
    yield from parts


def _parts(file: BinaryIO, wait: Wait | None) -> Iterator[bytes]:
    # Of a stream what is there, without waiting until a chunk is full.
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    descriptor = _stream(file) if wait is not None else None
    while True:
        if wait is not None and descriptor is not None:
            wait(descriptor)
        part = read(_CHUNK)
        if not part:
            return
        yield part


def _stream(file: BinaryIO) -> int | None:
    """Return the descriptor of a file that may keep a reader waiting."""
    try:
        descriptor = file.fileno()
    except (OSError, AttributeError):
        return None
    return None if stat.S_ISREG(os.fstat(descriptor).st_mode) else descriptor


def _head(parts: Iterator[bytes], size: int) -> bytes:
    head = b""
    while len(head) < size and (part := next(parts, b"")):
        head += part
    return head


def _unpacked(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack gzip's members, one after another; each piece is bounded, however well it was packed."""
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    for part in parts:
        rest = part
        while rest:
            if unpacker.eof:
                rest = rest.lstrip(b"\0")  # padding between members
                unpacker = zlib.decompressobj(_GZIP_WINDOW) if rest else unpacker
                continue
            if piece := unpacker.decompress(rest, _CHUNK):
                yield piece
            rest = unpacker.unused_data or unpacker.unconsumed_tail
    while piece := unpacker.decompress(b"", _CHUNK):
        yield piece  # all input is taken, and the last piece was full
    if not unpacker.eof:
        raise EOFError("it is truncated")
