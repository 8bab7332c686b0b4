"""Who may connect: the Host and the Origin of a request.

Both guard against web pages: a page of another origin must not reach the recorder through its visitor's browser, and a
name that an attacker points at 127.0.0.1 must not pass for the recorder's own (DNS rebinding).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from recorder.errors import NotAllowed

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Access:
    """The rules.

    Args:
        bind_host: The address listened on.
        allowed_hosts: Further Host headers, with or without a port.
        allowed_origins: Further origins, e.g. `https://example.org`.
    """

    bind_host: str
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()

    def check(self, host: str | None, origin: str | None) -> None:
        """Raise NotAllowed unless a request with these headers may go on.

        Args:
            host: The Host header.
            origin: The Origin header; None where there is none (not a browser's cross-origin request).
        """
        if host is None or not self._is_own(host.lower()):
            raise NotAllowed(f"Host {host!r} is not answered here", hint="ALLOWED_HOSTS adds names")
        if origin is not None and not self._may_come(origin.lower(), host.lower()):
            raise NotAllowed(f"Origin {origin!r} may not connect", hint="ALLOWED_ORIGINS adds origins")

    def _is_own(self, host: str) -> bool:
        name = _host_name(host)
        if host in self.allowed_hosts or name in self.allowed_hosts:
            return True
        return name is not None and (name == self.bind_host.strip("[]").lower() or name in LOOPBACK)

    def _may_come(self, origin: str, host: str) -> bool:
        if origin in self.allowed_origins:
            return True
        scheme, _, rest = origin.partition("://")
        return scheme in ("http", "https") and rest == host


def _host_name(host: str) -> str | None:
    """The name in a Host header, without its port; None where it is not one."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return None if parts.username is not None or parts.path else parts.hostname
