"""The encoder of exports: the bytes of states survive every format."""

from __future__ import annotations

import csv
import io
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.wire.export import (
    COLUMNS,
    CSV_HEADER,
    MEDIA_TYPES,
    ExportRow,
    csv_line,
    csv_of_item,
    json_item,
    ndjson_line,
    ndjson_of_item,
    row_of_item,
)

ROW = ExportRow(
    124, "2026-11-20T12:00:00.001Z", "updated", "sess_a", '{"a": 1e2}', "2", "2026-11-20T12:00:00.000Z",
    None, None, bytes(32),
)  # fmt: skip

SPACE = st.text(" \t\r\n", max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def states(draw: st.DrawFn) -> str:
    """JSON text with white space, line breaks too, between its tokens."""
    value = draw(VALUES)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.integers(0, 2)))
    return draw(SPACE) + text.encode("utf-8", "replace").decode() + draw(SPACE)


@st.composite
def rows(draw: st.DrawFn) -> ExportRow:
    name = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
    return ROW._replace(
        seq=draw(st.integers(1, 2**62)),
        session_id=draw(name),
        before=draw(st.none() | states()),
        after=draw(st.none() | states()),
        delta_id=draw(st.none() | name),
        lineage=draw(st.sampled_from([None, "broken"])),
        hash=draw(st.none() | st.binary(min_size=32, max_size=32)),
        before_filled=draw(st.integers(0, 1)),
        id_digest=draw(st.none() | st.binary(min_size=32, max_size=32)),
    )


def test_a_row_is_the_fixed_columns_in_order() -> None:
    assert len(COLUMNS) + 2 == len(ExportRow._fields)  # the digests of erased states come from another table
    assert set(MEDIA_TYPES) == {"ndjson", "json", "csv"}


def test_an_ndjson_line_is_compact_and_leaves_out_what_is_null() -> None:
    assert ndjson_line(ROW) == (
        b'{"seq":124,"recordedAt":"2026-11-20T12:00:00.001Z","hash":"' + b"00" * 32 + b'","delta":'
        b'{"type":"updated","sessionId":"sess_a","before":{"a": 1e2},"after":2,'
        b'"timestamp":"2026-11-20T12:00:00.000Z"}}\n'
    )
    full = ROW._replace(before=None, after=None, delta_id='i"d', lineage="broken", hash=None, type="deleted")
    assert ndjson_line(full) == (
        b'{"seq":124,"recordedAt":"2026-11-20T12:00:00.001Z","lineage":"broken","delta":'
        b'{"type":"deleted","sessionId":"sess_a","timestamp":"2026-11-20T12:00:00.000Z","id":"i\\"d"}}\n'
    )
    marked = ndjson_line(full._replace(before_filled=1, id_digest=b"\xab" * 32))
    marks = b'"lineage":"broken","beforeFilled":true,"idDigest":"' + b"ab" * 32 + b'","delta"'
    assert marked == ndjson_line(full).replace(b'"lineage":"broken","delta"', marks)


def test_a_state_with_line_breaks_goes_into_one_line_and_its_true_text_behind_the_delta() -> None:
    line = ndjson_line(ROW._replace(before="{\r\n}", after="2", hash=None))
    assert line == (
        b'{"seq":124,"recordedAt":"2026-11-20T12:00:00.001Z","delta":{"type":"updated","sessionId":"sess_a",'
        b'"before":{  },"after":2,"timestamp":"2026-11-20T12:00:00.000Z"},"exact":{"before":"{\\r\\n}"}}\n'
    )


@given(rows())
def test_an_ndjson_line_is_one_line_from_which_every_byte_of_the_states_comes_back(row: ExportRow) -> None:
    line = ndjson_line(row)
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    value = json.loads(line)
    exact = value.get("exact", {})
    for name, state in (("before", row.before), ("after", row.after)):
        if state is None:
            assert name not in value["delta"]
            continue
        assert value["delta"][name] == json.loads(state)
        if name in exact:
            assert exact[name] == state
        else:
            assert f'"{name}":{state}'.encode() in line
    assert value["delta"]["sessionId"] == row.session_id


