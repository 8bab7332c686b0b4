"""What a subscriber may ask for, in a query and in a message, and how it is told that it may not."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.errors import BadSubscription
from recorder.core.position import MAX_SEQ, Position
from recorder.wire.subscribe import (
    LATEST,
    MAX_SESSIONS,
    Since,
    Subscription,
    check_sessions,
    check_types,
    names_of,
    parse_op,
    parse_query,
    parse_since,
)

SINCES: list[tuple[str | int | None, Since]] = [
    (None, LATEST),
    ("latest", LATEST),
    ("earliest", Since("earliest")),
    ("state", Since("state")),
    ("01JD3K9V2M:1234", Since("position", position=Position("01JD3K9V2M", 1234))),
    ("01JD3K9V2M:0", Since("position", position=Position("01JD3K9V2M", 0))),
    ("0", Since("seq", seq=0)),
    ("1234", Since("seq", seq=1234)),
    (str(MAX_SEQ), Since("seq", seq=MAX_SEQ)),
    (f"01JD3K9V2M:{MAX_SEQ}", Since("position", position=Position("01JD3K9V2M", MAX_SEQ))),
    (1234, Since("seq", seq=1234)),
    ("2026-11-20T12:00:00Z", Since("time", time="2026-11-20T12:00:00.000Z")),
    ("2026-11-20t13:00:00.5+01:00", Since("time", time="2026-11-20T12:00:00.500Z")),
]
NO_SINCES: list[str | int] = [
    "", " ", "-1", -1, "+1", "1.0", "1e3", str(MAX_SEQ + 1), MAX_SEQ + 1, 10**30,
    "Latest", "EARLIEST", "now", "yesterday",
    "01JD3K9V2M", "01JD3K9V2M:", ":1", "01JD3K9V2M:-1", "2026-11-20", "2026-11-20T12:00:00", "٣", "null", "x" * 500,
]  # fmt: skip


def message(**fields: Any) -> bytes:
    return json.dumps({"op": "subscribe"} | fields).encode()


@pytest.mark.parametrize(("text", "since"), SINCES)
def test_every_form_of_since_is_understood(text: str | int | None, since: Since) -> None:
    assert parse_since(text) == since
    assert parse_op(message(since=text)) == Subscription(since=since)
    query = "" if text is None else urlencode({"since": text})
    assert parse_query(query) == Subscription(since=since)


def test_a_plus_that_nobody_escaped_is_understood_in_a_query_and_there_alone() -> None:
    time = Since("time", time="2026-11-20T11:00:00.000Z")
    assert parse_query("since=2026-11-20T12:00:00+01:00").since == time
    assert parse_query("since=2026-11-20T12:00:00%2B01:00").since == time
    with pytest.raises(BadSubscription):
        parse_op(message(since="2026-11-20T12:00:00 01:00"))


@pytest.mark.parametrize("text", NO_SINCES)
def test_any_other_since_is_refused_never_taken_for_latest(text: str | int) -> None:
    for ask in (
        lambda: parse_since(text),
        lambda: parse_op(message(since=text)),
        lambda: parse_query(urlencode({"since": text})),
    ):
        with pytest.raises(BadSubscription) as refusal:
            ask()
        error = refusal.value
        if error.place == "since":
            assert error.message.endswith(" is no position")
            assert (
                error.hint == "latest, earliest, state, epoch:seq, epoch:seq:hash, seq, or an RFC 3339 time"
            )
        assert len(str(error)) < 300
        assert (error.code, error.close_code, error.retry) == ("bad_subscription", 4400, False)


def test_two_places_to_begin_are_refused() -> None:
    with pytest.raises(BadSubscription, match="since: given twice"):
        parse_query("since=earliest&since=latest")


@pytest.mark.parametrize("since", [1.5, True, False, [], {}, ["earliest"]])
def test_a_since_of_another_kind_is_refused(since: Any) -> None:
    with pytest.raises(BadSubscription, match="not a message of the protocol"):
        parse_op(message(since=since))


def test_what_is_no_utf_8_is_refused_like_what_is_no_json() -> None:
    for text in (b'{"op":"\xc3"}', b'{"op":"subscribe","sessions":["\xff"]}', b"\xff"):
        with pytest.raises(BadSubscription, match="not a message of the protocol"):
            parse_op(text)


def test_nothing_asked_for_is_everything_from_now_on() -> None:
    assert parse_query("") == parse_op(message()) == Subscription(None, None, LATEST)


def test_sessions_and_types_may_be_named_again_and_again() -> None:
    wanted = Subscription(frozenset({"a", "b c&d"}), frozenset({"created", "deleted"}), Since("earliest"))
    query = "session=a&session=b+c%26d&session=a&type=created&type=deleted&since=earliest"
    assert parse_query(query) == wanted
    assert (
        parse_op(message(sessions=["a", "b c&d", "a"], types=["deleted", "created"], since="earliest"))
        == wanted
    )


def test_in_a_message_null_and_an_empty_list_are_the_same_as_absent() -> None:
    assert parse_op(message(sessions=None, types=None, since=None)) == Subscription()
    assert parse_op(message(sessions=[], types=[])) == Subscription()


def test_a_plus_in_a_session_stays_what_a_query_makes_of_it() -> None:
    assert parse_query("session=a%2Bb").sessions == frozenset({"a+b"})


def test_session_ids_may_be_any_that_deltas_may_have() -> None:
    names = ["é", "😀" * 256, '"', "\\", " ", "\x80"]
    assert check_sessions(names) == frozenset(names)
    assert parse_op(message(sessions=names)) == Subscription(frozenset(names))
    assert parse_query(urlencode([("session", name) for name in names])) == Subscription(frozenset(names))


@pytest.mark.parametrize("session", ["", "x" * 257, "a\0", "a\nb", "\x1f", "\x7f"])
def test_a_session_id_that_no_delta_can_have_is_refused(session: str) -> None:
    for ask in (
        lambda: check_sessions([session]),
        lambda: parse_op(message(sessions=["a", session])),
        lambda: parse_query(urlencode([("session", "a"), ("session", session)])),
    ):
        with pytest.raises(BadSubscription, match=r"^session: ") as refusal:
            ask()
        assert refusal.value.place == "session"


def test_a_lone_surrogate_in_a_session_id_is_refused() -> None:
    with pytest.raises(BadSubscription, match=r"^session: "):
        check_sessions(["\ud800"])
    with pytest.raises(BadSubscription, match="not a message of the protocol"):
        parse_op(message(sessions=["\ud800"]))


def test_a_thousand_sessions_may_be_named_and_no_more() -> None:
    names = [f"s{number}" for number in range(MAX_SESSIONS + 1)]
    assert len(check_sessions([*names[1:], names[1]])) == 1000
    with pytest.raises(BadSubscription, match="1001 sessions, at most 1000 can be named"):
        check_sessions(names)


@pytest.mark.parametrize("kind", ["", "Created", "create", "heartbeat", "\ud800", "x" * 500])
def test_a_type_that_no_delta_has_is_refused(kind: str) -> None:
    with pytest.raises(BadSubscription, match=r"^type: ") as refusal:
        check_types(["created", kind])
    assert str(refusal.value).endswith("is not one of created, updated, deleted")
    assert len(str(refusal.value).encode()) < 200


@pytest.mark.parametrize("query", ["sessions=a", "Session=a", "ack=none", "x", "=", "a" * 5000, "%ff=1"])
def test_an_unknown_parameter_is_refused_by_name(query: str) -> None:
    with pytest.raises(BadSubscription, match="unknown parameter ") as refusal:
        parse_query(query)
    assert refusal.value.hint == "session, type, since, slow"
    assert len(str(refusal.value)) < 200


def test_a_ping_is_no_subscription() -> None:
    assert parse_op(b'{"op":"ping"}') is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"ping",
        b"1",
        b"[]",
        b"{}",
        b'{"op":1}',
        b'{"op":null}',
        b'{"op":"subscribe","session":"a"}',
        b'{"op":"subscribe","sessions":"a"}',
        b'{"op":"subscribe","sessions":[1]}',
        b'{"op":"subscribe","types":"created"}',
        b'{"op":"subscribe"}x',
        b'{"op":"subscribe","' + b"x" * 5000 + b'":1}',
        b"[" * 5000,
        b'{"op":"subscribe","since":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_message_of_the_protocol_is_refused(text: bytes) -> None:
    with pytest.raises(BadSubscription, match="not a message of the protocol: ") as refusal:
        parse_op(text)
    assert len(str(refusal.value)) < 350


def test_an_unknown_op_is_refused_by_name() -> None:
    with pytest.raises(BadSubscription, match=r"unknown op 'unsubscribe' \(subscribe, ping\)"):
        parse_op(b'{"op":"unsubscribe"}')


OPS = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["subscribe", "ping", "x"]),
        "sessions": st.lists(st.text(max_size=4), max_size=3) | st.none(),
        "types": st.lists(st.sampled_from(["created", "updated", "x"]), max_size=3),
        "since": st.text(max_size=30) | st.integers() | st.sampled_from(["state", "earliest", "A:1"]),
        "x": st.none(),
    },
)


@given(st.binary(max_size=40) | OPS.map(lambda fields: json.dumps(fields).encode()))
def test_any_message_is_a_subscription_a_ping_or_refused(text: bytes) -> None:
    try:
        # The connection has checked that it is UTF-8.
        found = parse_op(text.decode("utf-8", "replace").encode())
    except BadSubscription as error:
        message = str(error)
    else:
        assert found is None or isinstance(found, Subscription)
        return
    assert message.encode()


@given(
    st.text(max_size=60)
    | st.lists(st.tuples(st.sampled_from(["session", "type", "since"]), st.text())).map(urlencode)
)
def test_any_query_is_a_subscription_or_refused(query: str) -> None:
    try:
        found = parse_query(query)
    except BadSubscription as error:
        message = str(error)
    else:
        assert isinstance(found, Subscription)
        return
    assert message


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (None, []),
        ("my-session", ["my-session"]),
        (["b", "a", "b"], ["b", "a"]),
        (iter(("a",)), ["a"]),
        ({"a": 1}, ["a"]),
    ],
)
def test_a_lone_text_is_one_name_and_not_a_list_of_its_letters(asked: Any, names: list[str]) -> None:
    assert names_of("sessions", asked) == names


@pytest.mark.parametrize("asked", [[], (), set(), b"abc", 7, True, ["a", 7], [None], [["a"]], [b"a"]])
def test_what_is_no_list_of_names_is_refused_in_words(asked: Any) -> None:
    with pytest.raises(BadSubscription, match=r"^sessions: "):
        names_of("sessions", asked)
