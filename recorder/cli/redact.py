"""`recorder redact --check FILE`: what redaction would replace in deltas, without showing it."""

from __future__ import annotations

from typing import Annotated

import typer

from recorder.bridges.imports import SourceDelta, open_source
from recorder.cli import console
from recorder.cli.options import JsonOption
from recorder.config.settings import load_settings
from recorder.core.errors import SourceError
from recorder.core.redaction import DEFAULT_KEYS, DEFAULT_PATTERNS, Redactor
from recorder.wire.decode import decode_text

_MOST = 268_435_456


def redact(
    check: Annotated[
        str, typer.Option("--check", metavar="FILE", help="Deltas, one a line (- is standard input).")
    ],
    redact_keys: Annotated[
        str | None, typer.Option(help="As the setting REDACT_KEYS.", show_default=False)
    ] = None,
    redact_patterns: Annotated[
        str | None, typer.Option(help="As the setting REDACT_PATTERNS.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show which values redaction would replace in deltas; nothing is changed.

    Without REDACT_KEYS and REDACT_PATTERNS, the keys and patterns that `default` stands for are used.
    """
    settings = load_settings(redact_keys=redact_keys, redact_patterns=redact_patterns)
    keys, patterns = settings.redact_keys, settings.redact_patterns
    if not keys and not patterns:
        keys, patterns = DEFAULT_KEYS, DEFAULT_PATTERNS
    redactor = Redactor(keys, patterns, b"")
    deltas = hits = 0
    for item in open_source("ndjson", check):
        if isinstance(item, SourceError):
            raise item
        assert isinstance(item, SourceDelta), (
            "an export is read without a recorder that could know its records"
        )
        (delta,) = decode_text(item.text, _MOST)
        deltas += 1
        for name, state in (("before", delta.before), ("after", delta.after)):
            for hit in redactor.find(state or "null"):
                hits += 1
                size = hit.end - hit.start
                if json:
                    place = {"place": item.place, "sessionId": delta.session_id, "state": name}
                    console.json_line({**place, "path": hit.path, "characters": size, "why": hit.why})
                    continue
                line = f"{item.place}: {delta.session_id}: {name}{hit.path}: {size} characters, by {hit.why}"
                console.out_line(console.visible(line))
    if json:
        console.json_line({"deltas": deltas, "values": hits})
    else:
        console.out_line(f"{deltas} deltas, {hits} values would be replaced")
