"""`recorder erase`: have a running recorder erase for good what a session's states say."""

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
    """Erase for good what a session's states say.

    Digests and a receipt stay, so that the chain still verifies. It cannot be undone.
    """
    with Remote(url) as remote:
        answer = remote.post_json("/api/admin/erase", {"sessionId": session, "reason": reason})
    console.out(orjson.dumps(answer) + b"\n")
    for name in answer["copies"]:
        console.say(f"{name}, beside the database, may still hold it")
