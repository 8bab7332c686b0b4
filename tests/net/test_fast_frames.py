"""The fast way for plain frames gives what the Sans-I/O state machine gives."""

from __future__ import annotations

import logging
from struct import pack

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol
from websockets.server import ServerProtocol
from websockets.utils import apply_mask

from recorder.net.fast_frames import HELD_BYTES, may_hold, take_messages

MAX_BYTES = 70_000
MASK = b"\x37\xfa\x21\x3d"
quiet = logging.getLogger("tests.quiet")


def machine() -> ServerProtocol:
    """A state machine after its handshake."""
    proto = ServerProtocol(logger=quiet, max_size=MAX_BYTES)
    proto.state = OPEN
    proto.parser = Protocol.parse(proto)
    next(proto.parser)
    return proto


def frame(opcode: Opcode, payload: bytes, fin: bool = True) -> bytes:
    """A client's frame, with a mask that is the same each time (Frame.serialize would draw one)."""
    length = len(payload)
    size = (
        bytes([0x80 | length])
        if length < 126
        else pack(">BH", 0xFE, length)
        if length < 65536
        else pack(">BQ", 0xFF, length)
    )
    return bytes([0x80 * fin | opcode]) + size + MASK + apply_mask(payload, MASK)


OTHER = {
    "ping": frame(Opcode.PING, b"?"),
    "binary": frame(Opcode.BINARY, b"x"),
    "fragments": frame(Opcode.TEXT, b"half", fin=False) + frame(Opcode.CONT, b"whole"),
    "unmasked": Frame(Opcode.TEXT, b"unmasked").serialize(mask=False),
    "reserved bit": b"\xc1\x80\0\0\0\0",
}
# Sizes and names, not texts: what fails is to be read by people.
sizes = st.sampled_from([0, 1, 125, 126, 127, 300, 65_535, 65_536, MAX_BYTES, MAX_BYTES + 1])
others = st.sampled_from(sorted(OTHER))


def stream_of(pieces: list[int | str]) -> bytes:
    """Text frames of these sizes, and others by their names."""
    return b"".join(
        [OTHER[x] if isinstance(x, str) else frame(Opcode.TEXT, bytes([x % 256]) * x) for x in pieces]
    )


@given(st.lists(sizes | others, max_size=8), st.integers(0, 40))
def test_what_it_takes_the_state_machine_would_have_given(pieces: list[int | str], cut: int) -> None:
    data = stream_of(pieces)
    data = data[: max(0, len(data) - cut)]
    messages, taken = take_messages(data, MAX_BYTES)
    proto = machine()
    proto.receive_data(data[:taken])
    given_by_machine = [bytes(event.data) for event in proto.events_received() if isinstance(event, Frame)]
    assert messages == given_by_machine
    assert not proto.reader.buffer
    assert proto.parser_exc is None


@given(st.lists(sizes, min_size=1, max_size=4), st.integers(0, 300_000))
def test_what_is_held_back_is_taken_or_given_on_when_the_rest_has_come(
    pieces: list[int | str], cut: int
) -> None:
    stream = stream_of(pieces)
    cut = min(cut, len(stream))
    messages, taken = take_messages(stream[:cut], MAX_BYTES)
    rest = stream[taken:cut]
    if may_hold(rest, MAX_BYTES):
        assert len(rest) <= HELD_BYTES
        # With the rest it is a message; or it is seen not to be a plain one, and given on.
        more, _ = take_messages(stream[taken:], MAX_BYTES)
        assert more or not stream[taken:] or not may_hold(stream[taken:], MAX_BYTES)
    whole, _ = take_messages(stream, MAX_BYTES)
    assert whole[: len(messages)] == messages


def test_a_message_beyond_the_limit_is_left_to_be_refused() -> None:
    data = frame(Opcode.TEXT, b"x" * 200)
    assert take_messages(data, 199) == ([], 0)
    assert not may_hold(data[:100], 199)
    assert may_hold(data[:100], 200)
