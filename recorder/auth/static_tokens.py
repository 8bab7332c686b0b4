"""Tokens that are listed in the settings: each stands for a role, for all sessions and without an end.

Only their digests are kept. A token that comes is compared with every one of them, each time in the same number of
steps, so that how long a refusal takes tells nothing about how much of a guess was right.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

from recorder.auth.grants import Grant, Role


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
        """What a token grants; None where it is not listed."""
        given = _digest(token)
        found = None
        for digest, grant in self._grants:
            if hmac.compare_digest(digest, given):
                found = grant
        return found

    def holds(self, grant: Grant) -> bool:
        """Whether a grant of a listed token is one of these, with the same roles."""
        return any(digest == grant.by and listed == grant for digest, listed in self._grants)


def _digest(token: str) -> bytes:
    # What comes from a header may hold anything.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
