"""Entries as an export carries them: NDJSON, JSON and CSV, built from column values.

One encoder for the HTTP route and for the command line that reads a file, so that both give the same bytes.
States are spliced in byte for byte. One thing cannot be: a line of NDJSON has no room for a line break
between a state's tokens (inside a string JSON forbids it), so such a break becomes a space and
`"exact":{"before":"…","after":"…"}` behind the delta carries the state's true text, which the import puts
back. The invariant: what the line says without `exact` is the same JSON value, and with it the same bytes.

JSON and CSV need no `exact`: both have room for line breaks. CSV is for spreadsheets, which compute what looks like a
formula: an id that begins like one gets a `'` in front, unless that is switched off.

Nothing here reads a database or knows about HTTP.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from recorder.core import json_text as jsontext
from recorder.wire.events import item_text, quote

COLUMNS = (
    "id", "created_at", "delta_type", "session_id", "before_state", "after_state",
    "timestamp", "delta_id", "lineage", "hash", "before_filled", "id_digest",
)  # fmt: skip
"""The columns of `session_deltas` in the order of `ExportRow`; behind them come those of `erased_states`."""

CSV_HEADER = (
    b"seq,recordedAt,type,sessionId,timestamp,before,after,id,lineage,hash,beforeFilled,idDigest,"
    b"erasedBefore,erasedAfter\r\n"
)
JSON_OPEN, JSON_BETWEEN, JSON_CLOSE = b"[\n", b",\n", b"\n]\n"
"""What stands before, between and after the entries of the JSON form; an empty one is `JSON_EMPTY`."""
JSON_EMPTY = b"[]\n"

MEDIA_TYPES = {"ndjson": "application/x-ndjson", "json": "application/json", "csv": "text/csv; charset=utf-8"}
"""The formats there are, and what HTTP calls them."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula; the last four are the full-width forms of the first.

States need no care: as JSON they begin with none of these but a number's minus."""

_BREAKS = str.maketrans("\r\n", "  ")


class ExportRow(NamedTuple):
    """The stored columns of one entry, in the order of `COLUMNS`.

    Attributes:
        seq: Its number.
        recorded_at: When it was recorded, fixed-width form.
        type: created, updated or deleted.
        session_id: The session.
        before: JSON text of the state before, None where there is none.
        after: JSON text of the state after, None where there is none.
        timestamp: When it happened, fixed-width form.
        delta_id: The publisher's id, or None.
        lineage: `broken` where `before` is not what was recorded last, else None.
        hash: The chain's hash (32 bytes), None where the chain is off.
        before_filled: Whether the recorder filled `before` in; a file's 0, 1 or NULL will do.
        id_digest: With an id: the digest of the content as it was sent (32 bytes), else None.
        erased_before, erased_after: The digests of states that were erased (32 bytes), else None.
    """

    seq: int
    recorded_at: str
    type: str
    session_id: str
    before: str | None
    after: str | None
    timestamp: str
    delta_id: str | None
    lineage: str | None
    hash: bytes | None
    before_filled: int | None = 0
    id_digest: bytes | None = None
    erased_before: bytes | None = None
    erased_after: bytes | None = None


def json_item(row: ExportRow) -> bytes:
    """Return the entry as history returns it, `{"seq":…,"recordedAt":…,"hash":…,"delta":{…}}`, without end
    of line.
    """
    return _item(row, row.before, row.after).encode()


def ndjson_line(row: ExportRow) -> bytes:
    """Return the entry as one line with its line end, followed by `exact` if a state has line breaks."""
    before, after = row.before, row.after
    if not _breaks(before) and not _breaks(after):
        return (_item(row, before, after) + "\n").encode()
    exact = [
        f'"{name}":{quote(state)}'
        for name, state in (("before", before), ("after", after))
        if state is not None and _breaks(state)
    ]
    item = _item(row, before and before.translate(_BREAKS), after and after.translate(_BREAKS))
    return f'{item[:-1]},"exact":{{{",".join(exact)}}}}}\n'.encode()


