"""`recorder doctor`: is this what was recorded, all of it, and how do you know?

Exit codes: 0 intact; 1 broken; 2 asked wrongly; 3 cannot tell. Nothing is changed, and no key is made: what is believed
are the keys that KEY_FILE holds and has held, those of heads that were kept elsewhere, and those named with --key.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from recorder.auth.signing import is_key_id, known_keys, public_key
from recorder.cli import console
from recorder.cli.database import DbOption
from recorder.cli.heads import expected_heads
from recorder.cli.http import Remote
from recorder.cli.options import JsonOption
from recorder.core.clock import SystemClock
from recorder.core.errors import InvalidQuery, RecorderError
from recorder.core.statements import Head, Signed
from recorder.verify.file import verify_file
from recorder.verify.report import Finding, Level, Report, Verdict
from recorder.verify.server import verify_server
from recorder.verify.statements import holds

Heads = list[Signed[Head]]

MARKS = {Level.BROKEN: "!!", Level.UNKNOWN: "??", Level.NOTE: "--"}


def doctor(
    db: DbOption = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="Verify what this running recorder serves instead of a file.",
            show_default=False,
        ),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(
            "--expect",
            metavar="FILE|URL",
            help="Compare with signed heads that were kept elsewhere (recorder heads --append).",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            metavar="KEY",
            help="Trust this public key too: 64 hex digits, or a PEM file. May be given more than once.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Verify a recording: its structure, every link of the chain, every receipt and signed head.

    Without --db and --url the file at DB_PATH. Exits with 0 where it is intact, 1 where it is broken, 3 where that
    cannot be told.
    """
    if db is not None and url is not None:
        raise typer.BadParameter("either a file or a server", param_hint="--url")
    # Not at the top: the command's help should not wait for the settings.
    from recorder.config.settings import load_settings

    settings = load_settings()
    heads = None if expect is None else _expected(expect)
    trusted = _trusted(settings.key_file, key or [], heads)
    begin = SystemClock().monotonic()
    path = db or settings.db_path
    if url is None and not path.exists() and not json:
        console.print_error(f"{path}: no such file (--db names another, --url a server)")
        return Verdict.CANNOT_TELL.value
    report = _examine(url, path, trusted, heads)
    seconds = SystemClock().monotonic() - begin
    if json:
        console.out(orjson.dumps({**as_json(report), "seconds": round(seconds, 3)}) + b"\n")
    else:
        for line in as_lines(report, seconds):
            console.out_line(console.visible(line))
    return report.verdict.value


def _examine(url: str | None, path: Path, trusted: frozenset[str], heads: Heads | None) -> Report:
    report = Report(url or str(path))
    try:
        with console.Steps("verifying", "entries") as steps:
            if url is None:
                return verify_file(path, trusted, heads, steps.reach)
            with Remote(url) as remote:
                return verify_server(remote, trusted, heads, steps.reach)
    except InvalidQuery:
        raise
    except (RecorderError, OSError, sqlite3.Error) as error:
        report.unknown("structure", str(error) or type(error).__name__)
    return report


def _expected(source: str) -> Heads:
    try:
        return expected_heads(source)
    except OSError as error:
        raise InvalidQuery(f"--expect: {source}: {error.strerror}") from None


def _trusted(key_file: Path | None, named: list[str], heads: Heads | None) -> frozenset[str]:
    trusted = frozenset() if key_file is None else known_keys(key_file)
    for text in named:
        trusted |= {text.lower() if is_key_id(text.lower()) else public_key(Path(text))}
    return trusted | {head.by.key_id for head in heads or () if head.by is not None and holds(head)}


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON fields, for programs."""
    return {
        "verdict": report.verdict.words,
        "summary": report.summary(),
        "subject": report.subject,
        "checked": report.checked,
        "first": report.first,
        "last": report.last,
        "firstBad": None if report.first_bad is None else _finding(report.first_bad),
        "pruned": [{"count": count, "policy": policy} for count, policy in report.pruned],
        "erased": report.erased,
        "signedThrough": report.signed_through,
        "heads": report.heads,
        "expectedHeads": report.expected,
        "findings": [_finding(finding) for finding in report.findings],
    }


def as_lines(report: Report, seconds: float) -> list[str]:
    """Return the report as lines of text, for people; the verdict is the last."""
    span = f", seq {report.first:,} to {report.last:,}" if report.last else ""
    rate = f", {report.checked / seconds:,.0f} a second" if report.checked >= 10_000 and seconds > 0 else ""
    lines = [report.subject, f"  {report.checked:,} links checked{span} ({seconds:.1f} s{rate})"]
    if report.heads or report.expected:
        elsewhere = f", {report.expected:,} from elsewhere" if report.expected else ""
        lines.append(
            f"  {report.heads:,} signed heads agree{elsewhere}; signed through {report.signed_through:,}"
        )
    lines += [f"  {MARKS[finding.level]} {finding.text}" for finding in report.findings]
    return [*lines, f"verdict: {report.summary()}"]


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "level": finding.level.value,
        "kind": finding.kind,
        "seq": finding.seq,
        "through": finding.through,
        "text": finding.text,
    }
