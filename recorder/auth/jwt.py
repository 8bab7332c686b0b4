"""JSON Web Tokens: signed by somebody we have the key of, with a role, perhaps sessions, perhaps an end.

The claims:

* `role`: `subscribe`, `publish` or `admin`, or an array of these. Required.
* `sessions`: ids, and `sessionPrefixes`: beginnings of ids, both arrays. Where either is there, only what they name may
  be seen and written; where neither is, all. `admin` is for all sessions and cannot be limited to some.
* `exp`, `nbf` (RFC 7519), in seconds. Clocks differ, so both have a leeway (`JWT_LEEWAY`): a token is taken that long
  before its `nbf` and after its `exp`. What was begun before `exp` ends then; what was begun within the leeway, with it.
* `aud`, `iss`: checked where `JWT_AUDIENCE`, `JWT_ISSUER` are set; a token for an audience is for nobody else.

What is wrong in a signed token makes it worthless as a whole: a claim that cannot be read is never passed over.
PyJWT does the signatures; times are compared here, with the recorder's own clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jwt

from recorder.auth.grants import ROLES, Grant
from recorder.auth.jwt_keys import EDDSA, HS256, Key
from recorder.core.errors import NotAuthenticated
from recorder.core.session_filter import Sessions, sessions_of

_OPTIONS: dict[str, Any] = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
MAX_SECONDS = 253_402_300_799
"""The last second of the year 9999."""
SESSIONS, PREFIXES = "sessions", "sessionPrefixes"


class Verifier:
    """Checks JWTs.

    Args:
        keys: Any of them may have signed.
        now_ms: Milliseconds since 1970.
        audience: What `aud` must name; None: a token must not have one.
        issuer: What `iss` must be; None: anything.
        leeway_ms: How far the issuer's clock may differ from ours.
    """

    def __init__(
        self,
        keys: Sequence[Key],
        now_ms: Callable[[], int],
        audience: str | None = None,
        issuer: str | None = None,
        leeway_ms: int = 0,
    ) -> None:
        self._keys = tuple(keys)
        self._now_ms = now_ms
        self._audience = audience
        self._issuer = issuer
        self._leeway_ms = leeway_ms

    def grant(self, token: str) -> Grant:
        """What a token grants.

        Raises:
            NotAuthenticated: It is not valid, or not now.
        """
        claims, key = self._claims(token)
        expires_ms, begins_ms = _time(claims, "exp"), _time(claims, "nbf")
        now, leeway = self._now_ms(), self._leeway_ms
        if begins_ms is not None and now + leeway < begins_ms:
            seconds = (begins_ms - now) / 1000
            raise NotAuthenticated(
                f"the token is not valid yet: its nbf lies {seconds:g} s ahead",
                hint="wait, or set the clocks; JWT_LEEWAY sets how far they may differ",
            )
        if expires_ms is not None and now >= expires_ms:
            expires_ms += leeway
            if now >= expires_ms:
                raise NotAuthenticated("the token has expired", hint="get a new one")
        return replace(grant_of(claims, expires_ms), by=key.identity)

    def holds(self, grant: Grant) -> bool:
        """Whether the key that a grant was checked with is one of these."""
        return any(key.identity == grant.by for key in self._keys)

    def _claims(self, token: str) -> tuple[dict[str, Any], Key]:
        algorithm, kid = _header(token)
        for key in self._keys:
            if key.algorithm == algorithm and (None in (kid, key.kid) or kid == key.kid):
                try:
                    claims = jwt.decode(
                        token,
                        key.material,
                        algorithms=[key.algorithm],
                        audience=self._audience,
                        issuer=self._issuer,
                        options=_OPTIONS,  # type: ignore[arg-type]
                    )
                    return claims, key
                except jwt.DecodeError:
                    continue  # another key's, or no token at all
                except (jwt.PyJWTError, ValueError, RecursionError) as error:
                    # A claim, by a signature that holds: its bearer may know which.
                    raise NotAuthenticated(f"the token is not valid: {str(error)[:100]}") from None
        raise NotAuthenticated("the token is not known here", hint="was it made for this recorder?")


def grant_of(claims: dict[str, Any], expires_ms: int | None) -> Grant:
    """The grant that claims describe. Raises NotAuthenticated where they describe none."""
    role = claims.get("role")
    roles = [role] if isinstance(role, str) else role
    if not isinstance(roles, list) or not roles or not all(one in ROLES for one in roles):
        raise _bad("role", f"must be {', '.join(ROLES)}, or an array of these")
    sessions = _sessions(claims)
    if sessions is not None and "admin" in roles:
        raise _bad("role", "admin is for all sessions, and the token names some")
    return Grant(frozenset(roles), sessions, expires_ms)


def _header(token: str) -> tuple[str, str | None]:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        header = {}
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in (HS256, EDDSA) or "crit" in header or not isinstance(kid, str | None):
        # Not even of the form; told like one that is not listed, so that there is nothing to learn.
        raise NotAuthenticated("the token is not known here", hint="was it made for this recorder?")
    return algorithm, kid


def _sessions(claims: dict[str, Any]) -> Sessions:
    if SESSIONS not in claims and PREFIXES not in claims:
        return None
    return sessions_of(frozenset(_texts(claims, SESSIONS)), tuple(_texts(claims, PREFIXES)))


def _texts(claims: dict[str, Any], name: str) -> list[str]:
    texts = claims.get(name, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise _bad(name, "must be an array of texts that are not empty")
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise _bad(name, "must have no lone surrogates") from None
    return texts


def _time(claims: dict[str, Any], name: str) -> int | None:
    if name not in claims:
        return None
    seconds = claims[name]
    # NaN is in no range.
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not 0 <= seconds <= MAX_SECONDS:
        raise _bad(name, "must be a number of seconds since 1970")
    return int(seconds * 1000)


def _bad(name: str, reason: str) -> NotAuthenticated:
    return NotAuthenticated(f"the token is not valid: {name} {reason}")
