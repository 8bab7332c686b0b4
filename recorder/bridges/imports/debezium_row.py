"""The identity of the row that a change event is about: the session's id, `server/db.schema.table/key`.

The key of the row is, in this order: the fields named by the option `key`; the event's own key; the row's field `id`
or `_id` (in any case, if there is only one such field). Where none of them is there the event is refused: two rows
must never become one session. For the same reason a key is written so that no two keys look alike: a string stands
bare unless it could be taken for another JSON value, a key of several fields is a JSON object, and `.` and `/` inside
the names before it are escaped as in a URL.
"""

from __future__ import annotations

import hashlib

from recorder.bridges.imports import envelope, rawjson
from recorder.bridges.imports.records import Unfit

_HINT = "name the fields that tell rows apart with --key"
_DATABASES = ("db", "database", "database_id", "keyspace")
_TABLES = ("table", "collection")
_GUESSES = ("id", "_id")
# Debezium's own addition to a key where several tables share a topic.
_NOT_KEY = "__dbz__physicalTableIdentifier"


def session_id(
    source: dict[str, bytes],
    topic: str | None,
    key: bytes | None,
    states: tuple[bytes | None, bytes | None],
    selector: bytes | None,
    fields: tuple[str, ...],
) -> str:
    """Return the session id of a database row.

    Args:
        source: The event's `source`; empty where it has none.
        topic: The topic or schema the event came with: stands in for a source that names no table.
        key: The event's key as it came, if it came with one.
        states: The row before and after.
        selector: The `filter` of older MongoDB events: the document's key, as a JSON string.
        fields: The option `key`.

    Raises:
        Unfit: The table or the row cannot be told.
    """
    found = _key(key, states, selector, fields)
    name = f"{_table(source, topic)}/{_written(found)}"
    if envelope.is_session_id(name):
        return name
    # Too long, or a character that an id may not have: the beginning for people, a digest to tell them apart.
    shown = "".join(char if char.isprintable() else "?" for char in name[:200])
    return f"{shown}~{hashlib.sha256(rawjson.dump(name)).hexdigest()[:32]}"


def _table(source: dict[str, bytes], topic: str | None) -> str:
    server = _first(source, ("name", "cluster", "connector"))
    path = [_first(source, names) for names in (_DATABASES, ("schema",), _TABLES)]
    escaped = [_escape(part).replace(".", "%2E") for part in path if part]
    if not escaped and topic is None:
        raise Unfit("neither 'source' nor a topic says which table this is", hint="keep the events' 'source'")
    if not escaped:
        return _escape(topic or "")
    return "/".join(([_escape(server)] if server else []) + [".".join(escaped)])


def _first(source: dict[str, bytes], names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := rawjson.string(source.get(name)))), "")


def _escape(part: str) -> str:
    return part.replace("%", "%25").replace("/", "%2F")


def _key(
    key: bytes | None,
    states: tuple[bytes | None, bytes | None],
    selector: bytes | None,
    wanted: tuple[str, ...],
) -> dict[str, bytes]:
    own = _own_key(key)
    row = _row(states) or _document(selector)
    if wanted:
        given = own | row
        missing = [name for name in wanted if rawjson.present(_cell(given.get(name))) is None]
        if missing:
            raise Unfit(f"the row has no {missing[0]!r}, which --key names")
        return {name: given[name] for name in wanted}
    found = own or _guess(row)
    for name, value in found.items():
        if rawjson.present(_cell(value)) is None:
            raise Unfit(f"the row's key {name!r} is null", hint=_HINT)
    return found


def _own_key(key: bytes | None) -> dict[str, bytes]:
    """Return the fields of the event's key: an object, an object in `payload`, a JSON string of one, or a
    bare value.
    """
    while key is not None:
        if (text := rawjson.string(key)) is not None:
            document = _document(key)
            return _own_key(text.encode()) if document else {"key": key}
        if not key.startswith(b"{"):
            return {"key": key}
        fields = rawjson.members(key)
        if "payload" not in fields or not fields.keys() <= {"schema", "payload"}:
            return {name: value for name, value in fields.items() if name != _NOT_KEY}
        key = rawjson.present(fields["payload"])
    return {}


def _row(states: tuple[bytes | None, bytes | None]) -> dict[str, bytes]:
    for state in reversed(states):
        if (state := rawjson.present(state)) is not None:
            return rawjson.members(state) if state.startswith(b"{") else _document(state)
    return {}


def _document(quoted: bytes | None) -> dict[str, bytes]:
    """Return the members of an object encoded as a JSON string; an empty dict for anything else."""
    text = rawjson.string(quoted)
    if text is None or not text.lstrip().startswith("{"):
        return {}
    try:
        return rawjson.members(text.encode())
    except (rawjson.BadJson, UnicodeEncodeError):
        return {}


def _guess(row: dict[str, bytes]) -> dict[str, bytes]:
    for name in _GUESSES:
        if name in row:
            return {name: row[name]}
    alike = [name for name in row if name.lower() in _GUESSES]
    if len(alike) == 1:
        return {alike[0]: row[alike[0]]}
    if not row:
        raise Unfit(
            "neither a key nor a row says which row this is", hint="export the events with their keys"
        )
    raise Unfit("nothing says which field is the row's key", hint=_HINT)


def _cell(value: bytes | None) -> bytes | None:
    """Return the value of a column; Cassandra's connector wraps each in
    `{"value":…,"deletion_ts":…,"set":…}`.
    """
    if value is None or not value.startswith(b"{"):
        return value
    fields = rawjson.members(value)
    return fields["value"] if "value" in fields and {"deletion_ts", "set"} & fields.keys() else value


def _written(key: dict[str, bytes]) -> str:
    values = {name: _cell(value) or rawjson.NULL for name, value in key.items()}
    if len(values) > 1:
        return rawjson.dump({name: rawjson.decode(values[name]) for name in sorted(values)}).decode()
    value = next(iter(values.values()))
    text = rawjson.string(value)
    if text is not None:
        return value.decode() if _looks_like_json(text) else text
    return rawjson.dump(rawjson.decode(value)).decode() if value[:1] in b"{[" else value.decode()


def _looks_like_json(text: str) -> bool:
    try:
        rawjson.check(text.encode())
    except rawjson.BadJson:
        return False
    except UnicodeEncodeError:
        return False
    return True
