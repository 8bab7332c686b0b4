"""A coding assistant's session logs: every record a delta of its session, with the record itself in the state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.bridges.imports import claude_code
from recorder.bridges.imports.records import Sessions, SourceOptions
from tests.support.jsontexts import VALUES
from tests.support.logs import deltas_of, errors_of, only, read, read_file, refusal

FILES = ["edge_cases", "representative_messages", "session_b", "todowrite_examples"]


def record(session: str | None = "s", kind: str = "user", **more: Any) -> str:
    return json.dumps({"type": kind, "sessionId": session} | more)


def log(*records: str) -> str:
    return "\n".join(records)


def sessions(items: list[Any]) -> list[tuple[str, str]]:
    return [(delta.type, delta.session_id) for delta in deltas_of(items)]


def states(items: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(delta.after or "null") for delta in deltas_of(items)]


@pytest.mark.parametrize("name", FILES)
def test_real_records_are_kept_byte_for_byte(name: str, shared_data: Path) -> None:
    path = shared_data / "claude_code" / f"{name}.jsonl"
    lines = path.read_bytes().splitlines()
    items = read_file("claude-code", path)
    assert [item.place for item in items] == [f"{path}: line {n}" for n in range(1, len(lines) + 1)]
    good = [line for line in lines if line.startswith(b"{") and line != b'{"silly": "this"}']
    deltas = deltas_of(items)
    assert len(deltas) == len(good)
    for line, delta in zip(good, deltas, strict=True):
        assert delta.after is not None
        assert delta.after.endswith(f',"record":{line.strip().decode()}}}')
        assert delta.before is None
        assert delta.session_id == json.loads(line).get("sessionId", delta.session_id)


def test_lines_of_a_real_log_that_are_no_records_are_named(shared_data: Path) -> None:
    path = shared_data / "claude_code" / "edge_cases.jsonl"
    assert errors_of(read_file("claude-code", path)) == [
        f"{path}: line 13: an object is wanted, this is a string",
        f"{path}: line 14: no record of a session log: neither a session nor anything else that such a log has",
        f"{path}: line 15: an object is wanted, this is a number",
        f"{path}: line 16: an object is wanted, this is an array",
    ]


def test_two_real_records_with_one_uuid_are_both_kept(shared_data: Path) -> None:
    items = read_file("claude-code", shared_data / "claude_code" / "edge_cases.jsonl")
    twice = [delta for delta in deltas_of(items) if '"uuid": "edge_011"' in (delta.after or "")]
    assert len(twice) == len({delta.id for delta in twice}) == 2


def test_a_real_plan_is_followed_to_its_end(shared_data: Path) -> None:
    items = read_file("claude-code", shared_data / "claude_code" / "todowrite_examples.jsonl")
    told = states(items)
    assert sessions(items) == [("created", "todowrite_session")] + [("updated", "todowrite_session")] * (
        len(told) - 1
    )
    plans = [state["planStatus"] for state in told if "planStatus" in state]
    assert plans[0] == "pending"
    assert plans[-1] == "in_progress"
    assert [todo["status"] for todo in told[-1]["todos"]].count("completed") == 2
    assert [state["records"] for state in told] == list(range(1, len(told) + 1))
    assert told[-1]["title"] == "Feature Implementation with Task Management"
    used = [state["usage"]["output_tokens"] for state in told]
    assert used == sorted(used)
    assert used[-1] == sum(
        state["record"]["message"]["usage"]["output_tokens"]
        for state in told
        if "usage" in state["record"].get("message", {})
    )


@settings(max_examples=50)
@given(st.lists(VALUES, min_size=1, max_size=3), st.integers(1, 50))
def test_any_record_is_kept_byte_for_byte(values: list[str], chunk: int) -> None:
    lines = [
        f'{{"sessionId":"s","message":{value}, "usage" : {value}}}'.replace("\n", " ") for value in values
    ]
    items = read("claude-code", log(*lines), chunk=chunk)
    assert errors_of(items) == []
    assert [(delta.after or "").partition(',"record":')[2] for delta in deltas_of(items)] == [
        f"{line}}}" for line in lines
    ]


def test_a_record_belongs_to_the_session_it_names() -> None:
    items = read("claude-code", log(record("a"), record("b"), record("a"), '{"session_id":"b","type":"x"}'))
    assert sessions(items) == [("created", "a"), ("created", "b"), ("updated", "a"), ("updated", "b")]


def test_one_that_names_none_belongs_to_the_session_it_points_at() -> None:
    pointers = [
        record(None, "summary", leafUuid="1"),
        record(None, "snapshot", messageId="1"),
        record(None, "user", parentUuid="1"),
        record(None, "user", parentUuid="unknown"),
    ]
    items = read("claude-code", log(record("a", uuid="1"), record("b", uuid="2"), *pointers[:1]))
    assert sessions(items)[-1] == ("updated", "a")
    for pointer in pointers[:3]:
        items = read("claude-code", log(record("a", uuid="1"), record("b", uuid="2"), pointer))
        assert sessions(items)[-1] == ("updated", "a")
    items = read("claude-code", log(record("a", uuid="1"), record("b", uuid="2"), pointers[3]))
    assert sessions(items)[-1] == ("updated", "b")


def test_at_the_head_of_a_file_it_waits_for_the_first_that_is_named() -> None:
    items = read(
        "claude-code",
        log(record(None, "summary"), "nonsense", record(None, "x"), record("a")),
        name="f.jsonl",
    )
    assert sessions(items) == [("created", "a"), ("updated", "a"), ("updated", "a")]
    assert [item.place.rpartition(" ")[2] for item in items if item.place] == ["2", "1", "3", "4"]


@pytest.mark.parametrize("name", ["dir/abc.jsonl", "abc.jsonl.gz", "abc"])
def test_a_file_that_names_no_session_is_one_itself(name: str) -> None:
    items = read("claude-code", log(record(None, "summary"), record(None, "x")), name=name)
    assert sessions(items) == [("created", "abc"), ("updated", "abc")]
    assert sessions(read("claude-code", record(None), name=name, session="given")) == [("created", "given")]


@pytest.mark.parametrize("name", ["<stdin>", "x" * 300])
def test_a_record_of_no_session_is_refused(name: str) -> None:
    (error,) = read("claude-code", record(None), name=name)
    assert str(error).endswith("names no session, nor does any record before it (name one with --session)")


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claude_code, "_MAX_WAITING_BYTES", 50)
    items = read("claude-code", log(*[record(None, "x" * 20)] * 3, record("a")), name="f.jsonl")
    assert [session for _, session in sessions(items)] == ["f", "f", "f", "a"]


def test_what_is_known_of_records_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claude_code, "_MAX_OWNERS", 1)
    first, second, pointing = record("a", uuid="1"), record("b", uuid="2"), record(None, parentUuid="1")
    assert sessions(read("claude-code", log(first, second, pointing)))[-1] == ("updated", "b")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON: "),
        ("3", "an object is wanted, this is a number"),
        ('{"silly":"this"}', "no record of a session log: neither a session nor anything else"),
        ('{"type":"log","message":"x"}', "no record of a session log: neither a session nor anything else"),
        (
            '{"type":"created","sessionId":"s","after":{}}',
            "no record of a session log: this looks like the recorder's own export ('sessionId' and type 'created')",
        ),
        (
            '{"type":"RUN_STARTED","threadId":"t","runId":"r"}',
            "no record of a session log: this looks like an AG-UI event (type RUN_STARTED)",
        ),
        (
            '{"op":"c","after":{},"source":{}}',
            "no record of a session log: this looks like a change event of a database ('op' with the row's states)",
        ),
        ('{"sessionId":""}', 'sessionId: names no session: ""'),
        ('{"sessionId":3}', "sessionId: names no session: 3"),
        ('{"session_id":"a\\u0000"}', "session_id: names no session"),
        (b'{"type":"\xff"}', "not UTF-8: byte 9"),
    ],
)
def test_a_line_that_is_no_record_is_an_error(line: str | bytes, said: str) -> None:
    assert refusal("claude-code", line).startswith(f"log: line 1: {said}")


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ('"2025-06-14T10:00:00.123Z"', "2025-06-14T10:00:00.123Z"),
        ('"2025-06-14T12:00:00+02:00"', "2025-06-14T10:00:00.000Z"),
        ('"2025-06-14T10:00:00"', "2025-06-14T10:00:00.000Z"),
        ("1749895200123", "2025-06-14T10:00:00.123Z"),
        ('"yesterday"', None),
        ("null", None),
        ("-1", None),
        ("1e3", None),
        ("999999999999999", None),
        ("9999999999999999", None),
        ("{}", None),
    ],
)
def test_the_time_is_the_records(timestamp: str, expected: str | None) -> None:
    delta = only("claude-code", f'{{"sessionId":"s","timestamp":{timestamp}}}')
    assert delta.timestamp == expected


def test_a_log_that_has_grown_gives_the_same_ids_for_what_was_there() -> None:
    lines = [record("a", uuid=str(n)) for n in range(4)]
    before, after = (deltas_of(read("claude-code", log(*lines[:count]))) for count in (2, 4))
    assert before == after[:2]
    assert len({delta.id for delta in after}) == 4


def test_a_record_that_is_too_large_is_refused_and_the_next_creates_the_session() -> None:
    large = record("a", content="x" * 3000)
    items = read("claude-code", log(large, record("a")), max_delta_bytes=1000)
    assert sessions(items) == [("created", "a")]
    (error,) = items[:1]
    assert "at most 1000 are allowed (MAX_DELTA_BYTES" in str(error)


def test_a_line_that_is_too_long_is_refused_and_the_next_is_read() -> None:
    items = read("claude-code", log(record("a", content="x" * 100), record("a")), max_line_bytes=80)
    assert errors_of(items) == ["log: line 1: the line has more than 80 bytes"]
    assert sessions(items) == [("created", "a")]


SUB = {"isSidechain": True, "agentId": "7"}


def used(name: str, count: int, **more: Any) -> dict[str, Any]:
    return {"message": {"id": name, "usage": {"output_tokens": count}, "content": [], **more}}


def test_a_subagent_is_a_session_of_its_own() -> None:
    sub = record("a", "assistant", uuid="v", **SUB, **used("m", 5, model="small"))
    main = record("a", "assistant", uuid="u", **used("n", 2, model="large"))
    items = read("claude-code", log(main, sub, record("a", uuid="w")))
    assert sessions(items) == [("created", "a"), ("created", "a/7"), ("updated", "a")]
    told = states(items)
    assert [state["model"] for state in told] == ["large", "small", "large"]
    assert [state["usage"]["output_tokens"] for state in told] == [2, 5, 2]


def test_a_side_chain_without_an_agents_name_is_named_by_its_first_record() -> None:
    items = read(
        "claude-code",
        log(
            record("a", uuid="u"),
            record("a", uuid="v", parentUuid="u", isSidechain=True),
            record("a", uuid="w", parentUuid="v", isSidechain=True),
            record("a", uuid="x", isSidechain=True),
        ),
    )
    assert [session for _, session in sessions(items)] == ["a", "a/v", "a/v", "a/x"]


def recorded(items: list[Any]) -> Sessions:
    """What a recorder would say of sessions that have been imported."""
    deltas = deltas_of(items)
    return Sessions(
        lambda session: [
            (delta.id, None if delta.after is None else delta.after.encode())
            for delta in deltas
            if delta.session_id == session
        ]
    )


def test_a_session_that_is_recorded_goes_on_and_what_is_known_is_not_sent_again() -> None:
    plan = {
        "type": "tool_use",
        "name": "TodoWrite",
        "input": {"todos": [{"content": "x", "status": "pending"}]},
    }
    first = [
        record("a", "user", uuid="1", cwd="/w"),
        record("a", "assistant", uuid="2", **used("m", 5, model="large", content=[plan])),
        record(None, "summary", summary="T", leafUuid="2"),
    ]
    later = record("a", "assistant", uuid="3", **used("m", 8))
    known = recorded(read("claude-code", log(*first)))
    items = list(claude_code.deltas(iter([log(*first, later).encode()]), "log", SourceOptions(), known))
    assert [type(item).__name__ for item in items] == ["SourceKnown"] * 3 + ["SourceDelta"]
    (state,) = states(items)
    (whole,) = states(read("claude-code", log(*first, later)))[-1:]
    assert state == whole
    assert (state["usage"]["output_tokens"], state["model"], state["title"]) == (8, "large", "T")
    assert sessions(items) == [("updated", "a")]


def test_a_later_part_of_a_log_alone_goes_on_from_what_is_recorded() -> None:
    first, later = record("a", uuid="1", cwd="/w"), record("a", uuid="2")
    known = recorded(read("claude-code", first))
    items = list(claude_code.deltas(iter([later.encode()]), "other", SourceOptions(), known))
    (state,) = states(items)
    assert (state["records"], state["cwd"]) == (2, "/w")


def test_what_an_earlier_version_recorded_is_known() -> None:
    line = record("a", uuid="1")
    known = Sessions(lambda session: [("claude-code:0123", b'{"records":1,"record":%s}' % line.encode())])
    (item,) = claude_code.deltas(iter([line.encode()]), "log", SourceOptions(), known)
    assert type(item).__name__ == "SourceKnown"


def test_a_record_without_a_time_has_its_neighbours() -> None:
    items = read(
        "claude-code",
        log(
            record(None, "summary", leafUuid="0"),
            record("a", timestamp="2025-06-14T10:00:00Z"),
            record("a", "x"),
            record(
                None, "file-history-snapshot", messageId="m", snapshot={"timestamp": "2025-06-14T11:00:00Z"}
            ),
            record("a", "y"),
        ),
    )
    times = [delta.timestamp for delta in deltas_of(items)]
    assert [time[11:13] for time in times if time] == ["10", "10", "10", "11", "11"]
