"""Commands for operators: write a snapshot, prune, erase, and copy the database.

A copy is made here, from the file that stands alone after the snapshot: a caller must not be able to name paths on the
server. It is SQLite's own (`VACUUM INTO`), so it is consistent whatever is written meanwhile; it appears complete or
not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from recorder.cli import console
from recorder.cli import database as dbfile
from recorder.cli.console import replacing
from recorder.cli.history import pages
from recorder.cli.http import DEFAULT_URL, OptionalUrl, Remote, UrlOption
from recorder.cli.options import HELP, DryRunOption, Filters, JsonOption, YesOption, moment
from recorder.cli.session import session_path
from recorder.core.errors import InvalidQuery, NotAllowed, RecorderError

_OPERATIONS = 200_000
"""Steps of SQLite's machine between two looks at how far it is: some tens of milliseconds."""


def snapshot(
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Then copy the database to this file.", show_default=False),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --to: replace the file if it is there.")
    ] = False,
    db: Annotated[
        Path | None,
        typer.Option(
            "--db", metavar="FILE", help="With --to: the database (default DB_PATH).", show_default=False
        ),
    ] = None,
    json: JsonOption = False,
    url: OptionalUrl = None,
) -> None:
    """Write a snapshot now; with --to also copy the database.

    The copy is consistent, whether a recorder runs or not.
    """
    if to is None:
        if db is not None or force:
            raise typer.BadParameter("only of use with --to", param_hint="--db" if db else "--force")
        with Remote(url or DEFAULT_URL) as remote:
            done = remote.post_json("/api/admin/snapshot", {})
        durable = f"everything up to seq {done.get('durable', 0):,} is on disk"
        console.answer(done, [f"{durable} ({done.get('rows', 0):,} rows written)"], as_json=json)
        return
    source = db.resolve() if db is not None else _db_path()
    _refuse_target(to, source, force=force)
    _have_written(source, url)
    size = _copy(source, to)
    told = f"copied {source} to {to}, {size:,} bytes"
    console.answer({"dbPath": str(source), "copy": str(to), "fileSize": size}, [told], as_json=json)


def _db_path() -> Path:
    # Not at the top: the command's help should not wait for the settings.
    from recorder.config.settings import load_settings

    return load_settings().db_path


def _refuse_target(to: Path, source: Path, *, force: bool) -> None:
    if to.resolve() == source:
        raise NotAllowed(f"{to}: is the database itself")
    if to.exists() and (not force or not to.is_file()):
        raise NotAllowed(f"{to}: exists", hint="--force replaces a file")


def _have_written(source: Path, url: str | None) -> None:
    """Ask the server that owns the file to take a snapshot, or report that no server was found."""
    with Remote(url or DEFAULT_URL) as remote:
        try:
            owned = remote.get_json("/api/stats").get("dbPath")
        except RecorderError:
            # At the default URL nothing runs, or something else does.
            if url is not None:
                raise
            owned = None
        if owned == str(source):
            remote.post_json("/api/admin/snapshot", {})
        elif url is None:
            console.print_status(f"no recorder of this file at {remote.url}: copying what is on disk")
        else:
            raise NotAllowed(
                f"{remote.url} records into {owned or 'nothing'}, not into {source}",
                hint="name its file with --db, or another recorder with --url",
            )


def _copy(source: Path, to: Path) -> int:
    with dbfile.opened(source) as conn, replacing(to) as path:
        total = _figure(conn, "page_count") * _figure(conn, "page_size")
        with console.Steps("copying", "bytes", total) as steps:
            conn.set_progress_handler(_watching(path, steps), _OPERATIONS)
            conn.execute("VACUUM INTO ?", (str(path),))
        _mark(path)
        _check(path)
        return path.stat().st_size


def _mark(path: Path) -> None:
    """Mark the copy, so that a recorder started on it begins a new epoch."""
    # Not at the top: the command's help should not wait for the store's modules.
    from recorder.store.sqlite.connection import connect_sqlite
    from recorder.store.sqlite.identity import COPIED
    from recorder.store.sqlite.rows import Transaction, set_meta

    with closing(connect_sqlite(str(path))) as conn, Transaction(conn):
        if conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is not None:
            set_meta(conn, **COPIED)


def _watching(path: Path, steps: console.Steps) -> Callable[[], int]:
    seen = 0

    def look() -> int:
        nonlocal seen
        size = path.stat().st_size
        steps.advance(size - seen)
        seen = size
        return 0  # anything else would end the copy

    return look


