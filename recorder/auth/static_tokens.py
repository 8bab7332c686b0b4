"""Tokens: where one stands in a request, and those that are listed in the settings.

A token comes as `Authorization: Bearer T`, or as the WebSocket subprotocol `bearer.T`, since browsers cannot set headers
on a WebSocket; never in a URL: addresses end up in logs, histories and referrers. It is taken whole, dots and all.

A listed one stands for a role, for all sessions and without an end. Only their digests are kept. A token that comes is
compared with every one of them, each time in the same number of steps, so that how long a refusal takes tells nothing
about how much of a guess was right.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence

from recorder.auth.grants import Grant, Role
from recorder.core.errors import NotAuthenticated


class ListedTokens:
    """The tokens of the settings.

    Args:
        tokens: The tokens of each role. One that stands under several roles has all of them.
    """

    def __init__(self, tokens: Mapping[Role, Iterable[str]]) -> None:
        roles: dict[bytes, set[Role]] = {}
        for role, listed in tokens.items():
            for token in listed:
                roles.setdefault(_digest(token), set()).add(role)
        # By digest, all of one length: a comparison tells nothing about the token's.
        self._grants = [(digest, Grant(frozenset(granted), by=digest)) for digest, granted in roles.items()]

    def __len__(self) -> int:
        return len(self._grants)

    def grant(self, token: str) -> Grant | None:
        """Return what a token grants; None where it is not listed."""
        given = _digest(token)
        found = None
        for digest, grant in self._grants:
            if hmac.compare_digest(digest, given):
                found = grant
        return found

    def holds(self, grant: Grant) -> bool:
        """Return whether a grant of a listed token is one of these, with the same roles."""
        return any(digest == grant.by and listed == grant for digest, listed in self._grants)


def _digest(token: str) -> bytes:
    # What comes from a header may hold anything.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


SUBPROTOCOL = "bearer."
MAX_TOKEN = 8192
"""The longest token that is looked at, in characters."""

_HINT = "Authorization: Bearer TOKEN, or the WebSocket subprotocol bearer.TOKEN"


def token_of(authorization: Sequence[str], subprotocols: Sequence[str] = ()) -> str | None:
    """Return the token a request carries; None where it carries none.

    Args:
        authorization: Values of the `Authorization` headers.
        subprotocols: What `Sec-WebSocket-Protocol` offers, split.

    Raises:
        NotAuthenticated: It is not clear which token is meant.
    """
    found = {_bearer(value) for value in authorization}
    found |= {name.removeprefix(SUBPROTOCOL) for name in subprotocols if name.startswith(SUBPROTOCOL)}
    if len(found) > 1 or len(authorization) > 1:
        raise NotAuthenticated("more than one token", hint="send one")
    token = found.pop() if found else None
    if token is not None and not 0 < len(token) <= MAX_TOKEN:
        raise NotAuthenticated(f"the token has {len(token)} characters", hint=f"1 to {MAX_TOKEN} are allowed")
    return token


def split_subprotocols(headers: Sequence[str]) -> list[str]:
    """Return the names that `Sec-WebSocket-Protocol` headers offer."""
    return [name.strip() for header in headers for name in header.split(",")]


def chosen_subprotocol(subprotocols: Sequence[str]) -> str | None:
    """Return what of the offer is echoed: the one with the token, else none."""
    return next((name for name in subprotocols if name.startswith(SUBPROTOCOL)), None)


def _bearer(value: str) -> str:
    scheme, _, token = value.strip().partition(" ")
    if scheme.lower() != "bearer":
        other = NotAuthenticated("Authorization is not of the kind Bearer", hint=_HINT)
        other.has_token = False
        raise other
    return token.strip()
