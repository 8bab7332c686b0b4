"""The command `recorder`: how it starts, and how it ends.

Exit codes: 0 done; 1 it failed; 2 it was asked wrongly (usage, settings); 130 Ctrl-C; 141 the reader of stdout went
away; `doctor` has its own. A failure is one line on stderr. Only a bug of the recorder shows a traceback.

Nothing is imported before it is needed: `recorder --version` loads no library at all, a command only its own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from recorder import __version__
from recorder.cli import console
from recorder.core.errors import InvalidQuery, InvalidSetting, RecorderError, lack_of

FAILED, MISUSED, INTERRUPTED, OUTPUT_CLOSED = 1, 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What was typed after `recorder`; by default the process's own arguments.

    Returns:
        The exit code.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(given)
        console.flush()
    except console.OutputClosed:
        console.abandon_stdout()
        return OUTPUT_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as caught:
        error = lack_of(caught) or caught
        if (failed := _exit_code(error)) is None:
            raise
        if failed != INTERRUPTED:
            console.print_error(_message(error))
        return failed
    return MISUSED if not given else code


def _run(given: list[str]) -> int:
    _refuse_undecodable(given)
    if given == ["--version"]:
        console.out_line(f"recorder {__version__}")
        return 0
    from recorder.cli.commands import run

    return run(given or ["--help"])


def _refuse_undecodable(given: Sequence[str]) -> None:
    """Refuse arguments that are not UTF-8: they could be sent to no server, and written to no log.

    Raises:
        InvalidQuery: One is not.
    """
    for number, argument in enumerate(given, 1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            shown = ascii(argument)[:80]
            raise InvalidQuery(f"argument {number} is not UTF-8: {shown}", hint="type it in UTF-8") from None


def _message(error: Exception) -> str:
    if isinstance(error, RecorderError):
        return str(error)
    from typer import TyperException

    if isinstance(error, TyperException):
        said = " ".join(error.format_message().split())
        context = getattr(error, "ctx", None)
        if said.startswith("Missing argument") and context is not None:
            usage = " ".join(context.get_usage().split()).replace("{", "").replace("}", "")
            return f"{said} {usage}{_example(context.command_path, usage)}"
        if said.startswith("Missing option") and context is not None:
            option = getattr(error, "param", None)
            name = f" {option.opts[0]} {option.metavar or 'VALUE'}" if option is not None else ""
            return f"{said} For example: {context.command_path}{name}"
        return said
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _example(command: str, usage: str) -> str:
    """Return an example of a command whose first argument is a session or a file; "" for another."""
    first = usage.partition("[OPTIONS] ")[2].partition(" ")[0]
    named = {"SESSION": "my-session", "FILE|-": "deltas.ndjson", "FILE|DIR|-......": "logs/"}.get(first)
    return f"; for example: {command} {named}" if named else ""


def _exit_code(error: Exception) -> int | None:
    """Return what a failure ends with; None where it is a bug of the recorder."""
    if isinstance(error, InvalidSetting | InvalidQuery):
        return MISUSED
    if isinstance(error, RecorderError | OSError):
        return FAILED
    # Only now: to import them takes memory, which may be what is missing.
    import sqlite3

    import typer

    if isinstance(error, typer.Abort):
        return INTERRUPTED
    if isinstance(error, typer.TyperException):
        return error.exit_code
    return FAILED if isinstance(error, sqlite3.Error) else None
