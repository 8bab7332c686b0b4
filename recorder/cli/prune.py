"""`recorder prune`: have a running recorder remove what is old, now."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from recorder.cli import console
from recorder.cli.http import DEFAULT_URL, Remote, UrlOption
from recorder.cli.timeparse import HELP, moment


def prune(
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="TIME",
            help=f"Remove what was recorded before {HELP}; by default what the recorder's settings say.",
            show_default=False,
        ),
    ] = None,
    trust_clock: Annotated[
        bool,
        typer.Option("--trust-clock", help="Say that the recorder's clock is right, where it is in doubt."),
    ] = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Remove old deltas now.

    The last state of sessions that still live stays.
    """
    bound = moment(older_than, "--older-than") if older_than is not None else None
    with Remote(url) as remote:
        answer = remote.post_json("/api/admin/prune", {"olderThan": bound, "trustClock": trust_clock})
    console.out(orjson.dumps(answer) + b"\n")
