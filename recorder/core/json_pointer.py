"""JSON Pointer (RFC 6901): the place of a value inside a JSON text, and the value's own text, as it stands there."""

from __future__ import annotations

import re
from itertools import islice

from recorder.core import json_text as jsontext

Steps = tuple[str, ...]

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_BAD_ESCAPE = re.compile(r"~(?![01])")


def parse(text: str) -> Steps:
    """The names and indexes on the way to a value.

    Args:
        text: `` for the whole, `/plan/3/status`; in a name `~1` stands for a slash and `~0` for a tilde.

    Raises:
        ValueError: It is no pointer; the message says why.
    """
    if text == "":
        return ()
    if not text.startswith("/"):
        raise ValueError("a path begins with /, such as /plan/3/status")
    if _BAD_ESCAPE.search(text):
        raise ValueError("in a path ~ is written ~0, and / inside a name ~1")
    return tuple([step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/")])


def escape(name: str) -> str:
    """A name as a step of a pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def find(text: bytes, steps: Steps) -> bytes | None:
    """The text of the value at a place, None where there is none.

    Args:
        text: A JSON text that was recorded.
        steps: What `parse` returns.
    """
    found: bytes | None = text
    for step in steps:
        if found is None:
            return None
        found = _inside(found, step)
    return found


def _inside(text: bytes, step: str) -> bytes | None:
    first = text.lstrip()[:1]
    if first == b"{":
        return jsontext.members(text, trusted=True).get(step)
    if first == b"[" and _INDEX.fullmatch(step):
        return next(islice(jsontext.elements(text), int(step), None), None)
    return None
