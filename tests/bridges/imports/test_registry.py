"""The way in: which formats there are, what each takes, and that nothing but its own errors ever comes out."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.bridges.imports import FORMATS, SourceDelta, SourceItem, SourceKnown, open_source
from recorder.bridges.imports.records import Sessions, SourceOptions
from recorder.core.errors import SourceError
from tests.support.jsontexts import VALUES, arrays, objects
from tests.support.logs import delta_of, pieces, read_file

WORDS = st.sampled_from(
    [
        "type",
        "sessionId",
        "session_id",
        "before",
        "after",
        "timestamp",
        "id",
        "delta",
        "exact",
        "op",
        "c",
        "u",
        "d",
        "r",
        "t",
        "source",
        "db",
        "table",
        "name",
        "key",
        "payload",
        "schema",
        "event",
        "value",
        "filter",
        "ts_ms",
        "ts_us",
        "ts_sec",
        "pos",
        "lsn",
        "connector",
        "trajectory",
        "history",
        "attempts",
        "info",
        "exit_status",
        "submitted",
        "environment",
        "replay_config",
        "problem_statement",
        "state",
        "response",
        "thought",
        "action",
        "role",
        "user",
        "content",
        "text",
        "uuid",
        "leafUuid",
        "message",
        "usage",
        "input_tokens",
        "assistant",
        "summary",
        "isSidechain",
        "created",
        "updated",
        "deleted",
        "TodoWrite",
        "todos",
        "tool_use",
        "tool_result",
        "input",
        "status",
        "model",
        "1",
        "a",
        "topic",
        "_id",
    ]
)


@st.composite
def likely(draw: st.DrawFn) -> str:
    """Texts of values made of the words that formats know, at places where they mostly don't belong."""
    scalars = WORDS.map(json.dumps) | st.sampled_from(
        ["null", "true", "1", "1700000000000", "1e400", "{}", "[]", '"{}"']
    )
    return draw(
        st.recursive(
            scalars,
            lambda inner: (
                st.lists(inner, max_size=4).map(lambda found: f"[{','.join(found)}]")
                | st.lists(st.tuples(WORDS, inner), max_size=6).map(
                    lambda pairs: "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"
                )
                | inner.map(json.dumps)
            ),
            max_leaves=14,
        )
    )


def all_of(form: str, data: bytes, chunk: int, **options: Any) -> list[SourceItem]:
    """Everything a log gives; what makes it unusable from some place on as one error at the end."""
    items: list[SourceItem] = []
    try:
        items.extend(
            FORMATS[form].read(pieces(data, chunk), "some/log.jsonl", SourceOptions(**options), Sessions())
        )
    except SourceError as error:
        items.append(error)
    return items


