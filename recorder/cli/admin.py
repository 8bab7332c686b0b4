"""`recorder erase`: have a running recorder erase what a session's states say."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from recorder.cli import console
from recorder.cli.http import DEFAULT_URL, Remote, UrlOption


def erase(
    session: Annotated[str, typer.Option("--session", metavar="ID", help="Whose content is erased.")],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the receipt.")
    ] = "",
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Erase what a session's states say, from the recorder's file and its database in memory.

    Digests and a receipt stay, so that the chain still verifies: a short or guessable state can be confirmed from its
    digest. Memory that the recorder has freed may hold copies until it is restarted. It cannot be undone.
    """
    with Remote(url) as remote:
        answer = remote.post_json("/api/admin/erase", {"sessionId": session, "reason": reason})
    console.out(orjson.dumps(answer) + b"\n")
    for name in answer["copies"]:
        console.say(f"{name}, beside the database, may still hold it")
