"""The recorder's own export, read back: every state as it was, to the byte."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.bridges.imports import SourceDelta
from recorder.wire.export import ExportRow, ndjson_line
from tests.support.jsontexts import STATES
from tests.support.logs import deltas_of, only, read, refusal

AT = "2026-11-20T12:00:00.000Z"
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12)
DELTA = '{"type":"created","sessionId":"a","after":{"n": 1e2}}'


@st.composite
def rows(draw: st.DrawFn) -> ExportRow:
    kind = draw(st.sampled_from(["created", "updated", "deleted"]))
    before = None if kind == "created" else draw(st.none() | STATES)
    after = None if kind == "deleted" else draw(STATES)
    digest = draw(st.none() | st.binary(min_size=32, max_size=32))
    lineage = draw(st.sampled_from([None, "broken"]))
    return ExportRow(
        draw(st.integers(1, 2**60)), AT, kind, draw(NAMES), before, after, AT, draw(st.none() | NAMES), lineage, digest,
        draw(st.integers(0, 1)), draw(st.none() | st.binary(min_size=32, max_size=32)),
    )  # fmt: skip


@given(st.lists(rows(), max_size=4), st.integers(1, 200))
def test_what_was_exported_is_read_back_byte_for_byte(exported: list[ExportRow], chunk: int) -> None:
    text = b"".join([ndjson_line(row) for row in exported])
    assert text.count(b"\n") == len(exported)
    items = read("ndjson", text, chunk=chunk)
    assert [
        (delta.type, delta.session_id, delta.before, delta.after, delta.timestamp, delta.id)
        for delta in deltas_of(items)
    ] == [(row.type, row.session_id, row.before, row.after, row.timestamp, row.delta_id) for row in exported]
    assert [item.place for item in items if isinstance(item, SourceDelta)] == [
        f"log: line {number}" for number in range(1, len(exported) + 1)
    ]


def test_a_line_that_is_a_delta_by_itself_is_taken_as_it_stands() -> None:
    (item,) = read("ndjson", f"\n  {DELTA} \r\n")
    assert item == SourceDelta(DELTA.encode(), "log: line 2")


def test_what_an_entry_has_beside_its_delta_is_passed_over() -> None:
    entry = f'{{"seq":"?","new":[1],"recordedAt":null,"exact":null,"delta": {DELTA} }}'
    (item,) = read("ndjson", entry)
    assert item == SourceDelta(DELTA.encode(), "log: line 1")


def test_an_entry_whose_content_was_erased_cannot_be_imported_and_says_so() -> None:
    erased = '{"seq":1,"erased":{"after":"00"},"delta":{"type":"created","sessionId":"a"}}'
    assert "line 1: the content of this entry was erased" in refusal("ndjson", erased)


def test_a_bad_line_does_not_hide_the_ones_behind_it() -> None:
    items = read("ndjson", f"{DELTA}\nnonsense\n{DELTA}")
    assert [type(item).__name__ for item in items] == ["SourceDelta", "SourceError", "SourceDelta"]


def test_an_empty_file_has_no_deltas() -> None:
    assert read("ndjson", "") == read("ndjson", "\n \r\n\t\n") == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON: "),
        ("[1]", "an object is wanted, this is an array"),
        ("{}", "neither an exported entry (no 'delta') nor a delta (no 'type')"),
        ('{"delta":3}', "an object is wanted, this is a number"),
        ('{"delta":null}', "an object is wanted, this is null"),
        ('{"delta":{}}', "type: required"),
        ('{"type":"changed","sessionId":"a"}', "type: must be 'created', 'updated' or 'deleted', is 'changed'"),
        ('{"type":1,"sessionId":"a"}', "type: must be a string, is a number"),
        ('{"type":"created","sessionId":"","after":1}', "sessionId: must have 1 to 256 characters"),
        ('{"type":"created","sessionId":"a"}', "after: required for type 'created'"),
        ('{"type":"created","sessionId":"a","before":1,"after":1}', "before: must be absent for type 'created'"),
        ('{"type":"deleted","sessionId":"a","after":1}', "after: must be absent for type 'deleted'"),
        ('{"type":"created","sessionId":"a","after":1,"state":2}', "unknown field 'state'"),
        ('{"type":"created","sessionId":"a","after":1,"timestamp":"noon"}', "timestamp: not an RFC 3339 time"),
        ('{"type":"created","sessionId":"a","after":1,"id":""}', "id: must have 1 to 128 characters"),
        (b'{"type":"created","sessionId":"\xff","after":1}', "not UTF-8: byte 31"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_with_its_reason(line: str | bytes, said: str) -> None:
    assert refusal("ndjson", line).startswith(f"log: line 1: {said}")


def test_a_delta_that_is_too_large_is_named_with_the_setting() -> None:
    (error,) = read("ndjson", DELTA, max_delta_bytes=20)
    assert "53 bytes, at most 20 are allowed (MAX_DELTA_BYTES" in str(error)
    (error,) = read("ndjson", f"{DELTA}\n", max_line_bytes=20)
    assert "line 1: the line has more than 20 bytes" in str(error)


def exact(delta: str, **states: object) -> str:
    return f'{{"delta":{delta},"exact":{json.dumps(states)}}}'


def test_line_breaks_between_tokens_are_put_back() -> None:
    delta = '{"type":"updated","sessionId":"a","before":[ 1],"after":{  "n":1}}'
    found = only("ndjson", exact(delta, after='{\r\n"n":1}'))
    assert (found.before, found.after) == ("[ 1]", '{\r\n"n":1}')


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ({"after": '{"n": 1e3}'}, "exact.after: differs from delta.after in more than line breaks"),
        ({"after": '{"n":1e2}'}, "exact.after: differs"),
        ({"before": "1"}, "exact.before: differs"),
        ({"after": 3}, "exact.after: must be the text of a state, as a string"),
        ({"afterwards": "1"}, "exact.afterwards: must be the text"),
        ({"after": "\ud83d"}, "exact.after: has lone surrogates"),
    ],
)
def test_an_exact_text_that_does_not_fit_its_delta_is_refused(states: dict[str, object], said: str) -> None:
    assert refusal("ndjson", exact(DELTA, **states)).startswith(f"log: line 1: {said}")


def test_an_exact_text_may_not_break_a_line_inside_a_string() -> None:
    delta = '{"type":"created","sessionId":"a","after":"x y"}'
    assert "not JSON" in refusal("ndjson", exact(delta, after='"x\ny"'))


@pytest.mark.parametrize("wrong", ["3", "[1]", '"after"'])
def test_exact_texts_are_an_object(wrong: str) -> None:
    assert "an object is wanted" in refusal("ndjson", f'{{"delta":{DELTA},"exact":{wrong}}}')


def test_a_delta_may_itself_have_no_member_exact() -> None:
    bare = orjson.dumps({"type": "created", "sessionId": "a", "after": 1, "exact": {"after": "1"}})
    assert "unknown field 'exact'" in refusal("ndjson", bare)


def test_a_delta_without_an_id_is_identified_by_content_and_place() -> None:
    entry = f'{{"seq":%d,"recordedAt":"{AT}","delta":{DELTA}}}'
    texts = [f"{DELTA}\n{DELTA}\n", f"{entry % 1}\n{entry % 2}\n"]
    for text in texts:
        first, again = (
            [item for item in read("ndjson", text) if isinstance(item, SourceDelta)] for _ in range(2)
        )
        ids = [json.loads(item.identified())["id"] for item in first]
        assert ids == [json.loads(item.identified())["id"] for item in again]
        assert len(set(ids)) == 2
    grown = [item for item in read("ndjson", texts[1] + entry % 3) if isinstance(item, SourceDelta)]
    assert [item.identity for item in grown[:2]] == [item.identity for item in first]


def test_a_delta_with_an_id_keeps_it() -> None:
    text = '{"type":"deleted","sessionId":"s","id":"own"}'
    (item,) = read("ndjson", text)
    assert isinstance(item, SourceDelta)
    assert item.identified() == text.encode()
