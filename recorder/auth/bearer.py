"""Where a token stands in a request: `Authorization: Bearer T`, or the WebSocket subprotocol `bearer.T`.

Browsers cannot set headers on a WebSocket, hence the second form. Never in a URL: addresses end up in logs, histories
and referrers. The token is taken whole, dots and all.
"""

from __future__ import annotations

from collections.abc import Sequence

from recorder.core.errors import NotAuthenticated

SUBPROTOCOL = "bearer."
MAX_TOKEN = 8192
"""The longest token that is looked at, in characters."""

_HINT = "Authorization: Bearer TOKEN, or the WebSocket subprotocol bearer.TOKEN"


def token_of(authorization: Sequence[str], subprotocols: Sequence[str] = ()) -> str | None:
    """The token a request carries; None where it carries none.

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
        raise NotAuthenticated(f"the token has {len(token)} characters", hint=f"1 to {MAX_TOKEN} are taken")
    return token


def split_subprotocols(headers: Sequence[str]) -> list[str]:
    """The names that `Sec-WebSocket-Protocol` headers offer."""
    return [name.strip() for header in headers for name in header.split(",")]


def chosen_subprotocol(subprotocols: Sequence[str]) -> str | None:
    """What of the offer is echoed: the one with the token, else none."""
    return next((name for name in subprotocols if name.startswith(SUBPROTOCOL)), None)


def _bearer(value: str) -> str:
    scheme, _, token = value.strip().partition(" ")
    if scheme.lower() != "bearer":
        other = NotAuthenticated("Authorization is not of the kind Bearer", hint=_HINT)
        other.has_token = False
        raise other
    return token.strip()
