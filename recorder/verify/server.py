"""Verify what a running recorder serves: history page by page, its receipts, its signed head, its sessions.

The checks are those of a file, as far as the API permits. The head is requested first, and the entries up to it are
verified; later entries are ignored. What only the file shows is reported as unchecked: its structure, and the states
that are kept of pruned entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import msgspec
import orjson

from recorder.core import json_text as jsontext
from recorder.core.errors import ClientError, NotFound
from recorder.core.statements import ErasureReceipt, Head, PruneReceipt, Signed
from recorder.verify.chain import Erased, Stored, Tally, check, content_of
from recorder.verify.diagnosis import Placed
from recorder.verify.judge import Claims, judge, starting_point
from recorder.verify.report import Report, Verdict
from recorder.verify.statements import Epoch, Evidence, holds
from recorder.wire.export import ExportRow, row_of_item
from recorder.wire.statements import signed_of

HEAD_ROUTE = "/api/head"
"""Where a recorder shows its signed head of now."""

ATTEMPTS = 3
"""How often a recorder that prunes meanwhile is asked again."""
PAGE = 1000

Progress = Callable[[int, int], None]


class Served(Protocol):
    """A recorder that answers over HTTP. What it refuses, or what keeps us from it, is raised as a RecorderError."""

    url: str
    """Its base URL, for messages."""

    def get(self, path: str, params: Sequence[tuple[str, str]] = ()) -> bytes:
        """Return the body of an answer."""

    def get_json(self, path: str, params: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        """Return the body of an answer that is a JSON object."""


@dataclass(slots=True)
class _Facts:
    """The metadata that a recorder returns beside its entries."""

    head: Signed[Head] | None
    end: int
    receipts: list[Signed[PruneReceipt]]
    erasures: list[Signed[ErasureReceipt]]
    epochs: list[Epoch]


@dataclass(slots=True)
class _Session:
    """The state of a session according to the log."""

    seq: int
    deleted: bool
    count: int


class _ListedSession(msgspec.Struct, rename="camel"):
    session_id: str
    seq: int
    deleted: bool
    count: int


class _Listing(msgspec.Struct):
    sessions: list[_ListedSession]
    next: str | None


_decode_listing = msgspec.json.Decoder(_Listing).decode


@dataclass(slots=True)
class _Log:
    """The log as read so far: the hashes by seq, and the state of each session."""

    hashes: dict[int, bytes | None] = field(default_factory=dict)
    sessions: dict[str, _Session] = field(default_factory=dict)

    def add(self, row: ExportRow) -> None:
        """Take note of the next entry."""
        self.hashes[row.seq] = row.hash
        known = self.sessions.setdefault(row.session_id, _Session(0, False, 0))
        known.seq, known.deleted, known.count = row.seq, row.type == "deleted", known.count + 1


def verify_server(
    remote: Served,
    trusted: frozenset[str],
    expected: Sequence[Signed[Head]] | None = None,
    on_progress: Progress = lambda done, total: None,
) -> Report:
    """Verify what a recorder serves.

    Args:
        remote: The recorder.
        trusted: Ids of the keys that are believed.
        expected: Signed heads that were kept elsewhere.
        on_progress: Gets how many more entries have been looked at, and how many there are in all.

    Raises:
        RecorderError: It cannot be asked, or answers what no recorder does.
    """
    for _ in range(ATTEMPTS):
        served = _facts(remote)
        report = _verify(remote, served, trusted, expected, on_progress)
        if report.verdict is Verdict.INTACT or len(_facts(remote).receipts) == len(served.receipts):
            break
    return report


def _facts(remote: Served) -> _Facts:
    try:
        head = _statement(Head, remote.get_json(HEAD_ROUTE))
    except NotFound:  # it signs nothing
        head = None
    told = remote.get_json("/api/receipts")
    try:
        end = head.payload.seq if head is not None else int(remote.get_json("/api/stats").get("recorded", 0))
        epochs = [Epoch(str(epoch["epoch"]), int(epoch["firstSeq"])) for epoch in told["epochs"]]
        receipts = [_statement(PruneReceipt, item) for item in told["prunes"]]
        erasures = [_statement(ErasureReceipt, item) for item in told["erasures"]]
    except (KeyError, TypeError, ValueError):
        raise _not_ours() from None
    return _Facts(head, end, receipts, erasures, epochs)


def _statement(kind: Any, members: Any) -> Any:
    try:
        return signed_of(kind, members)
    except ValueError:
        raise _not_ours() from None


def _not_ours() -> ClientError:
    return ClientError("the answer is not a recorder's", hint="is something else at --url?")


def _verify(
    remote: Served,
    served: _Facts,
    trusted: frozenset[str],
    expected: Sequence[Signed[Head]] | None,
    on_progress: Progress,
) -> Report:
    report, log = Report(remote.url), _Log()
    last_receipt = served.receipts[-1] if served.receipts else None
    pruned = last_receipt.payload.last_seq if last_receipt else 0
    believed = last_receipt is None or last_receipt.by is None or holds(last_receipt)
    last_hash = last_receipt.payload.last_hash if last_receipt else None
    tally: Tally | None = None
    for rows, erased in _pages(remote, 0, served.end):
        if tally is None:
            tally = Tally(*starting_point(rows[0].seq, pruned, last_hash, known=believed))
        check(tally, map(_stored, rows), erased, frozenset())
        for row in rows:
            log.add(row)
        on_progress(len(rows), served.end - pruned)
    first = min(log.hashes, default=pruned + 1)
    last = max(log.hashes, default=first - 1)
    evidence = Evidence(first, last, log.hashes.__getitem__, served.receipts, served.epochs, trusted)
    heads = [] if served.head is None else [served.head]
    claimed = Claims(heads, expected, served.erasures, dict.fromkeys(e.payload.id for e in served.erasures))
    judge(report, tally or Tally(pruned, None), _Entries(remote, log.hashes, served.end), evidence, claimed)
    _check_sessions(report, remote, log, served.end)
    report.note(
        "structure", "only its file shows whether the database itself, and what was kept of pruned, is sound"
    )
    return report


def _pages(remote: Served, after: int, end: int) -> Iterator[tuple[list[ExportRow], Erased]]:
    """Yield the entries after one seq up to another, page by page, with the digests of erased content."""
    following: list[tuple[str, str]] = []
    reached = after
    while True:
        question = [("after", str(after)), ("before", str(end + 1)), ("order", "asc"), ("limit", str(PAGE))]
        body = remote.get("/api/deltas", following + question[3:] if following else question)
        try:
            page = jsontext.members(body)
            items = list(jsontext.elements(page["deltas"]))
            rows, cursor = [row_of_item(item) for item in items], orjson.loads(page["next"])
        except (jsontext.BadJson, KeyError, ValueError):
            raise _not_ours() from None
        # One that gives the same again and again would be examined for ever.
        if cursor is not None and not (isinstance(cursor, str) and _is_ascending(reached, rows)):
            raise _not_ours()
        if rows:
            reached = rows[-1].seq
            yield rows, {row.seq: (row.erased_before, row.erased_after) for row in rows if _is_erased(row)}
        if cursor is None:
            return
        following = [("cursor", cursor)]


def _is_ascending(after: int, rows: Sequence[ExportRow]) -> bool:
    """Return whether the numbers rise strictly, starting after a seq."""
    seqs = [after, *(row.seq for row in rows)]
    return all(one < other for one, other in pairwise(seqs))


def _is_erased(row: ExportRow) -> bool:
    return row.erased_before is not None or row.erased_after is not None


def _stored(row: ExportRow) -> Stored:
    texts = (row.session_id, row.type, row.before, row.after, row.timestamp, row.recorded_at, row.delta_id)
    encoded = [None if text is None else text.encode() for text in texts]
    lineage = None if row.lineage is None else row.lineage.encode()
    return (row.seq, *encoded, row.id_digest, row.before_filled, lineage, row.hash)


class _Entries:
    """`diagnosis.Entries` of a recorder.

    Args:
        remote: The recorder.
        hashes: Of the entries that it gave.
        end: Up to where.
    """

    def __init__(self, remote: Served, hashes: dict[int, bytes | None], end: int) -> None:
        self._remote = remote
        self._hashes = hashes
        self._end = end

    def between(self, first: int, last: int) -> list[Placed]:
        """Return the entries with these numbers, requested again from the server."""
        return [
            Placed(row.seq, content_of(_stored(row), erased), row.hash)
            for rows, erased in _pages(self._remote, first - 1, min(last, self._end))
            for row in rows
        ]

    def hashes(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield number and stored hash of all entries."""
        return iter(self._hashes.items())


def _check_sessions(report: Report, remote: Served, log: _Log, end: int) -> None:
    """Check that the listed sessions match the log; sessions that changed in the meantime are skipped."""
    listed: dict[str, _Session] = {}
    params = [("limit", str(PAGE))]
    while True:
        try:
            page = _decode_listing(remote.get("/api/sessions", params))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _not_ours() from None
        found = {row.session_id: _Session(row.seq, row.deleted, row.count) for row in page.sessions}
        is_new = listed | found != listed
        listed |= found
        if page.next is None:
            break
        # A round is made only of what has moved: one that gives the same again and again would go on for ever.
        if not is_new:
            raise _not_ours()
        params = [("limit", str(PAGE)), ("cursor", page.next)]
    for name, made in log.sessions.items():
        told = listed.get(name)
        if told is None or (told.seq <= end and told != made):
            report.broken("cache", f"the listed session {name[:80]!r} does not match the log")
            return
