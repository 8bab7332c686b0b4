"""Query parameters and cursors: what is taken, what is refused, and in what words."""

from __future__ import annotations

import base64
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from recorder.api import params
from recorder.api.params import MAX_SEQ, DeltasCursor, SessionsCursor, decode_cursor, encode_cursor
from recorder.core.errors import InvalidCursor, InvalidQuery

EPOCH = "01KAGJ5FG0"


def page(query: str, session_id: str | None = None, epoch: str = EPOCH) -> params.Page:
    return params.parse_page(QueryParams(query), epoch, session_id)


@pytest.mark.parametrize("text", ["1", "100", "1000", "007"])
def test_a_limit_from_1_to_1000_is_taken(text: str) -> None:
    assert params.parse_limit([text]) == int(text)


@pytest.mark.parametrize(
    "text", ["0", "-1", "1001", "1e2", "1.0", "", " 5", "5 ", "+5", "٣", "²", "null", "all", "9" * 5000]
)
def test_any_other_limit_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery, match=r"limit: .* is not a number from 1 to 1000") as caught:
        params.parse_limit([text])
    assert caught.value.place == "limit"


def test_without_a_limit_it_is_100() -> None:
    assert page("").limit == 100


@pytest.mark.parametrize("query", ["session=", "session=a&session="])
def test_an_empty_session_id_is_refused(query: str) -> None:
    with pytest.raises(InvalidQuery, match="session"):
        page(query)


def test_an_empty_session_id_in_a_path_is_refused() -> None:
    with pytest.raises(InvalidQuery, match="session"):
        page("", "")
    with pytest.raises(InvalidQuery, match="session"):
        params.check_session_id("")


