"""Checks of the Host and the Origin of a request.

Both guard against web pages: a page of another origin must not reach the recorder through its visitor's browser,
and a name that an attacker points at 127.0.0.1 must not pass for the recorder's own (DNS rebinding). What is not
plainly a host and a port is refused. Left out: who the caller is (tokens), and how a request gets here.

Where every address of the machine is listened on, the one that a connection came in by is the recorder's own, too: an
address cannot be pointed elsewhere, as a name can.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address

from recorder.core.errors import NotAllowed

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

# A name or an IPv4 address, or an IPv6 address in brackets; then, perhaps, a port.
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


class Access:
    """The rules. Upper and lower case are the same in all of them.

    Args:
        bind_host: The address listened on.
        allowed_hosts: Further Host headers; one without a port allows every port.
        allowed_origins: Further origins, e.g. `https://example.org`.
    """

    def __init__(
        self, bind_host: str, allowed_hosts: Iterable[str] = (), allowed_origins: Iterable[str] = ()
    ) -> None:
        bind = bind_host.lower().strip("[]")
        self._is_everywhere = _is_unspecified(bind)  # whether it listens on every address
        own = () if self._is_everywhere else (_in_url(bind),)
        self._hosts = frozenset({*own, *LOOPBACK, *map(str.lower, allowed_hosts)})  # with or without a port
        self._origins = frozenset(map(str.lower, allowed_origins))  # beside the recorder's own

    def check(
        self, host: str | None, origin: str | None, *, local: str = "", is_secure: bool = False
    ) -> None:
        """Raise NotAllowed unless a request with these headers may go on.

        Args:
            host: The Host header.
            origin: The Origin header; None where there is none (not a browser's cross-origin request).
            local: The address that the connection came in by.
            is_secure: Whether it came by TLS.
        """
        if host is None:
            raise NotAllowed("a request without one Host header", hint="send the address it is sent to")
        if not self._is_own(host.lower(), local):
            raise NotAllowed(f"Host {host[:80]!r} is not allowed", hint="ALLOWED_HOSTS adds names")
        if origin is not None and not self._may_come(origin.lower(), host.lower(), is_secure):
            raise NotAllowed(f"Origin {origin[:80]!r} may not connect", hint="ALLOWED_ORIGINS adds origins")

    def _is_own(self, host: str, local: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        is_local = self._is_everywhere and local != "" and match[1] == _in_url(local.lower())
        return host in self._hosts or match[1] in self._hosts or is_local

    def _may_come(self, origin: str, host: str, is_secure: bool) -> bool:
        if origin in self._origins:
            return True
        # Its own: the very host and port that this request was sent to. What came by TLS was not asked for by a page
        # that did not; the other way round there may be a proxy in between that nobody told us of.
        scheme, _, rest = origin.partition("://")
        return scheme in (("https",) if is_secure else ("http", "https")) and rest == host


def _in_url(address: str) -> str:
    """Return an address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


def _is_unspecified(address: str) -> bool:
    with suppress(ValueError):
        return ip_address(address).is_unspecified
    return False
