"""Host and Origin, by the rule and by the tricks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.auth.origin import Access
from recorder.core.errors import NotAllowed

OWN = Access("127.0.0.1")
FURTHER = Access(
    "127.0.0.1",
    ("Recorder.Example", "proxy.example:8443", "[fd00::1]"),
    ("https://App.example", "chrome-extension://abc", "null"),
)


def allows(access: Access, host: str | None, origin: str | None = None) -> bool:
    try:
        access.check(host, origin)
    except NotAllowed:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8765",
        "localhost",
        "localhost:8765",
        "LocalHost:8765",
        "[::1]",
        "[::1]:8765",
    ],
)
def test_the_loopback_names_are_answered_on_any_port(host: str) -> None:
    assert allows(OWN, host)


@pytest.mark.parametrize(
    ("bind", "host"),
    [
        ("127.0.0.2", "127.0.0.2:8765"),
        ("::1", "[::1]:1"),
        ("[::1]", "[::1]:1"),
        ("recorder.example", "Recorder.Example:80"),
    ],
)
def test_the_address_listened_on_is_answered(bind: str, host: str) -> None:
    assert allows(Access(bind), host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        " ",
        ":8765",
        "evil.example",
        "evil.example:8765",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example#localhost",
        "localhost#evil.example",
        "localhost?evil.example",
        "localhost/evil.example",
        "localhost\\evil.example",
        "evil.example@localhost",
        "evil.example:1@localhost",
        "localhost@evil.example",
        "localhost, evil.example",
        "localhost localhost",
        "evil.example, localhost",
        "localhost:8765:8765",
        "localhost:x",
        "localhost:-1",
        "localhost:999999",
        "local\thost",
        "local\nhost",
        "localhost\r\n",
        "localhost\n",
        " localhost",
        "localhost ",
        "localhost.",
        "localhost\0",
        "localhost%00",
        "%6cocalhost",
        "ⓛocalhost",
        "l\u200bocalhost",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "0.0.0.0",
        "::1",
        "::1:8765",
        "[::1",
        "::1]",
        "[::1]x",
        "[[::1]]",
        "[localhost]",
        "[127.0.0.1]",
        "[::1%25eth0]",
        "[::ffff:127.0.0.1]",
        "[v1.localhost]",
    ],
)
def test_a_host_that_is_not_plainly_ours_is_refused(host: str | None) -> None:
    assert not allows(OWN, host)
    assert not allows(OWN, host, f"http://{host}")


@pytest.mark.parametrize(
    ("bind", "local", "host", "answered"),
    [
        ("0.0.0.0", "192.0.2.7", "192.0.2.7:8765", True),
        ("0.0.0.0", "192.0.2.7", "192.0.2.8:8765", False),
        ("0.0.0.0", "192.0.2.7", "0.0.0.0:8765", False),
        ("0.0.0.0", "192.0.2.7", "evil.example", False),
        ("0.0.0.0", "", "", False),
        ("0.0.0.0", "127.0.0.1", "localhost:8765", True),
        ("::", "2001:db8::1", "[2001:DB8::1]:8765", True),
        ("127.0.0.1", "192.0.2.7", "192.0.2.7", False),
    ],
)
def test_where_every_address_is_listened_on_the_one_that_was_called_is_answered(
    bind: str, local: str, host: str, answered: bool
) -> None:
    try:
        Access(bind).check(host, None, local=local)
    except NotAllowed:
        assert not answered
    else:
        assert answered


def test_what_came_by_tls_was_not_asked_for_by_a_page_that_did_not() -> None:
    OWN.check("localhost:1", "https://localhost:1", is_secure=True)
    with pytest.raises(NotAllowed):
        OWN.check("localhost:1", "http://localhost:1", is_secure=True)
    FURTHER.check("localhost:1", "https://app.example", is_secure=True)


def test_allowed_hosts_go_with_their_port_or_with_any() -> None:
    assert allows(FURTHER, "recorder.example")
    assert allows(FURTHER, "recorder.example:1")
    assert allows(FURTHER, "proxy.EXAMPLE:8443")
    assert not allows(FURTHER, "proxy.example")
    assert not allows(FURTHER, "proxy.example:8444")
    assert allows(FURTHER, "[fd00::1]:8765")
    assert allows(FURTHER, "localhost:8765")


@pytest.mark.parametrize(
    "origin", ["http://localhost:8765", "https://localhost:8765", "HTTP://LOCALHOST:8765"]
)
def test_the_page_that_the_recorder_itself_serves_may_connect(origin: str) -> None:
    assert allows(OWN, "localhost:8765", origin)


def test_who_is_no_browser_has_no_origin_and_may_connect() -> None:
    assert allows(OWN, "localhost:8765", None)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "http://evil.example",
        "http://localhost",
        "http://localhost:8766",
        "http://127.0.0.1:8765",
        "http://localhost:8765.evil.example",
        "http://localhost:8765@evil.example",
        "http://evil.example@localhost:8765",
        "http://localhost:8765/",
        "http://localhost:8765#",
        "http://localhost:8765, http://evil.example",
        "http://localhost:8765 ",
        " http://localhost:8765",
        "http:localhost:8765",
        "http:/localhost:8765",
        "//localhost:8765",
        "localhost:8765",
        "file://localhost:8765",
        "ws://localhost:8765",
        "javascript://localhost:8765",
        "http://localhost:8765\0",
    ],
)
def test_a_page_of_another_origin_may_not_connect(origin: str) -> None:
    assert not allows(OWN, "localhost:8765", origin)


def test_allowed_origins_may_connect_exactly_as_they_are_written() -> None:
    for origin in ("https://app.example", "https://APP.example", "chrome-extension://abc", "null"):
        assert allows(FURTHER, "localhost:8765", origin)
    for origin in (
        "http://app.example",
        "https://app.example:444",
        "https://x.app.example",
        "https://app.example/",
    ):
        assert not allows(FURTHER, "localhost:8765", origin)


def test_an_allowed_origin_does_not_make_a_foreign_host_ours() -> None:
    assert not allows(FURTHER, "evil.example", "https://app.example")


def test_a_refusal_names_what_was_wrong_and_the_setting_that_mends_it() -> None:
    with pytest.raises(NotAllowed, match=r"Host 'evil\.example' is not allowed \(ALLOWED_HOSTS"):
        OWN.check("evil.example", None)
    with pytest.raises(NotAllowed, match=r"Origin 'null' may not connect \(ALLOWED_ORIGINS"):
        OWN.check("localhost", "null")
    with pytest.raises(NotAllowed, match="Host header"):
        OWN.check(None, None)


def test_a_refusal_repeats_no_more_than_a_little_of_a_hostile_header() -> None:
    for host, origin in (("x" * 60_000, None), ("localhost", "x" * 60_000)):
        with pytest.raises(NotAllowed) as refusal:
            OWN.check(host, origin)
        assert len(str(refusal.value)) < 200


HEADERS = (
    st.none() | st.text(max_size=30) | st.from_regex(r"[a-z.:\[\]@/#?%0-9]{0,20}localhost[a-z.:@/#?]{0,9}")
)


@given(HEADERS, HEADERS)
def test_any_headers_are_allowed_or_refused_and_nothing_else_happens(
    host: str | None, origin: str | None
) -> None:
    if allows(OWN, host, origin):
        assert host is not None
        assert host.lower().partition(":")[0] in ("localhost", "127.0.0.1", "[")
        assert origin is None or origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
