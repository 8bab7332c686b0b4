"""`recorder import`: logs of other programs, turned into deltas and published to a running recorder.

A record that cannot become a delta, and a delta that the recorder refuses, are reported with file and line.
Without `--skip-bad` the first one ends the import: what came before it is recorded, and it is said how much
that is.
"""

from __future__ import annotations

from typing import Annotated

import typer

from recorder.bridges.imports import FORMATS, SourceOptions, open_source
from recorder.cli import console
from recorder.cli.batches import Sender
from recorder.cli.http import DEFAULT_URL, Remote, UrlOption
from recorder.config.settings import load_settings
from recorder.core.errors import SourceError

_FORMAT_HELP = "; ".join(f"{name}: {form.description}" for name, form in FORMATS.items())


def import_(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Logs; - is stdin, .gz is unpacked.")],
    format: Annotated[  # noqa: A002 - the option's name
        str, typer.Option("--format", "-f", metavar="NAME", help=f"What kind of log. {_FORMAT_HELP}.")
    ],
    session: Annotated[
        str | None,
        typer.Option("--session", metavar="ID", help="The session's id, instead of the one the log gives."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", metavar="FIELD", help="A field that tells rows apart (debezium); may be repeated."
        ),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Go on behind bad records; count them.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Import logs of other programs.

    Prints the position of the last delta.
    """
    if format not in FORMATS:
        raise typer.BadParameter(f"{format!r} is not one of {', '.join(FORMATS)}", param_hint="--format")
    options = SourceOptions(
        session=session, key=tuple(key or ()), max_delta_bytes=load_settings().max_delta_bytes
    )
    bad = _Bad(skip=skip_bad)
    with Remote(url) as remote, console.Steps("importing", "deltas") as steps:
        sender = Sender(remote, steps, bad.take)
        try:
            for file in files:
                _import_file(format, file, options, sender, bad)
            sender.flush()
        finally:
            console.say(sender.told() + bad.told())
    if sender.position is not None:
        console.out_line(sender.position)


def _import_file(form: str, file: str, options: SourceOptions, sender: Sender, bad: _Bad) -> None:
    try:
        for item in open_source(form, file, options=options):
            if isinstance(item, SourceError):
                # What came in front of the bad record is good, and recorded even if this ends the import.
                sender.flush()
                bad.take(item)
            else:
                sender.add(item)
    except SourceError:
        sender.flush()
        raise


class _Bad:
    """What becomes of bad records.

    Args:
        skip: Whether they are passed over.
    """

    def __init__(self, *, skip: bool) -> None:
        self._skip = skip
        self._count = 0  # how many were passed over

    def take(self, error: SourceError) -> None:
        """Report it, or raise it."""
        if not self._skip:
            raise error
        self._count += 1
        console.complain(str(error))

    def told(self) -> str:
        """How many were passed over, in words."""
        if not self._count:
            return ""
        return f", {self._count:,} bad record{'s' * (self._count != 1)} skipped"
