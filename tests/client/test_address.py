"""Tests of the address a client connects to."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from recorder.client.address import parse_address
from recorder.core.errors import ClientError


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8765", "ws://127.0.0.1:8765"),
        ("ws://localhost:1/", "ws://localhost:1"),
        ("https://rec.example", "wss://rec.example"),
        ("wss://rec.example/behind/a/proxy/", "wss://rec.example/behind/a/proxy"),
        ("http://[::1]:8765", "ws://[::1]:8765"),
    ],
)
def test_every_scheme_becomes_a_websocket_url(url: str, base: str) -> None:
    assert parse_address(url).base == base


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8765",
        "ftp://x",
        "http://",
        "http://x:port",
        "http://[::1",
        "http://u:p@x",
        "http://x?a=b",
        "http://x#f",
    ],
)
def test_what_is_not_a_recorders_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ClientError) as caught:
        parse_address(url)
    assert caught.value.hint


def test_this_machine_is_never_reached_through_a_proxy() -> None:
    local = ["http://127.0.0.1:1", "http://127.9.9.9:1", "http://localhost:1", "http://[::1]:1"]
    assert all(parse_address(url).is_loopback for url in local)
    assert not parse_address("http://10.0.0.1:1").is_loopback


def test_a_subscription_survives_its_way_through_the_url() -> None:
    url = parse_address("http://x").subscribe_url(
        ["a b&c=d", "é+#/?%"], ["created"], "2026-11-20T12:00:00+01:00"
    )
    assert parse_qsl(urlsplit(url).query) == [
        ("session", "a b&c=d"),
        ("session", "é+#/?%"),
        ("type", "created"),
        ("since", "2026-11-20T12:00:00+01:00"),
    ]


def test_a_session_that_is_no_text_is_refused() -> None:
    with pytest.raises(ClientError, match="UTF-8"):
        parse_address("http://x").subscribe_url(["\ud83d"], [], "latest")
