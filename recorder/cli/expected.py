"""Signed heads that were kept elsewhere: a log of them, one a line, in a file or behind a URL, or a recorder's own."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import orjson

from recorder.cli.http import Remote
from recorder.core.errors import InvalidQuery
from recorder.core.statements import Head, Signed
from recorder.wire.statements import signed_of

ROUTE = "/api/head"


def expected_heads(source: str) -> list[Signed[Head]]:
    """The heads that a file or a URL has, in its order; at least one.

    Args:
        source: A file; the URL of a file; or a recorder's URL, without a path: then its head of now.

    Raises:
        InvalidQuery: Something in it is no signed head, or there is none.
        RecorderError, OSError: It cannot be read.
    """
    parts = urlsplit(source)
    if parts.scheme not in ("http", "https"):
        text = Path(source).read_bytes()
    else:
        # The token is for the recorder that is examined, and this may be another.
        with Remote(f"{parts.scheme}://{parts.netloc}", show_token=False) as remote:
            text = remote.get(parts.path if parts.path not in ("", "/") else ROUTE)
    return parse_heads(text, source)


def parse_heads(text: bytes, source: str) -> list[Signed[Head]]:
    """The heads of a log, one a line.

    Args:
        text: The log.
        source: Where it is from, for messages.

    Raises:
        InvalidQuery: A line is no signed head, or there is none.
    """
    heads = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            heads.append(signed_of(Head, orjson.loads(line)))
        except ValueError as error:
            raise InvalidQuery(f"{source}, line {number}: not a signed head: {error}") from None
    if not heads:
        raise InvalidQuery(f"{source}: holds no head")
    return heads
