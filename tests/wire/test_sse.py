"""Server-Sent Events: whatever a state looks like, a reader by the standard gets its JSON and its true text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from recorder.wire import sse
from recorder.wire.events import item_text, state_frame
from tests.support.jsontexts import STATES

AT = "2026-11-20T12:00:00.000Z"


def read(stream: bytes) -> list[tuple[str | None, str]]:
    """(id, data) of each message, by the letter of the HTML standard, section 9.2.6."""
    found = []
    last: str | None = None
    data: list[str] = []
    for line in stream.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            last = value
        elif name == "data":
            data.append(value)
        elif line == "" and data:
            found.append((last, "\n".join(data)))
            data = []
    return found


def item(after: str, seq: int = 7) -> bytes:
    names, extras = ("updated", "s"), (None, None, False, None)
    text = item_text(seq, AT, b"\x01" * 32, names, (None, after), AT, extras)
    return text.encode()


def true_text(event: dict[str, Any], name: str, data: str) -> str:
    """The text of a state, as the reader of a message has it."""
    exact: str | None = event.get("exact", {}).get(name)
    if exact is not None:
        return exact
    start = data.index(f'"{name}":') + len(name) + 3
    return data[start : data.rindex("}")] if name == "state" else data[start : data.rindex(',"timestamp"')]


@given(STATES)
def test_the_text_of_a_state_survives_whatever_stands_between_its_tokens(after: str) -> None:
    ((position, data),) = read(sse.items([item(after)], "EPOCH"))
    event = json.loads(data)
    assert (position, event["event"], event["seq"]) == ("EPOCH:7", "delta", 7)
    assert true_text(event, "after", data) == after
    ((position, data),) = read(sse.states([state_frame(3, "s", after)]))
    assert position is None
    assert true_text(json.loads(data), "state", data) == after


@pytest.mark.parametrize("after", ['{"a":\n1}', '{"a":\r1}', '[\r\n"x\\n"]'])
def test_line_breaks_become_spaces_and_are_kept_beside(after: str) -> None:
    (message,) = sse.items([item(after)], "E").split(b"\n\n")[:-1]
    assert message.count(b"\n") == 1
    assert b"\r" not in message
    event = json.loads(message.partition(b"data: ")[2])
    assert event["exact"] == {"after": after}
    assert event["delta"]["after"] == json.loads(after)


def test_several_messages_each_have_their_position() -> None:
    assert [position for position, _ in read(sse.items([item("1", 5), item("2", 6)], "E"))] == ["E:5", "E:6"]
