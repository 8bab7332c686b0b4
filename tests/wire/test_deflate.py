"""Frames compressed for all: any client reads them, whatever came before, and none is longer than it was."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.streams import StreamReader

from recorder.wire.deflate import WINDOW_BITS, packed_frame, packed_frames
from recorder.wire.frames import payload, text_frame

TEXTS = st.one_of(
    st.text(max_size=400),
    st.tuples(st.text(min_size=1, max_size=20), st.integers(0, 5000)).map(lambda pair: pair[0] * pair[1]),
    st.binary(min_size=100, max_size=5000).map(bytes.hex),
).map(str.encode)


def read(data: bytes, extension: PerMessageDeflate) -> list[Frame]:
    """The frames, as a client of the state machine reads them."""
    reader, frames = StreamReader(), []
    reader.feed_data(data)
    while reader.buffer:
        parsing = Frame.parse(reader.read_exact, mask=False, max_size=1 << 20, extensions=[extension])
        try:
            while True:
                next(parsing)
        except StopIteration as done:
            frames.append(done.value)
    return frames


@given(st.lists(TEXTS, max_size=5))
def test_any_client_reads_them_as_they_were(texts: list[bytes]) -> None:
    client = PerMessageDeflate(True, True, WINDOW_BITS, WINDOW_BITS)
    wire = packed_frames([text_frame(text) for text in texts])
    assert [bytes(frame.data) for frame in read(wire, client)] == texts


@given(TEXTS)
def test_none_is_longer_than_it_was_and_each_stands_for_itself(text: bytes) -> None:
    frame = text_frame(text)
    packed = packed_frame(frame)
    assert len(packed) <= len(frame)
    if packed != frame:
        assert packed[0] == 0xC1
        assert zlib.decompressobj(-WINDOW_BITS).decompress(payload(packed) + b"\x00\x00\xff\xff") == text
    assert packed_frame(frame) == packed


def test_what_is_long_and_repeats_itself_gets_much_shorter() -> None:
    for size in (300, 3000, 300_000):
        assert len(packed_frame(text_frame(b'{"planStatus":"pending"}' * (size // 24)))) < size / 5