@given(rows())
def test_a_json_item_carries_the_states_as_they_are(row: ExportRow) -> None:
    item = json_item(row)
    assert json.loads(item)["seq"] == row.seq
    for state in (row.before, row.after):
        assert state is None or state.encode() in item


ERASED = ROW._replace(before=None, after=None, erased_before=b"\x0b" * 32, erased_after=b"\x0a" * 32)


@pytest.mark.parametrize(
    "row", [ERASED, ERASED._replace(erased_before=None), ERASED._replace(erased_after=None)]
)
def test_what_was_erased_is_told_by_its_digests_in_every_format(row: ExportRow) -> None:
    assert row_of_item(json_item(row)) == row
    said = json.loads(ndjson_line(row))
    digests = {"before": row.erased_before, "after": row.erased_after}
    assert said["erased"] == {name: value.hex() for name, value in digests.items() if value is not None}
    assert "before" not in said["delta"]
    (record,) = csv.DictReader(io.StringIO((CSV_HEADER + csv_of_item(json_item(row))).decode(), newline=""))
    assert [record["erasedBefore"], record["erasedAfter"]] == [
        value.hex() if value is not None else "" for value in digests.values()
    ]


@given(rows())
def test_a_csv_line_gives_back_every_column(row: ExportRow) -> None:
    text = (CSV_HEADER + csv_line(row, escape_formulas=False)).decode()
    (record,) = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    assert record["before"] == (row.before or "")
    assert record["after"] == (row.after or "")
    assert record["sessionId"] == row.session_id
    assert record["hash"] == ("" if row.hash is None else row.hash.hex())
    assert (int(record["seq"]), record["id"] or None) == (row.seq, row.delta_id)
    assert record["beforeFilled"] == ("true" if row.before_filled else "")
    assert record["idDigest"] == ("" if row.id_digest is None else row.id_digest.hex())


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\uff1d"])
def test_an_id_that_begins_like_a_formula_is_not_computed_by_a_spreadsheet(start: str) -> None:
    row = ROW._replace(session_id=f'{start}HYPERLINK("x")', delta_id=f"{start}1+1")
    for escapes, before in ((True, "'"), (False, "")):
        text = (CSV_HEADER + csv_line(row, escape_formulas=escapes)).decode()
        (record,) = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        assert record["sessionId"] == before + row.session_id
        assert record["id"] == f"{before}{row.delta_id}"


def test_the_line_is_what_orjson_would_make_of_a_compact_state() -> None:
    line = ndjson_line(ROW._replace(before='{"a":1}', hash=None))
    assert orjson.dumps(orjson.loads(line)) + b"\n" == line


def stripped(row: ExportRow) -> ExportRow:
    """White space at the ends of a state is not part of the value: it cannot be told from the item's own."""
    return row._replace(before=row.before and row.before.strip(), after=row.after and row.after.strip())


@given(rows().map(stripped))
def test_the_columns_come_back_out_of_an_item(row: ExportRow) -> None:
    assert row_of_item(json_item(row)) == row
    assert ndjson_of_item(json_item(row)) == ndjson_line(row)
    assert csv_of_item(json_item(row)) == csv_line(row)


@pytest.mark.parametrize(
    "state",
    ['"\\ud83d"', "[" * 5000 + "]" * 5000, '{"a":[1,{"}":"\\"]"}],"b":null}', "-1e5", "[ 1 , 2\n]", '""'],
)
def test_a_state_that_msgspec_refuses_comes_back_as_well(state: str) -> None:
    row = ROW._replace(before=state, after='"\\udead"')
    assert row_of_item(json_item(row)) == row


@pytest.mark.parametrize(
    "item", [b"", b"{", b"[]", b'{"seq":1}', b'{"seq":1,"delta":{}}', b'{"seq":1,"delta":["']
)
def test_what_is_not_an_entry_is_a_value_error(item: bytes) -> None:
    with pytest.raises(ValueError, match=r"not an entry|break"):
        row_of_item(item)
