"""`recorder heads`: the signed head of a running recorder, shown or kept in a log; and how to read such a log.

A head proves later what had been recorded by then, as long as whoever could change the recording cannot change the log:
it belongs on another machine. Only heads whose signature is right are kept; a line is on disk before it is said.
"""

from __future__ import annotations

import os
from pathlib import Path
from time import sleep
from typing import Annotated
from urllib.parse import urlsplit

import orjson
import typer

from recorder.cli import console
from recorder.cli.http import DEFAULT_URL, Remote, UrlOption
from recorder.cli.options import JsonOption
from recorder.core.errors import ClientError, InvalidQuery, Unavailable
from recorder.core.statements import Head, Signed
from recorder.verify.server import HEAD_ROUTE
from recorder.verify.statements import holds
from recorder.wire.statements import signed_of


def expected_heads(source: str) -> list[Signed[Head]]:
    """Return the heads that a file or a URL contains, in its order; at least one.

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
            text = remote.get(parts.path if parts.path not in ("", "/") else HEAD_ROUTE)
    return parse_heads(text, source)


def parse_heads(text: bytes, source: str) -> list[Signed[Head]]:
    """Return the heads of a log with one head per line.

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


def heads(
    append: Annotated[
        Path | None,
        typer.Option("--append", metavar="FILE", help="Add it to this log of heads.", show_default=False),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(
            "--every",
            metavar="SECONDS",
            min=0.1,
            help="Go on, a head each time, until Ctrl-C.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Show the current signed head, or keep a log of heads.

    Keep the log on another machine: doctor --expect compares a recording with it.
    """
    with Remote(url) as remote:
        _take(remote, append, as_json=json)
        while every is not None:
            sleep(every)
            try:
                _take(remote, append, as_json=json)
            except Unavailable as error:
                # A recorder that is restarted comes back; what it says then is worth as much.
                console.print_error(str(error))


def _take(remote: Remote, append: Path | None, *, as_json: bool) -> None:
    line = remote.get(HEAD_ROUTE).strip()
    (head,) = parse_heads(line, remote.url)
    if not holds(head):
        raise ClientError(f"the head that {remote.url} gives is not what its key has signed")
    if append is None:
        said = head.payload
        told = f"{said.epoch}:{said.seq}  {said.time}  {'-' if said.hash is None else said.hash.hex()}"
        console.answer(orjson.loads(line), [told], as_json=as_json)
        return
    _append(append, line + b"\n")
    console.print_status(f"{append}: head {head.payload.epoch}:{head.payload.seq} of {head.payload.time}")


def _append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
