"""The checks of every request and every upgrade: its host, the page that sent it, and its token.

`check` comes first and asks nothing about tokens: a page of another origin is rejected whatever it carries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recorder.auth.grants import Grant
from recorder.auth.origin import Access
from recorder.auth.proxies import Caller, Proxies
from recorder.auth.static_tokens import split_subprotocols
from recorder.auth.tokens import Authority

Headers = Callable[[str], Sequence[str]]
"""All values of a header, by its name."""


class RequestGuard:
    """The rules for coming in.

    Args:
        access: Which Hosts and Origins may.
        proxies: Whose word is taken for who calls.
        authority: What tokens grant.
    """

    def __init__(self, access: Access, proxies: Proxies, authority: Authority) -> None:
        self.authority = authority
        self._access = access
        self._proxies = proxies

    def is_proxy(self, address: str) -> bool:
        """Return whether a proxy of ours is there."""
        return self._proxies.has(address)

    def caller(self, headers: Headers, peer: str, *, is_secure: bool) -> Caller:
        """Return who calls.

        Args:
            headers: Of the request.
            peer: The address of the connection's other end.
            is_secure: Whether the connection is TLS.
        """
        return self._proxies.caller(
            peer, headers("x-forwarded-for"), headers("x-forwarded-proto"), is_secure=is_secure
        )

    def check(self, headers: Headers, local: str, caller: Caller) -> None:
        """Raise NotAllowed where the Host or the Origin may not.

        Args:
            headers: Of the request.
            local: The address of the connection's own end.
            caller: Who calls.
        """
        host, origin = _one(headers("host")), _one(headers("origin"))
        self._access.check(host, origin, local=local, is_secure=caller.is_secure)

    def grant(self, headers: Headers) -> Grant:
        """Return what its token grants. Raises NotAuthenticated."""
        offered = split_subprotocols(headers("sec-websocket-protocol"))
        return self.authority.grant(headers("authorization"), offered)


def _one(values: Sequence[str]) -> str | None:
    """Return a header's value; several of them make a value that is nobody's."""
    return ", ".join(values) if values else None
