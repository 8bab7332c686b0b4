"""Change events of databases, in every wrapping they come in: each change of a row one delta, states as they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from recorder.bridges.imports import SourceDelta, SourceOptions, debezium
from recorder.bridges.imports.records import Sessions
from tests.support.jsontexts import STATES, VALUES, objects
from tests.support.logs import deltas_of, errors_of, only, read, read_file, refusal

ROW = '{"id": 7, "n":1e2}'
SOURCE = '{"connector":"postgresql","name":"pg","db":"shop","schema":"public","table":"orders","ts_ms":1700000000123}'
SESSION = "pg/shop.public.orders/7"


def event(op: str = "c", *, before: str | None = None, after: str | None = ROW, **more: Any) -> str:
    """An event with texts as its states."""
    members = {"op": json.dumps(op), "before": before, "after": after, "source": SOURCE} | more
    return "{" + ",".join(f'"{name}":{text}' for name, text in members.items() if text is not None) + "}"


@pytest.mark.parametrize(
    ("op", "before", "after", "kind"),
    [
        ("c", None, ROW, "created"),
        ("c", "null", ROW, "created"),
        ("r", None, ROW, "created"),
        ("u", '{"id":7,"n": 0}', ROW, "updated"),
        ("u", None, ROW, "updated"),
        ("d", ROW, "null", "deleted"),
        ("d", ROW, None, "deleted"),
    ],
)
def test_an_operation_becomes_a_delta_of_its_kind(
    op: str, before: str | None, after: str | None, kind: str
) -> None:
    delta = only("debezium", event(op, before=before, after=after))
    assert (delta.type, delta.session_id, delta.timestamp) == (kind, SESSION, "2023-11-14T22:13:20.123Z")
    assert (delta.before, delta.after) == tuple(None if text == "null" else text for text in (before, after))


@settings(max_examples=60)
@given(objects(VALUES), STATES)
def test_states_are_kept_byte_for_byte(before: str, after: str) -> None:
    text = event("u", before=before, after=after, key='{"id":7}')
    delta = only("debezium", f"[{text}]")
    assert (delta.before, delta.after, delta.session_id) == (before, after, SESSION)


WRAPPINGS = [
    "{}",
    '{{"schema":{{"name":"x.Envelope"}},"payload":{}}}',
    '{{"source_file":"a","event":{}}}',
    '{{"event":{{"schema":null,"payload":{}}}}}',
    '{{"topic":"t","partition":0,"key":{{"id":7}},"value":{{"payload":{}}}}}',
]


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("quoted", [False, True])
def test_an_event_is_found_in_what_a_consumer_wrapped_around_it(wrapping: str, quoted: bool) -> None:
    text = wrapping.format(event())
    delta = only("debezium", json.dumps(text) if quoted else text, name="a.jsonl")
    assert (delta.type, delta.session_id, delta.after) == ("created", SESSION, ROW)


@pytest.mark.parametrize(
    ("data", "places"),
    [
        (f"[{event()}, {event()}]", ["record 1", "record 2"]),
        (f"\n {event()}\n\n{event()}\n", ["line 2", "line 4"]),
        (event(), ["line 1"]),
        (json.dumps(json.loads(event()), indent=1), ["record 1"]),
        (f"{json.dumps(json.loads(event()), indent=1)}\n{event()}", ["record 1", "record 2"]),
        (f"{event()} \n", ["line 1"]),
        ("[]", []),
        ("", []),
        ("  \n ", []),
    ],
)
def test_a_file_may_have_any_of_its_shapes(data: str, places: list[str]) -> None:
    for chunk in (7, 65_536):
        items = read("debezium", data, chunk=chunk)
        assert len(deltas_of(items)) == len(items)
        assert [item.place for item in items] == [f"log: {place}" for place in places]


def test_a_tombstone_says_nothing_new_and_is_passed_over() -> None:
    delete = event("d", before=ROW, after="null")
    assert [delta.type for delta in deltas_of(read("debezium", f"{delete}\nnull\n"))] == ["deleted"]
    assert read("debezium", '[null,{"key":{"id":7},"value":null},{"payload":null}]') == []
    assert read("debezium", "null\nnull") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (event("t"), "op 't': a truncation empties a whole table, and names no row"),
        (event("m"), "op 'm': a message of the logical decoding stream"),
        (event("x"), 'op: must be c, r, u or d, is "x"'),
        (event().replace('"op":"c"', '"op":1'), "op: must be c, r, u or d, is 1"),
        ('{"status":"END","id":"571:53195829"}', "no 'op', so no change of a row; it has status, id"),
        ("{}", "no 'op', so no change of a row; it has nothing"),
        ('{"payload":3}', "an object is wanted, this is a number"),
        ('{"payload":"hello"}', "not JSON: "),
        ('{"payload":"\\ud83d"}', "a string that is no JSON text of an event"),
        ('{"event":' * 9 + "1" + "}" * 9, "wrapped more than 8 times"),
        (event(source=None), "neither 'source' nor a topic says which table this is"),
        (event(source='{"db":"shop"}', after=None), "neither a key nor a row says which row this is"),
        (event(after=None, key='{"id":7}'), "after: required for type 'created'"),
        (event("d", after=ROW), "after: must be absent for type 'deleted'"),
        (event("c", before=ROW), "before: must be absent for type 'created'"),
        (event(source="3"), "an object is wanted, this is a number"),
        (event(source=SOURCE.replace("1700000000123", "9" * 29)), "99999999999999999999999999999 is no time"),
    ],
)  # fmt: skip
def test_what_is_no_change_of_one_row_is_an_error(text: str, said: str) -> None:
    assert refusal("debezium", f"[{text}]").startswith(f"log: record 1: {said}")


def test_a_record_that_is_refused_does_not_hide_the_next() -> None:
    items = read("debezium", f"{event('t')}\n{{\n{event()}", name="a.jsonl")
    assert [item.place for item in items] == ["a.jsonl: line 1", "a.jsonl: line 2", "a.jsonl: line 3"]
    assert (len(errors_of(items)), len(deltas_of(items))) == (2, 1)


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (f"[{event()},nonsense,{event()}]", "record 2"),
        (f"[{event()}", "record 2"),
        (f"[{event()}]]", "record 2"),
        ("{\n}\n[\n", "record 2"),
        (b'["\xff"]', None),
        (b"{\n\xff", None),
    ],
)
def test_a_file_that_breaks_off_gives_what_comes_before_and_then_an_error(
    data: str | bytes, place: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "events"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    *before, error = read_file("debezium", path)
    assert len(before) == (0 if place is None else 1)
    (message,) = errors_of([error])
    assert message.startswith(f"{path}: {place}: " if place else f"{path}: not UTF-8: byte 2")


def test_bounds_are_named(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_text(f"[{event()}]")
    (error,) = errors_of(read_file("debezium", path, max_file_bytes=50))
    assert error.startswith(f"{path}: larger than 50 bytes")
    (error,) = errors_of(read_file("debezium", path, max_delta_bytes=50))
    assert "at most 50 are allowed" in error
    path.write_text(f'{{\n"a":\n{"x" * 60}\n}}')
    (error,) = errors_of(read_file("debezium", path, max_line_bytes=50))
    assert error == f"{path}: line 3: the line has more than 50 bytes"
    path.write_text(f"{event()}\n{event()}")
    assert len(errors_of(read_file("debezium", path, max_line_bytes=50))) == 2


@pytest.mark.parametrize(
    ("source", "more", "expected"),
    [
        ('{"table":"t","ts_ms":1700000000123}', {"ts_ms": "1"}, "2023-11-14T22:13:20.123Z"),
        ('{"table":"t","ts_ms":1700000000123456}', {}, "2023-11-14T22:13:20.123Z"),
        ('{"table":"t","ts_ms":1700000000123456789}', {}, "2023-11-14T22:13:20.123Z"),
        ('{"table":"t","ts_ms":"1700000000123"}', {}, "2023-11-14T22:13:20.123Z"),
        ('{"table":"t","ts_us":1700000000123456}', {"ts_ms": "1"}, "2023-11-14T22:13:20.123Z"),
        ('{"table":"t","ts_ns":1700000000123456789}', {}, "2023-11-14T22:13:20.123Z"),
        ('{"table":"t","ts_ms":0,"ts_sec":1700000000}', {"ts_ms": "1"}, "2023-11-14T22:13:20.000Z"),
        ('{"table":"t","ts_ms":0,"ts_sec":0}', {"ts_ms": "1700000000123"}, "2023-11-14T22:13:20.123Z"),
        ('{"table":"t","ts_ms":null}', {"ts_ns": "1700000000123456789"}, "2023-11-14T22:13:20.123Z"),
        ('{"table":"t","ts_ms":"now"}', {"ts_ms": "-5"}, None),
        ('{"table":"t"}', {}, None),
    ],
)
def test_the_time_is_when_the_database_made_the_change(
    source: str, more: dict[str, str], expected: str | None
) -> None:
    assert only("debezium", event(source=source, **more)).timestamp == expected


def test_an_event_delivered_twice_has_one_id_and_another_has_another() -> None:
    at = SOURCE.replace("}", ',"lsn":%d}')
    ids = [
        only("debezium", text).id
        for text in (
            event(source=at % 1),
            event(source=at % 1, ts_ms="5"),
            event(source=at % 2),
            event(source=at % 1, after=ROW.replace("1e2", "2")),
            event("r", source=at % 1, after=ROW),
            event("u", source=at % 1, after=ROW),
        )
    ]
    assert None not in ids
    assert ids[0] == ids[1] == ids[4]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    "text",
    [
        event(),
        event(source=SOURCE.replace("}", ',"lsn":null}')),
        event(source=None, topic='"shop.orders"'),
        event(source=None, topic='"shop.orders"', ts_ms="1700000000123"),
    ],
)
def test_an_event_without_a_position_is_known_by_its_place_or_time(text: str) -> None:
    other = event("u", after='{"id":7}')
    first, again = (deltas_of(read("debezium", f"{text}\n{other}")) for _ in range(2))
    assert first == again
    assert len({delta.id for delta in first}) == 2
    assert None not in {delta.id for delta in first}


def test_a_row_that_lives_is_not_created_again() -> None:
    rows = [
        event("r"),
        event("r", after='{"id":7,"n":2}'),
        event("d", before='{"id":7}', after="null"),
        event("c"),
    ]
    items = read("debezium", "\n".join(rows))
    assert [delta.type for delta in deltas_of(items)] == ["created", "updated", "deleted", "created"]


def test_a_row_that_is_recorded_is_updated_and_its_known_events_are_not_sent_again() -> None:
    (first,) = deltas_of(read("debezium", event("r")))
    assert first.after is not None
    sessions = Sessions(lambda session: [(first.id, first.after.encode())] if session == SESSION else [])
    later = event("r", after='{"id":7,"n":2}')
    items = list(debezium.deltas(iter([f"{event('r')}\n{later}".encode()]), "log", SourceOptions(), sessions))
    assert [type(item).__name__ for item in items] == ["SourceKnown", "SourceDelta"]
    assert [delta.type for delta in deltas_of(items)] == ["updated"]


@pytest.mark.parametrize("name", ["x.jsonl", "x.log", "<stdin>"])
@pytest.mark.parametrize("bad", ["nonsense", '{"op":"c","af', "3", '{"op":}'])
def test_a_bad_first_line_does_not_hide_the_ones_behind_it(name: str, bad: str) -> None:
    items = read("debezium", f"{bad}\n{event()}\n", name=name)
    assert [type(item).__name__ for item in items] == ["SourceError", "SourceDelta"]
    assert items[0].place == f"{name}: line 1"


def test_a_document_of_mongodb_is_the_string_that_it_was_written_as() -> None:
    document = json.dumps('{"_id": {"$oid": "65a"}, "n": 1.0}')
    delta = only("debezium", event(source='{"db":"shop","collection":"carts"}', after=document))
    assert (delta.after, delta.session_id) == (document, 'shop.carts/{"$oid":"65a"}')


def test_a_delete_of_cassandra_names_its_row_in_after_and_has_no_state() -> None:
    after = '{"id":{"value":7,"deletion_ts":1562202972545,"set":true},"name":null}'
    source = '{"connector":"cassandra","cluster":"c","keyspace":"shop","table":"orders"}'
    delta = only("debezium", event("d", after=after, source=source))
    assert (delta.type, delta.session_id, delta.after) == ("deleted", "c/shop.orders/7", None)


def test_the_table_may_stand_in_the_topic_or_in_the_schemas_name() -> None:
    bare = event(source=None)
    for text in (
        f'{{"topic":"srv.shop.orders","value":{bare}}}',
        f'{{"schema":{{"name":"srv.shop.orders.Envelope"}},"payload":{bare}}}',
    ):
        assert only("debezium", f"[{text}]").session_id == "srv.shop.orders/7"
    for schema in ('{"name":"srv.shop.orders"}', "null", "3", "{}"):
        assert "which table" in refusal("debezium", f'[{{"schema":{schema},"payload":{bare}}}]')


def test_the_real_events_come_through_with_their_states_as_they_stand(shared_data: Path) -> None:
    path = shared_data / "debezium" / "events.json"
    raw = path.read_bytes()
    items = read_file("debezium", path)
    events = [entry["event"].get("payload", entry["event"]) for entry in json.loads(raw)]
    deltas = deltas_of(items)
    assert errors_of(items) == []
    assert [item.place for item in items] == [f"{path}: record {n}" for n in range(1, len(events) + 1)]
    kinds = {"c": "created", "r": "created", "u": "updated", "d": "deleted"}
    lives: set[str] = set()
    for delta, found in zip(deltas, events, strict=True):
        is_again = delta.session_id in lives and kinds[found["op"]] == "created"
        assert delta.type == ("updated" if is_again else kinds[found["op"]])
        lives.add(delta.session_id)
    for delta, found in zip(deltas, events, strict=True):
        expected = None if found["op"] == "d" else found["after"]
        assert (delta.after and json.loads(delta.after)) == expected
        assert delta.after is None or delta.after.encode() in raw
        assert delta.before is None
        assert delta.timestamp is not None
    with_position = [delta.id for delta in deltas if delta.id is not None]
    assert len(set(with_position)) == len(with_position) >= 12


def test_the_same_file_as_lines_gives_the_same_deltas(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "debezium" / "events.json"
    lines = tmp_path / "events.jsonl"
    lines.write_text("".join(json.dumps(entry) + "\n" for entry in json.loads(path.read_bytes())))
    one, other = (deltas_of(read_file("debezium", found)) for found in (path, lines))
    assert [(delta.type, delta.session_id, delta.timestamp) for delta in one] == [
        (delta.type, delta.session_id, delta.timestamp) for delta in other
    ]


def test_a_delta_is_ready_to_be_published_as_it_is() -> None:
    (item,) = read("debezium", event("u", before='{"id":7}'))
    assert isinstance(item, SourceDelta)
    assert item.identity is not None
    assert item.text == (
        b'{"type":"updated","sessionId":"pg/shop.public.orders/7","before":{"id":7},"after":{"id": 7, "n":1e2},'
        b'"timestamp":"2023-11-14T22:13:20.123Z","id":"%s"}' % item.identity.encode()
    )
