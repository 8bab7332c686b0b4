"""The running summary of a session: what it says, and that nothing in a record can upset it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from recorder.bridges.imports import rawjson
from recorder.bridges.imports.claude_code_state import Running
from tests.support.jsontexts import VALUES


def summary(*records: dict[str, Any], points_here: bool = False) -> dict[str, Any]:
    """The state after records, without the last of them."""
    running = Running()
    text = b""
    for record in records:
        text = json.dumps(record).encode()
        running.add(rawjson.members(text), points_here=points_here)
    state: dict[str, Any] = json.loads(running.state(text))
    assert state.pop("record") == records[-1]
    assert state.pop("agent") == "claude-code"
    return state


def message(*blocks: Any, **more: Any) -> dict[str, Any]:
    return {"type": "assistant", "message": {"role": "assistant", "content": list(blocks), **more}}


def plan(*todos: Any) -> dict[str, Any]:
    return message({"type": "tool_use", "name": "TodoWrite", "input": {"todos": list(todos)}})


def test_records_and_messages_are_counted() -> None:
    state = summary({"type": "user"}, {"type": "summary"}, {"type": "assistant"}, {"sessionId": "s"})
    assert (state["records"], state["messages"]) == (4, 2)


def test_facts_are_the_last_that_were_seen() -> None:
    first = {"type": "user", "cwd": "/a", "version": "1", "gitBranch": "main"}
    state = summary(first, {"type": "user", "cwd": "/b" + "x" * 300, "version": 3, "gitBranch": ""})
    assert (state["cwd"], state["version"], state["gitBranch"]) == ("/b" + "x" * 198, "1", "main")


@pytest.mark.parametrize(
    ("record", "points_here", "title"),
    [
        ({"type": "summary", "summary": "T"}, True, "T"),
        ({"type": "summary", "summary": "T"}, False, None),
        ({"type": "ai-title", "aiTitle": "T"}, False, "T"),
        ({"type": "custom-title", "customTitle": "T"}, False, "T"),
        ({"type": "custom-title", "customTitle": 3}, False, None),
    ],
)
def test_the_title_is_that_of_this_very_session(
    record: dict[str, Any], points_here: bool, title: str | None
) -> None:
    assert summary(record, points_here=points_here).get("title") == title


@pytest.mark.parametrize(
    ("todos", "status"),
    [
        ([], "pending"),
        ([{"status": "pending"}, {}], "pending"),
        ([{"status": "completed"}, {"status": "pending"}], "in_progress"),
        ([{"status": "in_progress"}], "in_progress"),
        ([{"status": "completed"}] * 2, "completed"),
    ],
)
def test_the_plan_has_a_status(todos: list[Any], status: str) -> None:
    assert summary(plan(*todos))["planStatus"] == status


def test_todos_are_bounded_and_may_be_broken() -> None:
    state = summary(plan("broken", {"id": 1, "content": "x" * 300, "other": 2}, *[{}] * 60))
    assert state["todos"][:2] == [{"content": "broken"}, {"id": "1", "content": "x" * 200}]
    assert len(state["todos"]) == 50


@pytest.mark.parametrize("todos", [3, "x", None, {}])
def test_a_plan_of_another_form_leaves_the_last_one(todos: Any) -> None:
    broken = message({"type": "tool_use", "name": "TodoWrite", "input": {"todos": todos}})
    assert summary(plan({"status": "completed"}), broken)["planStatus"] == "completed"
    assert "planStatus" not in summary(message({"type": "tool_use", "name": "TodoWrite", "input": todos}))


def test_a_side_chain_changes_neither_plan_nor_model() -> None:
    aside = plan({"status": "completed"}) | {"isSidechain": True}
    aside["message"]["model"] = "small"
    state = summary(message(model="large"), aside)
    assert state["model"] == "large"
    assert "todos" not in state
    assert state["last"]["sidechain"] is True


def used(**tokens: Any) -> dict[str, Any]:
    return {f"{name}_tokens": count for name, count in tokens.items()}


def test_tokens_are_summed_once_for_each_message() -> None:
    state = summary(
        message(id="a", usage=used(input=10, output=1)),
        message(id="a", usage=used(input=10, output=5)),
        message(id="b", usage=used(input=1, output=1, cache_read_input=7)),
        message(id=3, usage=used(output=2)),
        message(usage=used(output="many", input=True)),
        message(usage=[1]),
    )
    assert state["usage"] == {"input_tokens": 11, "output_tokens": 8, "cache_read_input_tokens": 7}


def test_only_the_latest_messages_are_remembered() -> None:
    records = [message(id=str(n), usage=used(input=1)) for n in range(65)]
    assert summary(*records, records[-1])["usage"]["input_tokens"] == 65
    assert summary(*records, records[0])["usage"]["input_tokens"] == 66


@pytest.mark.parametrize(
    ("record", "last"),
    [
        ({"type": "user", "message": "x" * 300}, {"type": "user", "text": "x" * 200}),
        ({"type": "summary", "summary": "T", "uuid": "u"}, {"type": "summary", "uuid": "u", "text": "T"}),
        ({"type": "system", "subtype": "s", "content": "C"}, {"type": "system", "subtype": "s", "text": "C"}),
        ({"type": "queue", "operation": "add", "message": None}, {"type": "queue", "operation": "add"}),
        ({"sessionId": "s"}, {"type": ""}),
        ({"type": "user", "message": {"role": "user", "content": "hi"}}, {"type": "user", "role": "user", "text": "hi"}),
        ({"type": "user", "message": {"role": 3, "content": 3}}, {"type": "user"}),
        (
            message({"type": "text", "text": "a"}, {"type": "tool_use", "name": "Bash"}, "odd", {"type": "image"}),
            {"type": "assistant", "role": "assistant", "text": "a", "tool": "Bash"},
        ),
        (
            message({"type": "tool_result", "content": "no", "is_error": True}),
            {"type": "assistant", "role": "assistant", "result": "no", "failed": True},
        ),
        (
            message({"type": "tool_result", "content": [3, {"text": 4}, {"text": "yes"}]}),
            {"type": "assistant", "role": "assistant", "result": "yes", "failed": False},
        ),
        (
            message({"type": "tool_result"}),
            {"type": "assistant", "role": "assistant", "result": "", "failed": False},
        ),
    ],
)  # fmt: skip
def test_the_last_record_is_told_in_short(record: dict[str, Any], last: dict[str, Any]) -> None:
    assert summary(record)["last"] == last


@given(VALUES, VALUES)
def test_no_record_upsets_it(one: str, other: str) -> None:
    block = f'{{"type":"tool_use","name":"TodoWrite","input":{{"todos":[{one},{{"status":{other}}}]}}}}'
    text = (
        f'{{"type":{one},"cwd":{other},"isSidechain":{one},"message":{{"id":{one},"model":{other},'
        f'"usage":{{"input_tokens":{one},"output_tokens":{other}}},"content":[{one},{block},{other}]}}}}'
    ).encode()
    running = Running()
    running.add(rawjson.members(text), points_here=False)
    running.add(rawjson.members(b'{"message":' + one.encode() + b"}"), points_here=True)
    json.loads(running.state(text))
