"""The running summary of a coding assistant's session: a few lines that say where it stands.

It is derived and may be lossy: texts are cut, plans bounded; the record beside it has everything. Anything may be
missing from a record or be of another type than usual, since these logs have no promised form; what does not fit is
passed over here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recorder.bridges.imports import rawjson

_MAX_TEXT = 200
_MAX_TODOS = 50
_MAX_MESSAGES = 64
_TOKENS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_TODO_FIELDS = ("id", "content", "status", "priority")
_FACTS = {"cwd": "cwd", "version": "version", "gitBranch": "gitBranch"}
_NOTED = ("cwd", "version", "gitBranch", "model", "title")
_TITLES = {"summary": "summary", "ai-title": "aiTitle", "custom-title": "customTitle"}


class Running:
    """The state of a session after the records that were read so far.

    Args:
        is_side: Whether the session is a side chain's own, whose plan and model are what the session is about.
    """

    def __init__(self, *, is_side: bool = False) -> None:
        self._is_side = is_side
        self._records = 0  # records of this session
        self._messages = 0  # those that were messages of the user or the assistant
        self._facts: dict[str, str] = {}  # working directory, version, branch, model, title: the last seen
        self._todos: list[dict[str, str]] | None = None  # the plan, once there was one
        self._usage = dict.fromkeys(_TOKENS, 0)  # tokens, summed
        self._counted: dict[
            str, dict[str, int]
        ] = {}  # tokens already summed, by message, of the latest messages
        self._last: dict[str, Any] = {}  # the last record in short

    @classmethod
    def resumed(cls, states: Sequence[bytes], *, is_side: bool = False) -> Running:
        """Restore the state from what is recorded.

        Args:
            states: The session's last states, the newest last: it sums up all before, the others say which messages'
                tokens are in the sum.
            is_side: As for the class.
        """
        running = cls(is_side=is_side)
        for state in states:
            running._count_again(rawjson.members(state).get("record", b""))
        if states:
            running._take_over(rawjson.members(states[-1]))
        return running

    def _count_again(self, record: bytes) -> None:
        message = rawjson.members(record).get("message", b"") if record.startswith(b"{") else b""
        if message.startswith(b"{"):
            self._count(rawjson.decode(message))

    def _take_over(self, state: dict[str, bytes]) -> None:
        counts = {name: _number(state.get(name)) for name in ("records", "messages")}
        self._records, self._messages = counts["records"], counts["messages"]
        for name in _NOTED:
            self._note(name, rawjson.string(state.get(name)))
        todos = rawjson.decode(state.get("todos", rawjson.NULL))
        if isinstance(todos, list):
            self._todos = [_todo(todo) for todo in todos[:_MAX_TODOS]]
        used = state.get("usage", b"")
        usage = rawjson.members(used) if used.startswith(b"{") else {}
        self._usage = {name: _number(usage.get(name)) for name in _TOKENS}

    def add(self, fields: dict[str, bytes], *, points_here: bool) -> None:
        """Take in a record.

        Args:
            fields: Its members as texts.
            points_here: Whether it points at a record of this session: a summary that does not is of another one.
        """
        kind = rawjson.string(fields.get("type")) or ""
        message = rawjson.decode(fields.get("message", rawjson.NULL))
        sidechain = fields.get("isSidechain") == b"true"
        self._records += 1
        self._messages += kind in ("user", "assistant")
        for source, name in _FACTS.items():
            self._note(name, rawjson.string(fields.get(source)))
        if kind in _TITLES and (points_here or kind != "summary"):
            self._note("title", rawjson.string(fields.get(_TITLES[kind])))
        self._last = _short(fields, kind, message)
        if isinstance(message, dict):
            self._count(message)
            if self._is_side or not sidechain:
                self._note("model", message.get("model"))
                self._plan(message)

    def state(self, record: bytes) -> bytes:
        """Return the JSON text of the state.

        Args:
            record: The text of the record that was added last; it stands in the state as it is.
        """
        summary: dict[str, Any] = {"agent": "claude-code", **self._facts}
        if self._todos is not None:
            summary |= {"planStatus": _plan_status(self._todos), "todos": self._todos}
        summary |= {"records": self._records, "messages": self._messages, "usage": self._used()}
        summary["last"] = self._last
        pairs = ((name, rawjson.dump(value)) for name, value in summary.items())
        return rawjson.assemble((*pairs, ("record", record)))

    def _note(self, name: str, value: object) -> None:
        if isinstance(value, str) and value:
            self._facts[name] = value[:_MAX_TEXT]

    def _used(self) -> dict[str, int]:
        cached = {name: count for name, count in self._usage.items() if count and name.startswith("cache")}
        return {name: self._usage[name] for name in _TOKENS[:2]} | cached

    def _count(self, message: dict[str, Any]) -> None:
        """Sum up tokens. A message that is logged in several records repeats its figures in each, and they may grow."""
        usage = message.get("usage")
        if not isinstance(usage, dict):
            return
        name = message.get("id")
        counted = self._counted.pop(name, {}) if isinstance(name, str) else {}
        for token in _TOKENS:
            value = usage.get(token)
            if type(value) is int and value > counted.get(token, 0):  # a boolean is an int too
                self._usage[token] += value - counted.get(token, 0)
                counted[token] = value
        if isinstance(name, str):
            self._counted[name] = counted
            if len(self._counted) > _MAX_MESSAGES:
                del self._counted[next(iter(self._counted))]

    def _plan(self, message: dict[str, Any]) -> None:
        for block in _blocks(message):
            if block.get("type") == "tool_use" and block.get("name") == "TodoWrite":
                given = block.get("input")
                todos = given.get("todos") if isinstance(given, dict) else None
                if isinstance(todos, list):
                    self._todos = [_todo(todo) for todo in todos[:_MAX_TODOS]]


def _number(text: bytes | None) -> int:
    value = rawjson.decode(text) if text is not None else 0
    return value if type(value) is int and value > 0 else 0


def _todo(todo: object) -> dict[str, str]:
    if not isinstance(todo, dict):
        return {"content": str(todo)[:_MAX_TEXT]}
    return {name: str(todo[name])[:_MAX_TEXT] for name in _TODO_FIELDS if name in todo}


def _plan_status(todos: list[dict[str, str]]) -> str:
    statuses = {todo.get("status", "pending") for todo in todos}
    if statuses <= {"pending"}:
        return "pending"
    return "completed" if statuses == {"completed"} else "in_progress"


def _short(fields: dict[str, bytes], kind: str, message: object) -> dict[str, Any]:
    """Return a short form of a record: its author, the tool, the beginning of the text."""
    short: dict[str, Any] = {"type": kind}
    for name in ("subtype", "operation", "uuid"):
        if value := rawjson.string(fields.get(name)):
            short[name] = value[:_MAX_TEXT]
    if fields.get("isSidechain") == b"true":
        short["sidechain"] = True
    if isinstance(message, dict):
        short |= _message_in_short(message)
    else:
        text = message if isinstance(message, str) else _own_text(fields)
        short |= {"text": text[:_MAX_TEXT]} if text else {}
    return short


def _own_text(fields: dict[str, bytes]) -> str | None:
    return next((text for name in ("summary", "content") if (text := rawjson.string(fields.get(name)))), None)


def _message_in_short(message: dict[str, Any]) -> dict[str, Any]:
    short: dict[str, Any] = {}
    if isinstance(message.get("role"), str):
        short["role"] = message["role"][:_MAX_TEXT]
    if isinstance(message.get("content"), str):
        short["text"] = message["content"][:_MAX_TEXT]
    for block in _blocks(message):
        short |= _block_in_short(block)
    return short


def _block_in_short(block: dict[str, Any]) -> dict[str, Any]:
    match block:
        case {"type": "text", "text": str(text)}:
            return {"text": text[:_MAX_TEXT]}
        case {"type": "tool_use", "name": str(name)}:
            return {"tool": name[:_MAX_TEXT]}
        case {"type": "tool_result", **rest}:
            content = rest.get("content")
            text = content if isinstance(content, str) else _first_text(content)
            return {"result": text[:_MAX_TEXT], "failed": rest.get("is_error") is True}
    return {}


def _first_text(content: object) -> str:
    blocks = content if isinstance(content, list) else []
    texts = (block.get("text") for block in blocks if isinstance(block, dict))
    return next((text for text in texts if isinstance(text, str)), "")


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
