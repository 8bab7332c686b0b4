"""`recorder import`: turn logs of other programs into deltas and publish them to a running recorder.

The format of each log is recognised by its content; with what and why is said on stderr. A record that cannot
become a delta, and a delta that the recorder refuses, are reported with file and line. Without `--skip-bad`
the first one ends the import: what came before it is recorded, and it is said how much that is. In a folder
it ends only its file: the other files are imported, and the exit code says that something is missing.

A session that is recorded already is continued: what is recorded of it is asked for when its first record
comes, so that its running state goes on and a record that is known is not sent again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Annotated
from urllib.parse import quote

import typer

from recorder.bridges.imports import FORMATS, Importer, SourceItem, SourceKnown, SourceOptions, rawjson
from recorder.bridges.imports.records import Unfit
from recorder.cli import console
from recorder.cli.batches import Sender
from recorder.cli.http import DEFAULT_URL, Remote, UrlOption
from recorder.cli.options import JsonOption
from recorder.config.settings import load_settings
from recorder.core.errors import (
    ClientError,
    NotAllowed,
    NotFound,
    NotRecording,
    RecorderError,
    SourceError,
)

_FORMAT_HELP = "; ".join(f"{name}: {form.description}" for name, form in FORMATS.items())
_PAGE = "1000"
_MAX_LISTED = 100_000
_SKIP_HINT = "--skip-bad skips such records"


def import_(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|DIR|-...", help="Logs, or folders of them; - is stdin; gzip is unpacked."
        ),
    ],
    format: Annotated[  # noqa: A002 - the option's name
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME",
            help=f"What kind of log; without it each is recognised by its content. {_FORMAT_HELP}.",
        ),
    ] = None,
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
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Skip bad records and count them.")] = False,
    json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> int:
    """Import logs of other programs.

    Prints the position of the last delta. Exits with 1 where a record or a whole folder could not be imported.
    """
    if format is not None and format not in FORMATS:
        raise typer.BadParameter(f"{format!r} is not one of {', '.join(FORMATS)}", param_hint="--format")
    options = SourceOptions(
        session=session, key=tuple(key or ()), max_delta_bytes=load_settings().max_delta_bytes
    )
    bad = _Bad(skip=skip_bad)
    with Remote(url) as remote, console.Steps("importing", "deltas") as steps:
        sender = Sender(remote, steps, bad.take)
        recorded = _Recorded(remote)
        try:
            _import_files(
                files, format, lambda: Importer(options, recorded.history, sender.wait), sender, bad
            )
        finally:
            if sender.published or sender.known or bad.has_counted:
                console.print_status(sender.summary() + bad.summary())
        position = sender.position or (recorded.head() if sender.known else None)
        remote.warn_if_not_recording()
    if json:
        counts = {"published": sender.published, "known": sender.known, "skipped": bad.records}
        console.json_line({**counts, "position": position})
    elif position is not None:
        console.out_line(position)
    return 1 if bad.failed else 0


def _import_files(
    paths: list[str], form: str | None, new_importer: Callable[[], Importer], sender: Sender, bad: _Bad
) -> None:
    """Import files in their order.

    Raises:
        SourceError: A file that was named itself failed, or none of the files can be imported.
    """
    importer = new_importer()
    is_known = False  # whether any file was of a format that can be imported
    for file, is_chosen in _files(paths):
        try:
            is_known |= _import_file(importer, form, file, is_chosen, sender, bad)
            if not is_chosen:
                # What is refused of it must end this file, not the next one.
                sender.flush()
        except SourceError as error:
            if is_chosen:
                raise
            bad.fail(error)
            is_known = True
            # The failed importer takes for recorded what was read and never sent; a new one asks again.
            importer = new_importer()
    sender.flush()
    if not is_known:
        raise SourceError("no file that can be imported", hint=f"the formats are {', '.join(FORMATS)}")


def _files(paths: list[str]) -> Iterator[tuple[str, bool]]:
    """Yield the files to import, each with whether it was named itself, not only a folder that it is in."""
    for path in paths:
        if path == "-" or not os.path.isdir(path):
            yield path, True
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (
                (os.path.join(folder, name), False) for name in sorted(names) if not name.startswith(".")
            )


def _import_file(
    importer: Importer, form: str | None, file: str, is_chosen: bool, sender: Sender, bad: _Bad
) -> bool:
    """Import a file; return whether it is of a format that can be imported."""
    try:
        items = _opened(importer, form, file, is_chosen, bad)
        for item in items if items is not None else ():
            if isinstance(item, SourceError):
                # What came in front of the bad record is good, and recorded even if this ends the import.
                sender.flush()
                bad.take(item)
            elif isinstance(item, SourceKnown):
                sender.add_known()
            else:
                sender.add(item)
    except SourceError:
        sender.flush()
        raise
    return items is not None


def _opened(
    importer: Importer, form: str | None, file: str, is_chosen: bool, bad: _Bad
) -> Iterator[SourceItem] | None:
    """Open a log and say what it is; None, with a line that says so, for a file of a folder that is no log."""
    if form is not None:
        return importer.open(form, file)
    found = importer.recognise(file)
    if not isinstance(found, SourceError):
        console.print_status(f"{'<stdin>' if file == '-' else file}: {found.format}, by {found.why}")
        return found.items
    if is_chosen:
        raise found
    bad.pass_over(found)
    return None


class _Bad:
    """Decides what becomes of bad records, and counts them.

    Args:
        skip: Whether they are skipped.
    """

    def __init__(self, *, skip: bool) -> None:
        self._skip = skip
        self.records = 0  # skipped
        self.failed = 0  # files of folders that were not read to their end
        self._files = 0  # of folders, that are no logs

    @property
    def has_counted(self) -> bool:
        """Return whether anything was skipped or failed."""
        return bool(self.records or self.failed or self._files)

    def take(self, error: SourceError) -> None:
        """Report it, or raise it with what to do about it."""
        if not self._skip:
            hint = f"{error.hint}; {_SKIP_HINT}" if error.hint else _SKIP_HINT
            raise SourceError(error.message, hint=hint, place=error.place) from error.__cause__
        self.records += 1
        console.print_error(str(error))

    def fail(self, error: SourceError) -> None:
        """Report what ended a file of a folder."""
        self.failed += 1
        console.print_error(str(error))

    def pass_over(self, error: SourceError) -> None:
        """Report a file of a folder that is no log."""
        self._files += 1
        console.print_error(f"skipped: {error.message}")

    def summary(self) -> str:
        """Return in words how many were skipped."""
        counted = ((self.records, "bad record"), (self._files, "file"))
        skipped = "".join(f", {console.several(count, what)} skipped" for count, what in counted if count)
        failed = f", {console.several(self.failed, 'file')} not read to the end" if self.failed else ""
        return skipped + failed


class _Recorded:
    """Asks a recorder what is recorded of sessions.

    Args:
        remote: The recorder.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._listed: set[str] | None = None  # the sessions there were; None: not asked yet
        self._is_complete = True  # whether a session that is not listed is none
        self._asked: set[str] = set()  # those that this import may have made since
        self._is_readable = True  # whether it lets us read at all

    def history(self, session_id: str) -> Iterator[tuple[str | None, bytes | None]]:
        """Yield id and state after each recorded delta of a session, the oldest first."""
        if not self._is_readable:
            return
        try:
            if self._may_exist(session_id):
                yield from self._deltas(session_id)
        except (NotRecording, NotAllowed) as error:
            self._is_readable = False
            console.print_error(
                f"cannot look up what is recorded, sessions are not continued: {error.message}"
            )

    def head(self) -> str | None:
        """Return the position of the recorder's last delta; None where it may not be asked."""
        try:
            stats = self._remote.get_json("/api/stats")
            return f"{stats['epoch']}:{int(stats['head'])}"
        except (RecorderError, KeyError, TypeError, ValueError):
            return None

    def _may_exist(self, session_id: str) -> bool:
        if self._listed is None:
            self._listed = set(self._sessions())
        if session_id in self._asked or session_id in self._listed or not self._is_complete:
            return True
        self._asked.add(session_id)
        return False

    def _sessions(self) -> Iterator[str]:
        """Yield the ids of the recorded sessions: one request a thousand of them instead of one each."""
        cursor: list[tuple[str, str]] = []
        count = 0
        while True:
            page = self._remote.get_json("/api/sessions", [("limit", _PAGE), *cursor])
            try:
                found = [str(session["sessionId"]) for session in page["sessions"]]
                following = page["next"]
            except (KeyError, TypeError):
                raise _not_a_recorder() from None
            yield from found
            count += len(found)
            if following is None:
                return
            if count >= _MAX_LISTED:
                self._is_complete = False
                return
            cursor = [("cursor", str(following))]

    def _deltas(self, session_id: str) -> Iterator[tuple[str | None, bytes | None]]:
        path = f"/api/deltas/{quote(session_id, safe='')}"
        cursor: list[tuple[str, str]] = []
        found = False
        while True:
            try:
                body = self._remote.get(path, [("order", "asc"), ("limit", _PAGE), *cursor])
            except NotFound:
                return
            try:
                page = rawjson.members(body)
                for item in rawjson.elements(page["deltas"]):
                    delta = rawjson.members(rawjson.members(item)["delta"])
                    found = True
                    yield rawjson.string(delta.get("id")), rawjson.present(delta.get("after"))
                following = rawjson.string(page.get("next"))
            except (Unfit, KeyError):
                raise _not_a_recorder() from None
            if following is None:
                break
            cursor = [("cursor", following)]
        if not found:
            yield from self._base(session_id)

    def _base(self, session_id: str) -> Iterator[tuple[str | None, bytes | None]]:
        """Yield the state of a session whose deltas retention has removed."""
        try:
            body = self._remote.get(f"/api/sessions/{quote(session_id, safe='')}")
            yield None, rawjson.present(rawjson.members(body).get("state"))
        except NotFound:
            return
        except Unfit:
            raise _not_a_recorder() from None


def _not_a_recorder() -> ClientError:
    return ClientError("the answer is not a recorder's", hint="is something else listening at --url?")