def _figure(conn: sqlite3.Connection, pragma: str) -> int:
    return int(conn.execute(f"PRAGMA {pragma}").fetchone()[0])


def _check(path: Path) -> None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as conn:
        found: list[tuple[Any, ...]] = conn.execute("PRAGMA quick_check(1)").fetchall()
    if found != [("ok",)]:
        raise sqlite3.DatabaseError(f"the copy is damaged: {found[0][0]}")


def prune(
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="TIME",
            help=f"Remove what was recorded before {HELP}; by default what the recorder's settings say.",
            show_default=False,
        ),
    ] = None,
    trust_clock: Annotated[
        bool,
        typer.Option("--trust-clock", help="Confirm that the recorder's clock is right, if it is in doubt."),
    ] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Remove old deltas now, for good.

    The last state of sessions that still live stays. Asks first on a terminal; elsewhere --yes is needed.
    """
    bound = moment(older_than, "--older-than") if older_than is not None else None
    if dry_run and bound is None:
        raise InvalidQuery(
            "--dry-run: what the settings would remove is known to the recorder alone",
            hint="name a time with --older-than",
        )
    with Remote(url) as remote:
        if bound is not None and dry_run:
            count = _count_before(remote, bound)
            told = f"would remove {console.several(count, 'delta')} that were recorded before {bound}"
            console.answer({"dryRun": True, "count": count, "olderThan": bound}, [told], as_json=json)
            return
        console.confirm(partial(_prune_question, remote, bound), yes=yes)
        answer = remote.post_json("/api/admin/prune", {"olderThan": bound, "trustClock": trust_clock})
    removed = f"removed {console.several(answer.get('deleted', 0), 'delta')}"
    told = f"{removed}; the oldest kept is seq {answer.get('oldest') or '-'}"
    console.answer(answer, [told], as_json=json)


def _prune_question(remote: Remote, bound: str | None) -> str:
    if bound is None:
        return f"Remove for good what the settings of {remote.url} no longer keep?"
    count = _count_before(remote, bound)
    return f"Remove for good {console.several(count, 'delta')} that were recorded before {bound}, from {remote.url}?"


def _count_before(remote: Remote, bound: str) -> int:
    """Return how many deltas were recorded before a time: numbers have no gaps, and times rise with them."""
    figures = remote.get_json("/api/stats")
    total, oldest = int(figures.get("deltaCount") or 0), int(figures.get("oldest") or 0)
    first_kept = next(
        (row for page in pages(remote, Filters(since=bound), "asc", 1) for row in page.rows), None
    )
    return total if first_kept is None else max(0, min(total, first_kept.seq - oldest))


def erase(
    session: Annotated[str, typer.Option("--session", metavar="ID", help="Whose content is erased.")],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the receipt.")
    ] = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Erase the content of a session's states, from the recorder's file and its database in memory.

    Digests and a receipt stay, so that the chain still verifies: a short or guessable state can be confirmed from its
    digest. Memory that the recorder has freed may hold copies until it is restarted. It cannot be undone. Asks first on
    a terminal; elsewhere --yes is needed.
    """
    with Remote(url) as remote:
        if dry_run:
            count = _count_of(remote, session)
            told = f"would erase what {console.several(count, 'delta')} of session {session} say"
            console.answer({"dryRun": True, "sessionId": session, "count": count}, [told], as_json=json)
            return
        console.confirm(
            lambda: (
                f"Erase what {console.several(_count_of(remote, session), 'delta')} of session {session} say,"
                f" from {remote.url}?"
            ),
            yes=yes,
        )
        answer = remote.post_json("/api/admin/erase", {"sessionId": session, "reason": reason})
    told = f"erased what {console.several(answer.get('count', 0), 'delta')} of session {session} said"
    if answer.get("receipt") is None:
        told = f"nothing of session {session} was left to erase"
    console.answer(answer, [told, *answer.get("remains", ())], as_json=json)
    for name in answer.get("copies", ()):
        console.print_status(f"{name}, beside the database, may still hold it")


def _count_of(remote: Remote, session: str) -> int:
    """Return how many deltas of a session have content. Raises NotFound where nothing of it is recorded."""
    found = 0
    for page in pages(remote, Filters((session,)), "asc"):
        found += sum(row.before is not None or row.after is not None for row in page.rows)
    if not found:
        remote.get(session_path(session))  # says where there is no such session
    return found