def csv_line(row: ExportRow, *, escape_formulas: bool = True) -> bytes:
    """Return the entry as a record of RFC 4180, with its end; what is None is an empty field.

    Args:
        row: The entry.
        escape_formulas: Put a `'` in front of ids that a spreadsheet would take for a formula and compute.
    """
    session_id, delta_id = row.session_id, row.delta_id
    if escape_formulas:
        session_id = _escaped(session_id)
        delta_id = None if delta_id is None else _escaped(delta_id)
    fields = (
        str(row.seq), row.recorded_at, row.type, session_id, row.timestamp, row.before, row.after,
        delta_id, row.lineage, _hex(row.hash), "true" if row.before_filled else None, _hex(row.id_digest),
        _hex(row.erased_before), _hex(row.erased_after),
    )  # fmt: skip
    return (",".join([_csv_field(field) for field in fields]) + "\r\n").encode()


def ndjson_of_item(item: bytes) -> bytes:
    """Return `ndjson_line` for an entry in the form of history (`json_item`)."""
    if b"\n" not in item and b"\r" not in item:
        return item + b"\n"
    return ndjson_line(row_of_item(item))


def csv_of_item(item: bytes, *, escape_formulas: bool = True) -> bytes:
    """Return `csv_line` of an entry as history gives it (`json_item`)."""
    return csv_line(row_of_item(item), escape_formulas=escape_formulas)


def row_of_item(item: bytes) -> ExportRow:
    """Return the columns of an entry in the form that history returns; states keep their bytes.

    Args:
        item: What `json_item` returns; anything else is not understood.

    Raises:
        ValueError: It is not an entry.
    """
    entry = _members(item)
    delta = _members(entry.get("delta", b""))
    erased = _members(entry["erased"]) if "erased" in entry else {}
    try:
        return ExportRow(
            seq=int(entry["seq"]),
            recorded_at=_string(entry["recordedAt"]),
            type=_string(delta["type"]),
            session_id=_string(delta["sessionId"]),
            before=delta["before"].decode() if "before" in delta else None,
            after=delta["after"].decode() if "after" in delta else None,
            timestamp=_string(delta["timestamp"]),
            delta_id=_text(delta, "id"),
            lineage=_text(entry, "lineage"),
            hash=_bytes(entry, "hash"),
            before_filled=entry.get("beforeFilled") == b"true",
            id_digest=_bytes(entry, "idDigest"),
            erased_before=_bytes(erased, "before"),
            erased_after=_bytes(erased, "after"),
        )
    except KeyError as error:
        raise ValueError(f"not an entry: it has no {error}") from None


def _text(members: dict[str, bytes], name: str) -> str | None:
    return _string(members[name]) if name in members else None


def _string(text: bytes) -> str:
    value = orjson.loads(text)
    if not isinstance(value, str):
        raise ValueError("not an entry: a text is something else")
    return value


def _bytes(members: dict[str, bytes], name: str) -> bytes | None:
    return bytes.fromhex(_string(members[name])) if name in members else None


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _members(text: bytes) -> dict[str, bytes]:
    try:
        return jsontext.members(text, trusted=True)
    except jsontext.BadJson as bad:
        raise ValueError(f"not an entry: {bad.message}") from None


def _item(row: ExportRow, before: str | None, after: str | None) -> str:
    return item_text(
        row.seq,
        row.recorded_at,
        row.hash,
        (row.type, row.session_id),
        (before, after),
        row.timestamp,
        (row.delta_id, row.id_digest, bool(row.before_filled), row.lineage),
        erased=None
        if row.erased_before is row.erased_after is None
        else (row.erased_before, row.erased_after),
    )


def _breaks(state: str | None) -> bool:
    return state is not None and ("\n" in state or "\r" in state)


def _escaped(text: str) -> str:
    return "'" + text if text.startswith(FORMULA_STARTS) else text


def _csv_field(value: str | None) -> str:
    if value is None:
        return ""
    if '"' in value or "," in value or "\n" in value or "\r" in value:
        return '"' + value.replace('"', '""') + '"'
    return value
