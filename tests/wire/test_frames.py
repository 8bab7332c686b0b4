"""Frames of a server, read by websockets' own parser as a client would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from recorder.wire.frames import text_frame


def read_by_a_client(data: bytes) -> list[Frame]:
    client = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)
    client.receive_data(data)
    assert client.parser_exc is None
    events = client.events_received()
    assert all(isinstance(event, Frame) for event in events)
    return [event for event in events if isinstance(event, Frame)]


@pytest.mark.parametrize("length", [0, 1, 124, 125, 126, 127, 65534, 65535, 65536, 65537, 200_000])
def test_a_frame_is_what_websockets_itself_would_write(length: int) -> None:
    payload = b"x" * length
    frame = text_frame(payload)
    assert frame == Frame(Opcode.TEXT, payload).serialize(mask=False)
    (read,) = read_by_a_client(frame)
    assert (read.opcode, read.data, read.fin) == (Opcode.TEXT, payload, True)
    assert (read.rsv1, read.rsv2, read.rsv3) == (False, False, False)


@given(st.lists(st.text().map(str.encode) | st.integers(0, 70_000).map(bytes), max_size=6))
def test_frames_joined_into_one_write_are_read_one_by_one(payloads: list[bytes]) -> None:
    data = b"".join(map(text_frame, payloads))
    assert [frame.data for frame in read_by_a_client(data)] == payloads
