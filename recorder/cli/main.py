"""The command `recorder`: its subcommands, and how each ends.

Exit codes: 0 done; 1 it failed; 2 it was asked wrongly (usage, settings); 130 Ctrl-C; 141 the reader of our
stdout went away. A failure is one line on stderr. Only a mistake of our own shows a traceback.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from recorder import __version__
from recorder.cli import console
from recorder.cli.admin import erase
from recorder.cli.blame import blame
from recorder.cli.crashtest import torture
from recorder.cli.credentials import with_token
from recorder.cli.diff import diff
from recorder.cli.doctor import doctor
from recorder.cli.export import export
from recorder.cli.heads import heads
from recorder.cli.history import query
from recorder.cli.import_ import import_
from recorder.cli.migrate import migrate
from recorder.cli.prune import prune
from recorder.cli.publish import publish
from recorder.cli.redact import redact
from recorder.cli.serve import serve
from recorder.cli.snapshot import snapshot
from recorder.cli.state import state
from recorder.cli.stats import stats
from recorder.cli.tail import tail
from recorder.cli.token import token
from recorder.core.errors import InvalidQuery, InvalidSetting, RecorderError

FAILED, MISUSED, INTERRUPTED, OUTPUT_CLOSED = 1, 2, 130, 141

app = typer.Typer(
    name="recorder",
    help="A flight recorder for agent sessions.",
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain text: help made from the settings must not be read as markup.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    serve,
    publish,
    tail,
    query,
    export,
    state,
    diff,
    blame,
    stats,
    snapshot,
    prune,
    erase,
    migrate,
    heads,
    doctor,
    torture,
    redact,
    token,
):
    app.command()(with_token(command))
app.command("import")(with_token(import_))


def _version(wanted: bool) -> None:
    if wanted:
        console.out_line(f"recorder {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A flight recorder for agent sessions: records them, shows them live, gives them back."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What was typed after `recorder`; by default the process's own arguments.

    Returns:
        The exit code.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given or ["--help"], prog_name="recorder", standalone_mode=False)
        console.flush()
    except console.OutputClosed:
        console.abandon_stdout()
        return OUTPUT_CLOSED
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except (RecorderError, typer.TyperException, OSError, sqlite3.Error) as error:
        console.complain(_said(error))
        return _exit_code(error)
    return MISUSED if not given else code if isinstance(code, int) else 0


def _said(error: Exception) -> str:
    if isinstance(error, typer.TyperException):
        return " ".join(error.format_message().split())
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _exit_code(error: Exception) -> int:
    if isinstance(error, typer.TyperException):
        return error.exit_code
    return MISUSED if isinstance(error, InvalidSetting | InvalidQuery) else FAILED
