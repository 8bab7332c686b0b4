"""Who calls: the connection, or what proxies of ours say, and nothing that anybody else says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.auth.proxies import Caller, Proxies

PROXIES = Proxies(["10.0.0.0/8", "::1/128"])


def called(peer: str, forwarded_for: list[str], proto: list[str] | None = None) -> Caller:
    return PROXIES.caller(peer, forwarded_for, proto or [], is_secure=False)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),  # not ours: not believed
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),  # what stands left was made up
        ("10.0.0.1", ["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9, 10.2.3.4"], "203.0.113.9"),
        ("10.0.0.1", ["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
        ("10.0.0.1", ["203.0.113.9, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:5555"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8::1]:5555"], "2001:db8::1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("::1", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("", ["203.0.113.9"], ""),
    ],
)
def test_the_client_is_the_last_address_that_is_not_a_proxys(
    peer: str, forwarded_for: list[str], address: str
) -> None:
    assert called(peer, forwarded_for).address == address


def test_whether_it_came_by_tls_is_said_by_the_nearest_proxy_alone() -> None:
    assert called("10.0.0.1", [], ["https"]).is_secure
    assert called("10.0.0.1", [], ["http, HTTPS"]).is_secure
    assert not called("10.0.0.1", [], ["https", "http"]).is_secure
    assert not called("192.0.2.1", [], ["https"]).is_secure
    assert Proxies().caller("192.0.2.1", [], ["http"], is_secure=True).is_secure
    assert PROXIES.caller("10.0.0.1", [], [], is_secure=True).is_secure
    assert not PROXIES.caller("10.0.0.1", [], ["http"], is_secure=True).is_secure


@given(st.lists(st.text(max_size=30), max_size=4), st.lists(st.text(max_size=9), max_size=2))
def test_any_headers_name_somebody(forwarded_for: list[str], proto: list[str]) -> None:
    assert called("10.0.0.1", forwarded_for, proto).address
