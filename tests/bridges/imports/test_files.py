"""From paths to bytes: files, packed files, standard input, and the bounds of each."""

from __future__ import annotations

import gzip
import io
import os
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.bridges.imports.files import chunks, lines, name_of, whole
from recorder.bridges.imports.records import Unfit
from recorder.core.errors import SourceError
from tests.support.logs import pieces

BOM = b"\xef\xbb\xbf"


class Stdin:
    """What stands for standard input: only its bytes are asked for."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize("size", [0, 1, 65_536, 200_000])
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_is_read_whole_packed_or_not(size: int, packed: bool, tmp_path: Path) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    path = tmp_path / ("log.gz" if packed else "log")
    path.write_bytes(gzip.compress(data) if packed else data)
    assert b"".join(chunks(str(path))) == data


def test_standard_input_is_read_and_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = Stdin(b"a\nb")
    monkeypatch.setattr(sys, "stdin", stdin)
    assert b"".join(chunks("-")) == b"a\nb"
    assert not stdin.buffer.closed
    assert (name_of("-"), name_of("log")) == ("<stdin>", "log")


def test_a_byte_order_mark_is_no_part_of_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(BOM + b"{}" + BOM)
    assert b"".join(chunks(str(path))) == b"{}" + BOM


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("broken.gz", gzip.compress(bytes(100_000))[:-20]),
        ("damaged.gz", gzip.compress(b"x" * 1000)[:20] + b"\xff" * 40),
    ],
)
def test_a_packed_file_that_cannot_be_unpacked_is_named(name: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(SourceError) as caught:
        list(chunks(str(path)))
    assert caught.value.message.startswith(f"{path}: cannot be read: ")
    assert caught.value.place == str(path)


@pytest.mark.parametrize("name", ["log", "log.jsonl", "log.gz"])
@pytest.mark.parametrize("data", [b"", b"{}", b"x" * 300_000, bytes(range(256)) * 1000])
def test_what_is_packed_shows_in_the_content_not_in_the_name(name: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    for stored in (
        data,
        gzip.compress(data),
        gzip.compress(data[:100]) + gzip.compress(data[100:]) + bytes(8),
    ):
        path.write_bytes(stored)
        assert b"".join(chunks(str(path))) == data


def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    read, write = os.pipe()
    waited: list[int] = []
    with os.fdopen(write, "wb", buffering=0) as source:
        parts = chunks(f"/dev/fd/{read}", waited.append)
        source.write(b"one\n")
        assert next(parts) == b"one\n"
        source.write(b"two\n")
        assert next(parts) == b"two\n"
    assert list(parts) == []
    os.close(read)
    assert len(waited) >= 2


def test_what_cannot_be_opened_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none: cannot be read: No such file or directory$"):
        next(chunks("none"))
    with pytest.raises(SourceError, match=r"cannot be read: Is a directory$"):
        next(chunks(str(tmp_path)))


@pytest.mark.parametrize("name", ["a\0b", "a\0b.gz", "\ud83d", "x" * 5000])
def test_a_name_that_no_file_can_have_is_an_error_like_any_other(name: str) -> None:
    with pytest.raises(SourceError, match="cannot be read: "):
        next(chunks(name))


def test_a_file_is_closed_when_its_reader_stops_early(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 200_000)
    reading = chunks(str(path))
    next(reading)
    # A file left open would warn, and warnings fail the test.
    assert isinstance(reading, Iterator)
    reading.close()  # type: ignore[attr-defined]


def test_a_whole_has_a_bound() -> None:
    assert whole([b"ab", b"c"], "log", 3) == b"abc"
    with pytest.raises(SourceError, match=r"^log: larger than 2 bytes, .* \(split the file") as caught:
        whole([b"ab", b"c"], "log", 2)
    assert caught.value.place == "log"


@given(st.binary(max_size=60).map(lambda data: data.replace(b"z", b"\n")), st.integers(1, 7))
def test_lines_are_the_same_however_they_come(data: bytes, size: int) -> None:
    expected = [
        (number, line.strip(b" \t\r\n"))
        for number, line in enumerate(data.split(b"\n"), 1)
        if line.strip(b" \t\r\n")
    ]
    assert list(lines(pieces(data, size), 100)) == expected


def test_a_line_that_is_too_long_is_refused_and_the_next_is_read() -> None:
    found = list(lines(pieces(b"1234\n12345\n\n1\n123456", 2), 4))
    assert [(number, line) for number, line in found if isinstance(line, bytes)] == [(1, b"1234"), (4, b"1")]
    refused = [(number, line.reason) for number, line in found if isinstance(line, Unfit)]
    assert refused == [(number, "the line has more than 4 bytes") for number in (2, 5)]


def test_a_line_that_is_too_long_is_never_held() -> None:
    endless = (b"x" * 65_536 for _ in range(400))
    tracemalloc.start()
    try:
        ((_, line),) = lines(endless, 100_000)
        assert isinstance(line, Unfit)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
