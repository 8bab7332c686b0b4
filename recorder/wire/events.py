"""The events that the recorder sends: the JSON text of every event, built once for everybody who gets it.

A delta event is spliced together from text: states are never decoded. `SEPARATOR` may stand between items where
many travel as one text: it is a control character that JSON forbids raw inside any value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from recorder.core.chain import PLAIN, Erased, Extras
from recorder.core.delta import Entry
from recorder.wire.frames import payload, text_frame

PROTOCOL_VERSION = 1
SEPARATOR = "\x1e"
EVENT_OPENING = '{"event":"delta",'
"""How a delta event begins; what follows it is an item without its first brace."""


def quote(text: str) -> str:
    """Return a string as JSON text."""
    return orjson.dumps(text).decode()


# Of sessions' ids, which come again and again.
_quoted = lru_cache(maxsize=4096)(quote)


def item_text(
    seq: int,
    recorded_at: str,
    link: bytes | None,
    names: tuple[str, str],
    states: tuple[str | None, str | None],
    timestamp: str,
    extras: Extras,
    opening: str = "{",
    erased: Erased | None = None,
) -> str:
    """Return an entry as history returns it: `{"seq":…,"recordedAt":…,"hash":…,"delta":{…}}`.

    It carries every stored column, so that whoever holds it can compute its link of the chain.

    Args:
        seq: Its number.
        recorded_at: Fixed-width form.
        link: Its chain hash, left out where None.
        names: delta type, session id.
        states: JSON texts of before and after, left out where None.
        timestamp: Fixed-width form.
        extras: delta_id, id_digest, before_filled, lineage; each is left out where there is none.
        opening: How the text begins; with `EVENT_OPENING` it is the delta event.
        erased: Where the states were erased: their digests.
    """
    before, after = states
    # On the hot path: most entries have nothing of it, or only a `before` that was filled in.
    marks, closing = ("", "}}") if extras == PLAIN else _extra_texts(*extras)
    if erased is not None:
        marks += _erased_text(*erased)
    if link is not None:
        marks = f',"hash":"{link.hex()}"{marks}'
    if before is not None:
        texts = f',"before":{before},"after":{after}' if after is not None else f',"before":{before}'
    else:
        texts = f',"after":{after}' if after is not None else ""
    return (
        f'{opening}"seq":{seq},"recordedAt":"{recorded_at}"{marks},"delta":{{"type":"{names[0]}"'
        f',"sessionId":{_quoted(names[1])}{texts},"timestamp":"{timestamp}"{closing}'
    )


def _extra_texts(
    delta_id: str | None, id_digest: bytes | None, filled: bool, lineage: str | None
) -> tuple[str, str]:
    """Return the fields before the delta, and the end of the delta."""
    marks = f',"lineage":"{lineage}"' if lineage is not None else ""
    if filled:
        marks += ',"beforeFilled":true'
    if id_digest is not None:
        marks += f',"idDigest":"{id_digest.hex()}"'
    return marks, f',"id":{quote(delta_id)}}}}}' if delta_id is not None else "}}"


def _erased_text(before: bytes | None, after: bytes | None) -> str:
    digests = (("before", before), ("after", after))
    members = [f'"{name}":"{value.hex()}"' for name, value in digests if value is not None]
    return f',"erased":{{{",".join(members)}}}'


_EVENT_OPENING = EVENT_OPENING.encode()


def delta_event(item: bytes) -> bytes:
    """Return the delta event of an item.

    Args:
        item: What `item_text` returns, or the same out of the store, as UTF-8.
    """
    return _EVENT_OPENING + item[1:]


def delta_frame(item: bytes) -> bytes:
    """Return the delta event of an item, as a WebSocket frame.

    Args:
        item: What `item_text` returns, or the same out of the store, as UTF-8.
    """
    return text_frame(_EVENT_OPENING + item[1:])


_HEADS: dict[int, bytes] = {}
"""What a delta event's frame begins with, header and opening, by the length of its item: lengths come again."""
_MOST_HEADS = 4096


def delta_frames(items: Iterable[bytes]) -> bytes:
    """Return the joined frames of `delta_frame`, at half the cost of one call for each item."""
    parts: list[bytes] = []
    for item in items:
        head = _HEADS.get(len(item)) or _head(item)
        parts += (head, item[1:])
    return b"".join(parts)


def _head(item: bytes) -> bytes:
    head = delta_frame(item)[: 1 - len(item)]
    if len(_HEADS) < _MOST_HEADS:
        _HEADS[len(item)] = head
    return head


def state_frame(seq: int, session_id: str, state: str) -> bytes:
    """Return a `state` event as a WebSocket frame: the session's state as of `seq`."""
    return text_frame(
        f'{{"event":"state","seq":{seq},"sessionId":{quote(session_id)},"state":{state}}}'.encode()
    )


def event_frame(event: str, **fields: Any) -> bytes:
    """Return any other event as a WebSocket frame, its fields in the order given."""
    return text_frame(orjson.dumps({"event": event, **fields}))


# At the very beginning alone: what follows is the publisher's, and stays as it is.
_LINKED = re.compile(rb'(\{(?:"event":"delta",)?"seq":[0-9]+,"recordedAt":"[^"]*"),"hash":"[0-9a-f]{64}"')


def without_hash(text: bytes) -> bytes:
    """Return an item or a delta event without its hash, which covers content its reader may not see."""
    linked = _LINKED.match(text)
    return text if linked is None else linked[1] + text[linked.end() :]


def entry_without_hash(entry: Entry) -> Entry:
    """Return an entry in the form broadcast to readers without access to the chain."""
    frame = text_frame(without_hash(payload(entry.frame)))
    return msgspec.structs.replace(entry, hash=None, frame=frame)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One heartbeat, encoded once for everybody.

    Args:
        head: The highest seq given.
        live: The frame for those who are live, and so miss nothing up to `head`, whatever their filter: it says
            `through`, a place to resume from. Without that a position would advance with matches only, and the reader
            of a quiet session would come back to a `reset` once its last match is pruned.
        plain: The frame for those who are catching up.
    """

    head: int
    live: bytes
    plain: bytes
