"""The token that commands show to a recorder: `RECORDER_TOKEN`, or what stands in the file of `--token-file`.

Never an argument itself: everyone on a machine can read the arguments of every program. Each command with `--url` gets
the option here, in one place, so that none can be without it.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import typer

from recorder.config.variables import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE
from recorder.core.errors import InvalidSetting

TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar=TOKEN_FILE_VARIABLE,
        metavar="FILE",
        help=f"Holds the token to show to the recorder; otherwise {TOKEN_VARIABLE} is.",
        show_default=False,
        rich_help_panel="Which recorder",
    ),
]

_file: ContextVar[Path | None] = ContextVar("token_file", default=None)  # of the command that runs


def with_token(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--token-file` to a command that takes `--url`."""
    signature = inspect.signature(command, eval_str=True)
    if "url" not in signature.parameters:
        return command

    @functools.wraps(command)
    def run(*, token_file: Path | None, **given: Any) -> Any:
        with _using(token_file):
            return command(**given)

    option = inspect.Parameter(
        "token_file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=TokenFile
    )
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in signature.parameters.values()]
    run.__signature__ = signature.replace(parameters=[*parameters, option])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [*parameters, option]}
    return run


def token() -> str | None:
    """Return the token to send; None if none is given.

    Raises:
        InvalidSetting: The file cannot be read, or what is given cannot be a token.
    """
    path = _file.get()
    if path is None:
        given, where = os.environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE
    else:
        given, where = _read(path), f"--token-file {path}"
    if given is None:
        return None
    found = given.strip()
    if not re.fullmatch(r"[!-~]{1,8192}", found):
        raise InvalidSetting(f"{where}: holds no token", hint="one line of printable ASCII, without spaces")
    return found


def bearer() -> dict[str, str]:
    """Return the header that carries the token; empty without a token."""
    shown = token()
    return {} if shown is None else {"Authorization": f"Bearer {shown}"}


@contextmanager
def _using(path: Path | None) -> Iterator[None]:
    before = _file.set(path)
    try:
        yield
    finally:
        _file.reset(before)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InvalidSetting(
            f"--token-file: {path}: {error.strerror}", hint="correct the path or its permissions"
        ) from None
