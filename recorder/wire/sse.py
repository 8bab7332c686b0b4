"""Events as Server-Sent Events, as the HTML standard has them: `id:` is the position, `data:` the event's JSON.

A message of SSE has no room for a line break inside a line of data, as a line of NDJSON has none, and it is solved the
same way (`protocol.export`): a break between a state's tokens becomes a space, `exact` carries the state's true text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recorder.core import json_text as jsontext
from recorder.core.delta import Entry
from recorder.wire.events import EVENT_OPENING, delta_event, quote
from recorder.wire.export import ndjson_of_item
from recorder.wire.frames import payload

_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_OPENING = len(EVENT_OPENING)


def message(event: bytes, position: str | None = None, retry_ms: int | None = None) -> bytes:
    """Return an event without states as a message.

    Args:
        event: Its JSON, on one line.
        position: Where to resume behind it, where it is such a place.
        retry_ms: How long a reader shall wait before it comes back. In a message of its own many readers would hand it
            out as an empty event.
    """
    retry = b"" if retry_ms is None else b"retry: %d\n" % retry_ms
    place = b"" if position is None else b"id: %b\n" % position.encode()
    return b"%b%bdata: %b\n\n" % (retry, place, event)


def entries(found: Iterable[Entry], epoch: str) -> bytes:
    """Return live entries as messages, joined."""
    return b"".join([message(_one_line(payload(e.frame)), f"{epoch}:{e.seq}") for e in found])


def items(found: Sequence[bytes], epoch: str) -> bytes:
    """Return entries from history (`events.item_text`) as messages, joined."""
    return b"".join([message(_one_line(delta_event(item)), f"{epoch}:{_seq_of(item)}") for item in found])


def states(found: Iterable[bytes]) -> bytes:
    """Return `state` events (their frames) as messages, joined. They have no id: one cannot resume within a
    list of states.
    """
    return b"".join([message(_state_line(payload(frame))) for frame in found])


def _one_line(event: bytes) -> bytes:
    """Return a delta event without line breaks; most have none and are returned unchanged."""
    if b"\n" not in event and b"\r" not in event:
        return event
    return delta_event(ndjson_of_item(b"{" + event[_OPENING:])[:-1])


def _state_line(event: bytes) -> bytes:
    if b"\n" not in event and b"\r" not in event:
        return event
    exact = quote(jsontext.members(event, trusted=True)["state"].decode())
    return b'%b,"exact":{"state":%b}}' % (event.translate(_BREAKS)[:-1], exact.encode())


def _seq_of(item: bytes) -> int:
    """Return the seq of an item, its first field."""
    return int(item[len(b'{"seq":') : item.index(b",")])
