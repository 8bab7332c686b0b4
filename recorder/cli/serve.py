"""`recorder serve`: the recorder itself. Its flags are the table of settings, one each.

The values go through `load_settings` as they were typed, so that a wrong flag gets the same one-line answer
as a wrong environment variable. Signals and their deadline are the server's business; its exit code is
ours.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import warnings
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recorder.cli import console
from recorder.cli.http import NOT_RECORDING
from recorder.cli.options import JsonOption
from recorder.config.settings import SettingRow, Settings, load_settings, setting_rows
from recorder.core.deprecated import SETTINGS, old_names
from recorder.engine.threads import started_pool

if TYPE_CHECKING:
    from recorder.app import Recorder

MAX_RATE = 100_000.0
WORKERS = 4
"""Threads of the event loop for what takes long in an answer: patches, and who changed what."""

SECTIONS = (
    (
        "Recording",
        r"persist|db_path|accept_|allow_data_loss|new_|durability|hash_chain|key_file|snapshot_interval",
    ),
    (
        "Retention and memory",
        r"retention_|max_deltas$|trust_clock|max_db_bytes|max_memory|when_full|memory_full|prune_|dedupe",
    ),
    ("Listening", r"host|port|allowed_|tls_|trusted_proxies|compression|base_path|config"),
    ("Access", r"(subscribe|publish|admin)_tokens|jwt_"),
    ("Publishing", r"publish_|max_delta_bytes|max_deltas_per_message|max_nesting|max_json|redact_|queue_"),
    ("Subscribing", r"slow_|heartbeat_|head_interval|ping_|max_subscri"),
    ("Log", r"log_"),
)
"""The sections of the help, and which settings they have, by the beginning of their names."""
OTHER = "Limits and times"


def section_of(field: str) -> str:
    """Return the section of the help that a setting's flag stands in."""
    return next((title for title, names in SECTIONS if re.match(f"(?:{names})", field)), OTHER)


def _serve(demo: bool, demo_rate: float | None, config: Path | None, as_json: bool, **flags: Any) -> int:
    # Not at the top: help should not wait for the server's modules.
    from loguru import logger

    from recorder.core.logging import configure_logging
    from recorder.server.serve import serve

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FutureWarning)
        settings = load_settings(config=config, **flags)
    configure_logging(settings.log_level, settings.log_format)
    for warning in caught:
        # Only now: how the log looks is a setting, too.
        logger.warning("{}", str(warning.message))
    rate = demo_rate if demo_rate is not None else (5.0 if demo else None)
    beside = None if rate is None else _playing(rate)
    return _run(serve(settings, on_ready=_announcing(settings, as_json=as_json), beside=beside))


def _playing(rate: float) -> Callable[[Recorder], Coroutine[Any, Any, None]]:
    """Return what plays invented sessions into a recorder, at so many deltas a second."""
    from recorder.demo.player import play

    return partial(play, rate=rate)


def _run(main: Coroutine[Any, Any, int]) -> int:
    whole = _with_workers(main)
    try:
        return _runner()(whole)
    finally:
        # Ctrl-C may come before they were begun; Python would warn that nobody awaited them.
        whole.close()
        main.close()


async def _with_workers(main: Coroutine[Any, Any, int]) -> int:
    # The loop is ours alone, and closes them. Left to itself it would start them when they are needed.
    asyncio.get_running_loop().set_default_executor(started_pool(WORKERS, "worker"))
    return await main


def _runner() -> Callable[[Coroutine[Any, Any, int]], int]:
    try:
        import uvloop
    except ImportError:  # there is none for other Pythons than CPython
        return asyncio.run
    return uvloop.run


def _announcing(settings: Settings, *, as_json: bool) -> Callable[[str], None]:
    def announce(url: str) -> None:
        if as_json:
            console.json_line(
                {
                    "event": "listening",
                    "url": url,
                    "recording": settings.persist,
                    "dbPath": str(settings.db_path) if settings.persist else None,
                    "durability": settings.durability,
                    "snapshotIntervalMs": settings.snapshot_interval,
                }
            )
            return
        console.out_line(f"listening on {url}")
        if not settings.persist:
            console.out_line(NOT_RECORDING)
        else:
            seconds = settings.snapshot_interval / 1000
            loss = "nothing that was acked" if settings.durability == "commit" else f"the last {seconds:g} s"
            console.out_line(f"recording into {settings.db_path}; a crash can lose {loss}")

    return announce


def _flags() -> Iterator[inspect.Parameter]:
    """Yield the flags of all settings, and their old names, which help does not show."""
    for row in setting_rows():
        if not row.is_secret:
            yield _flag(row)
            for old in old_names(SETTINGS, row.name):
                yield _flag(replace(row, field=old.lower()), is_hidden=True)


def _flag(row: SettingRow, *, is_hidden: bool = False) -> inspect.Parameter:
    names = [f"{row.flag}/--no-{row.flag.removeprefix('--')}"] if row.is_switch else [row.flag]
    words = f"{row.description} ({'' if row.is_switch else row.range + '; '}default {row.default})."
    option = typer.Option(
        *names,
        help=words,
        metavar=None if row.is_switch else "VALUE",
        show_default=False,
        hidden=is_hidden,
        rich_help_panel=section_of(row.field),
    )
    kind: Any = bool | None if row.is_switch else str | None
    return inspect.Parameter(
        row.field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )


def _command() -> Callable[..., int]:
    """Return the command: `_serve` with a parameter for each setting, in the signature that typer reads."""

    def serve(
        demo: Annotated[bool, typer.Option("--demo", help="Generate the sessions of a demo.")] = False,
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
        config: Annotated[
            Path | None,
            typer.Option(
                "--config",
                metavar="FILE",
                help="Read settings from this file in place of recorder.toml in the working directory and in"
                " ~/.config/recorder.",
                show_default=False,
            ),
        ] = None,
        json: JsonOption = False,
        **flags: Any,
    ) -> int:
        """Record and serve.

        What --some-name sets can also be set as RECORDER_SOME_NAME or SOME_NAME in the environment or in a file
        .env in the working directory, and as some_name in recorder.toml in the working directory or in
        ~/.config/recorder. Flags outrank the environment, which outranks .env, which outranks recorder.toml.
        """
        return _serve(demo, demo_rate, config, json, **flags)

    signature = inspect.signature(serve, eval_str=True)
    fixed = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    flags = list(_flags())
    serve.__signature__ = signature.replace(parameters=[*fixed, *flags])  # type: ignore[attr-defined]
    serve.__annotations__ = {p.name: p.annotation for p in [*fixed, *flags]}
    return serve


serve = _command()