@pytest.mark.parametrize("session_id", ["x" * 257, "\n", "\x7f"])
def test_a_session_id_that_there_cannot_be_is_refused(session_id: str) -> None:
    with pytest.raises(InvalidQuery):
        params.check_session_id(session_id)


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("sesion=a", "sesion"),
        ("Session=a", "Session"),
        ("limit=1&limit=1", "limit"),
        ("after=1&after=2", "after"),
        ("order=asc&order=asc", "order"),
        ("order=ASC", "order"),
        ("order=", "order"),
        ("type=created&type=create", "type"),
        ("type=", "type"),
        ("lineage=whole", "lineage"),
        ("after=-1", "after"),
        ("after=1.5", "after"),
        ("after=", "after"),
        ("before=9223372036854775808", "before"),
        ("before=01KAGJ5FG0:3", "before"),
        ("since=yesterday", "since"),
        ("since=2026-11-20", "since"),
        ("since=2026-11-20T12:00:00", "since"),
        ("until=2026-02-30T12:00:00Z", "until"),
        ("happenedSince=1", "happenedSince"),
        ("happenedUntil=", "happenedUntil"),
    ],
)
def test_what_is_unknown_repeated_or_malformed_is_refused_by_name(query: str, place: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        page(query)
    assert caught.value.place == place
    assert place in caught.value.message


def test_a_path_names_the_session_so_the_query_may_not() -> None:
    with pytest.raises(InvalidQuery, match="unknown parameter 'session'"):
        page("session=b", "a")


def test_too_many_sessions_are_refused() -> None:
    page("&".join(f"session={number}" for number in range(1000)))
    with pytest.raises(InvalidQuery, match="at most 1000"):
        page("&".join(f"session={number}" for number in range(1001)))


def test_every_filter_arrives_in_the_query() -> None:
    query = page(
        "session=a&session=b&type=created&after=3&before=9&lineage=broken"
        "&since=2026-11-20T12:00:00%2B01:00&until=2026-11-20t12:00:00.1239z"
        "&happenedSince=2026-01-01T00:00:00Z&happenedUntil=2026-01-01T00:00:60Z"
    ).query
    assert (query.sessions, query.types) == ({"a", "b"}, {"created"})
    assert (query.after, query.before, query.lineage, query.descending) == (3, 9, "broken", True)
    assert (query.since, query.until) == ("2026-11-20T11:00:00.000Z", "2026-11-20T12:00:00.123Z")
    assert query.happened_since == "2026-01-01T00:00:00.000Z"
    assert query.happened_until == "2026-01-01T00:01:00.000Z"


def test_an_offset_whose_plus_became_a_space_is_understood() -> None:
    assert page("since=2026-11-20T12:00:00+01:00").query.since == "2026-11-20T11:00:00.000Z"


@pytest.mark.parametrize("query", ["", "order=asc", "session=b&session=a&type=created", "after=5&before=90"])
def test_a_cursor_alone_carries_its_question(query: str) -> None:
    first = page(query)
    second = page(f"cursor={first.cursor(50)}")
    assert (second.query.sessions, second.query.types) == (first.query.sessions, first.query.types)
    assert second.query.descending == first.query.descending
    bounds = (second.query.after, second.query.before)
    assert bounds == ((50, None) if query == "order=asc" else (first.query.after, 50))


@pytest.mark.parametrize("again", ["session=a&session=b", "session=b&session=a&order=desc", "limit=7"])
def test_a_cursor_may_come_with_its_question_again_and_another_limit(again: str) -> None:
    cursor = page("session=a&session=b&limit=3").cursor(50)
    assert page(f"{again}&cursor={cursor}").query.before == 50


@pytest.mark.parametrize(
    "other", ["session=a", "session=a&session=b&type=created", "order=asc", "session=a&session=c"]
)
def test_a_cursor_of_another_question_is_refused(other: str) -> None:
    cursor = page("session=a&session=b").cursor(50)
    with pytest.raises(InvalidCursor, match="another question"):
        page(f"{other}&cursor={cursor}")


def test_a_cursor_of_another_path_is_refused() -> None:
    of_all, of_a = page("").cursor(50), page("", "a").cursor(50)
    assert page(f"cursor={of_a}", "a").query.before == 50
    for query, session_id in ((of_a, "b"), (of_a, None), (of_all, "a")):
        with pytest.raises(InvalidCursor, match="another question"):
            page(f"cursor={query}", session_id)


def test_a_cursor_of_another_epoch_is_refused() -> None:
    with pytest.raises(InvalidCursor, match="epoch '01KAGJ5FG0'"):
        page(f"cursor={page('').cursor(50)}", epoch="01KAGJ5FG1")


def test_a_cursor_never_widens_its_question() -> None:
    assert page(f"cursor={page('before=10').cursor(50)}").query.before == 10
    assert page(f"cursor={page('after=60&order=asc').cursor(50)}").query.after == 60


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_query_is_a_page_or_an_error_that_names_its_place(name: str, value: str) -> None:
    refusals: list[InvalidQuery] = []
    for given_ in (name, *params.DELTAS):
        try:
            params.parse_page(QueryParams([(given_, value)]), EPOCH)
        except InvalidQuery as error:
            refusals.append(error)
    assert all(error.place is not None and "\n" not in error.message for error in refusals)


def test_a_format_is_one_of_those_there_are() -> None:
    assert params.parse_format(None, ("ndjson", "csv")) == "ndjson"
    assert params.parse_format(["csv"], ("ndjson", "csv")) == "csv"
    with pytest.raises(InvalidQuery, match="format: 'xml' is not ndjson or csv"):
        params.parse_format(["xml"], ("ndjson", "csv"))


SEQS = st.integers(0, MAX_SEQ)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.dictionaries(TEXTS, st.lists(TEXTS, min_size=1, max_size=3), max_size=3)


def by_hand(value: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")


GOOD = {"type": "deltas", "epoch": EPOCH, "session": None, "asked": {}, "order": "asc", "seq": 5}


@given(
    st.builds(DeltasCursor, st.just(EPOCH), st.none() | TEXTS, VALUES, st.sampled_from(["asc", "desc"]), SEQS)
)
def test_a_cursor_of_deltas_comes_back_as_it_was(cursor: DeltasCursor) -> None:
    assert decode_cursor(encode_cursor(cursor), DeltasCursor, EPOCH) == cursor
    assert set(encode_cursor(cursor)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


@given(st.builds(SessionsCursor, st.just(EPOCH), SEQS, st.none() | SEQS, SEQS))
def test_a_cursor_of_sessions_comes_back_as_it_was(cursor: SessionsCursor) -> None:
    assert decode_cursor(encode_cursor(cursor), SessionsCursor, EPOCH) == cursor


def test_a_cursor_of_one_list_is_not_one_of_another() -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(encode_cursor(SessionsCursor(EPOCH)), DeltasCursor, EPOCH)
    with pytest.raises(InvalidCursor):
        decode_cursor(by_hand(GOOD), SessionsCursor, EPOCH)
    assert decode_cursor(by_hand(GOOD), DeltasCursor, EPOCH).seq == 5


@pytest.mark.parametrize(
    "change",
    [
        {"seq": -1},
        {"seq": MAX_SEQ + 1},
        {"seq": "5"},
        {"seq": 1.5},
        {"order": "up"},
        {"asked": {"after": []}},
        {"asked": {"after": "5"}},
        {"asked": []},
        {"session": 1},
        {"more": 1},
        {"type": "other"},
        {"epoch": None},
        {"epoch": "01KAGJ5FG1"},
    ],
)
def test_a_cursor_made_by_hand_with_anything_odd_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(by_hand({**GOOD, **change}), DeltasCursor, EPOCH)


@pytest.mark.parametrize("text", ["", "x", "100", "AAAA", "é", "=", "e30", "bnVsbA", "W10", "[" * 5000])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    for kind in (DeltasCursor, SessionsCursor):
        with pytest.raises(InvalidCursor, match="not one that this server gave"):
            decode_cursor(text, kind, EPOCH)


@given(st.binary(max_size=80) | st.just(b"[" * 100_000))
def test_any_bytes_are_a_cursor_or_refused(data: bytes) -> None:
    with suppress(InvalidCursor):
        decode_cursor(base64.urlsafe_b64encode(data).decode(), DeltasCursor, EPOCH)
