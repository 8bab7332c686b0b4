"""`recorder heads`: the signed head of a running recorder, shown or kept in a log away from it.

A head proves later what had been recorded by then, as long as whoever could change the recording cannot change the log:
it belongs on another machine. Only heads whose signature is right are kept; a line is on disk before it is said.
"""

from __future__ import annotations

import os
from pathlib import Path
from time import sleep
from typing import Annotated

import orjson
import typer

from recorder.cli import console
from recorder.cli.expected import ROUTE, parse_heads
from recorder.cli.http import DEFAULT_URL, Remote, UrlOption
from recorder.core.errors import ClientError, Unavailable
from recorder.verify.statements import holds


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
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Show the signed head of now, or keep a log of heads.

    Keep the log on another machine: doctor --expect compares a recording with it.
    """
    with Remote(url) as remote:
        _take(remote, append)
        while every is not None:
            sleep(every)
            try:
                _take(remote, append)
            except Unavailable as error:
                # A recorder that is restarted comes back; what it says then is worth as much.
                console.complain(str(error))


def _take(remote: Remote, append: Path | None) -> None:
    line = remote.get(ROUTE).strip()
    (head,) = parse_heads(line, remote.url)
    if not holds(head):
        raise ClientError(f"the head that {remote.url} gives is not what its key has signed")
    if append is None:
        console.out_line(orjson.dumps(orjson.loads(line)).decode())
        return
    _append(append, line + b"\n")
    console.say(f"{append}: head {head.said.epoch}:{head.said.seq} of {head.said.time}")


def _append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
