"""`recorder serve`: the recorder itself. Its flags are the table of settings, one each.

The values go through `load_settings` as they were typed, so that a wrong flag gets the same one-line answer
as a wrong environment variable. Signals and their deadline are the server's business; its exit code is
ours.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import typer

from recorder.cli import console
from recorder.config.settings import SettingRow, Settings, load_settings, setting_rows
from recorder.core.logging import configure_logging

MAX_RATE = 100_000.0


def _serve(demo: bool, demo_rate: float | None, **flags: Any) -> int:
    settings = load_settings(**flags)
    configure_logging(settings.log_level, settings.log_format)
    # Not at the top: the other commands should not wait for the server's modules.
    from recorder.server.serve import serve

    rate = demo_rate if demo_rate is not None else (5.0 if demo else None)
    return _run(serve(settings, on_ready=_announcing(settings), demo_rate=rate))


def _run(main: Coroutine[Any, Any, int]) -> int:
    try:
        return _runner()(main)
    finally:
        # Ctrl-C may come before it was begun; Python would warn that nobody awaited it.
        main.close()


def _runner() -> Callable[[Coroutine[Any, Any, int]], int]:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.run
    return uvloop.run


def _announcing(settings: Settings) -> Callable[[str], None]:
    def announce(url: str) -> None:
        console.out_line(f"listening on {url}")
        if not settings.persist:
            console.out_line("not recording: PERSIST is not 1")
        else:
            seconds = settings.snapshot_interval / 1000
            loss = "nothing that was acked" if settings.durability == "commit" else f"the last {seconds:g} s"
            console.out_line(f"recording into {settings.db_path}; a crash can lose {loss}")

    return announce


def _flag(row: SettingRow) -> inspect.Parameter:
    names = [f"{row.flag}/--no-{row.flag.removeprefix('--')}"] if row.is_switch else [row.flag]
    words = f"{row.description} ({'' if row.is_switch else row.range + '; '}default {row.default})."
    option = typer.Option(*names, help=words, metavar=None if row.is_switch else "VALUE", show_default=False)
    kind: Any = bool | None if row.is_switch else str | None
    return inspect.Parameter(
        row.field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )


def _command() -> Callable[..., int]:
    """The command: `_serve` with a signature that has a parameter for each setting, as typer reads it."""

    def serve(
        demo: Annotated[
            bool, typer.Option("--demo", help="Invent agent sessions, to have something to watch.")
        ] = False,
        demo_rate: Annotated[
            float | None,
            typer.Option(
                "--demo-rate",
                min=0.01,
                max=MAX_RATE,
                metavar="N",
                help="Deltas per second of the demo, which it switches on (default 5).",
                show_default=False,
            ),
        ] = None,
        **flags: Any,
    ) -> int:
        """Record and serve.

        What --some-name sets can also be set as RECORDER_SOME_NAME or SOME_NAME, in the environment or in a
        file .env in the working directory. Flags outrank the environment, which outranks the file.
        """
        return _serve(demo, demo_rate, **flags)

    signature = inspect.signature(serve, eval_str=True)
    fixed = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    flags = [_flag(row) for row in setting_rows() if not row.is_secret]
    serve.__signature__ = signature.replace(parameters=[*fixed, *flags])  # type: ignore[attr-defined]
    serve.__annotations__ = {p.name: p.annotation for p in [*fixed, *flags]}
    return serve


serve = _command()