def hold(form: str, data: bytes, chunk: int = 65_536, **options: Any) -> None:
    """Whatever it is: valid deltas, and errors that name the file."""
    for item in all_of(form, data, chunk, **options):
        if isinstance(item, SourceDelta):
            delta_of(item)
            assert item.place.startswith("some/log.jsonl: ")
        elif isinstance(item, SourceKnown):
            assert item.place.startswith("some/log.jsonl: ")
        else:
            assert item.place is not None
            assert item.place.startswith("some/log.jsonl")
            assert item.message.startswith(f"{item.place}: ")
            str(item).encode()


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=40)
@given(data=st.binary(max_size=200), chunk=st.integers(1, 60))
def test_any_bytes_give_deltas_or_errors_and_nothing_else(form: str, data: bytes, chunk: int) -> None:
    hold(form, data, chunk)


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=40)
@given(
    texts=st.lists(VALUES | objects(VALUES) | arrays(VALUES), max_size=3),
    between=st.sampled_from(["\n", " ", ""]),
)
def test_any_json_gives_deltas_or_errors_and_nothing_else(form: str, texts: list[str], between: str) -> None:
    hold(form, between.join(texts).encode())


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=40)
@given(texts=st.lists(likely(), min_size=1, max_size=4))
def test_json_made_of_known_words_gives_deltas_or_errors_and_nothing_else(
    form: str, texts: list[str]
) -> None:
    hold(form, "\n".join(texts).encode())
    hold(form, f"[{','.join(texts)}]".encode(), key=("id",) if form == "debezium" else ())


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=40)
@given(data=st.data())
def test_real_logs_with_damage_give_deltas_or_errors_and_nothing_else(
    form: str, data: st.DataObject, shared_data: Path
) -> None:
    names = {
        "ndjson": "claude_code/session_b.jsonl",
        "debezium": "debezium/events.json",
        "swe-agent": "swe_agent/session_1.traj",
        "claude-code": "claude_code/todowrite_examples.jsonl",
    }
    raw = bytearray((shared_data / names[form]).read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    hold(form, bytes(raw))


DEEP = (
    "[" * 100_000,
    '{"a":' * 100_000,
    "[" * 100_000 + "]" * 100_000,
    "[" * 3000 + "]" * 3000,
    "[" * 600 + "]" * 600,
    "[" * 499 + "]" * 499,
)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("inner", DEEP)
def test_deep_nesting_is_an_error_wherever_it_stands(form: str, inner: str) -> None:
    for text in (
        inner,
        f'{{"type":"created","sessionId":"s","after":{inner}}}',
        f'{{"delta":{{"type":"created","sessionId":"s","after":{inner}}}}}',
        f'{{"op":"c","after":{{"id":{inner}}},"source":{{"table":"t"}}}}',
        f'{{"op":"c","after":{{"id":1,"a":{inner}}},"source":{{"table":"t"}}}}',
        f'{{"trajectory":[{{"state":{inner}}}],"info":{inner}}}',
        f'{{"trajectory":[{{"state":{json.dumps(inner)}}}],"replay_config":{json.dumps(inner)}}}',
        f'{{"type":"user","sessionId":"s","message":{inner}}}',
    ):
        hold(form, text.encode())


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("number", ["1" * 6000, "-" + "9" * 6000, "1e999999", "0." + "1" * 6000])
def test_a_number_of_any_length_is_no_trouble(form: str, number: str) -> None:
    for text in (
        f'{{"type":"created","sessionId":"s","after":{number}}}',
        f'{{"op":"c","after":{{"id":{number}}},"source":{{"table":"t","ts_ms":{number}}}}}',
        f'{{"op":"c","after":{{"id":{{"a":{number}}}}},"source":{{"table":"t","ts_sec":{number}}}}}',
        f'{{"trajectory":[{{"state":{number}}}],"info":{{"exit_status":{number}}}}}',
        f'{{"type":"user","sessionId":"s","timestamp":{number},"message":{{"usage":{{"input_tokens":{number}}}}}}}',
    ):
        hold(form, text.encode())


def test_there_is_no_other_format() -> None:
    with pytest.raises(
        SourceError, match=r"no format 'csv' \(there are ndjson, debezium, swe-agent, claude-code\)"
    ):
        open_source("csv", "log")


@pytest.mark.parametrize(
    ("form", "options", "name"),
    [
        ("ndjson", {"session": "s"}, "session"),
        ("debezium", {"session": "s"}, "session"),
        ("swe-agent", {"key": ("id",)}, "key"),
        ("claude-code", {"key": ("id",)}, "key"),
    ],
)
def test_an_option_that_a_format_has_no_use_for_is_refused_at_once(
    form: str, options: dict[str, Any], name: str
) -> None:
    with pytest.raises(
        SourceError, match=rf"^{name}: the format {form} has no use for it \(leave out --{name}\)"
    ):
        open_source(form, "log", options=SourceOptions(**options))


def test_formats_are_described() -> None:
    assert all(kind.description for kind in FORMATS.values())


def test_a_packed_log_gives_what_the_log_gives(tmp_path: Path, shared_data: Path) -> None:
    for form, name in (
        ("claude-code", "claude_code/session_b.jsonl"),
        ("swe-agent", "swe_agent/session_1.traj"),
        ("debezium", "debezium/events.json"),
    ):
        plain = shared_data / name
        packed = tmp_path / f"{plain.name}.gz"
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        found = [item.text for item in read_file(form, packed) if isinstance(item, SourceDelta)]
        assert found == [item.text for item in read_file(form, plain) if isinstance(item, SourceDelta)] != []


def test_a_log_may_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b'{"type":"deleted","sessionId":"s"}\n?\n')

    monkeypatch.setattr(sys, "stdin", Stdin)
    delta, error = open_source("ndjson", "-")
    assert isinstance(delta, SourceDelta)
    assert delta.place == "<stdin>: line 1"
    assert isinstance(error, SourceError)
    assert error.place == "<stdin>: line 2"


def test_a_file_that_cannot_be_read_is_an_error_while_reading() -> None:
    items = open_source("ndjson", "none")
    with pytest.raises(SourceError, match=r"^none: cannot be read: "):
        next(items)
