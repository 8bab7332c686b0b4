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

Keys come out of files: a secret (HS256), a public key (EdDSA), or a set of them (JWKS). Each is for one algorithm, which
follows from what the key is and not from what a token says of itself: a public key can never be taken for a secret.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from recorder.auth.grants import ROLES, Grant
from recorder.config.files import file_of_setting
from recorder.core.errors import InvalidSetting, NotAuthenticated
from recorder.core.session_filter import Sessions, sessions_of

HS256, EDDSA = "HS256", "EdDSA"
MIN_SECRET = 32
"""The fewest bytes of a secret for HS256 (RFC 7518, section 3.2)."""
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
        """Return what a token grants.

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
        """Return whether the key that a grant was checked with is one of these."""
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
    """Return the grant that claims describe. Raises NotAuthenticated where they describe none."""
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
        # Malformed; answered like one that is not listed, so that it reveals nothing.
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


@dataclass(frozen=True, slots=True)
class Key:
    """A key that tokens are checked with.

    Args:
        algorithm: The only one it is for.
        material: An Ed25519 public key, or a secret.
        kid: Its name; None where it has none, and is then tried for every token.
    """

    algorithm: str
    material: Ed25519PublicKey | bytes
    kid: str | None = None

    @property
    def identity(self) -> tuple[str, bytes, str | None]:
        """Return what is the same for the same key, whenever it was read; without the secret."""
        raw = self.material if isinstance(self.material, bytes) else self.material.public_bytes_raw()
        return self.algorithm, hashlib.sha256(raw).digest(), self.kid

    def __repr__(self) -> str:
        return f"Key({self.algorithm}, kid={self.kid})"  # never the secret


def read_key(path: Path, setting: str) -> Key:
    """Return the key in a file: PEM of an Ed25519 public key, or else a secret of 32 bytes or more.

    Args:
        path: The file.
        setting: Which setting named it, for errors.

    Raises:
        InvalidSetting: It cannot be read, or is neither.
    """
    data = file_of_setting(path, setting).strip()
    if not data.startswith(b"-----BEGIN"):
        return Key(HS256, secret_of(data, path, setting))
    if b"PRIVATE" in data:
        raise InvalidSetting(
            f"{setting}: {path} is a private key",
            hint="the recorder only needs the public one to check tokens",
        )
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidSetting(f"{setting}: {path} is no key in PEM: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidSetting(
            f"{setting}: {path} is not an Ed25519 key", hint="recorder token --new-key makes one"
        )
    return Key(EDDSA, key)


def read_jwks(path: Path, setting: str) -> list[Key]:
    """Return the keys of a JWKS file (RFC 7517); those of kinds that are not used here are passed over.

    Raises:
        InvalidSetting: It cannot be read, or holds no key that can be used.
    """
    try:
        listed = json.loads(file_of_setting(path, setting))["keys"]
        keys = [key for one in listed if (key := _of_jwk(one, path, setting)) is not None]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, jwt.PyJWTError) as error:
        raise InvalidSetting(f"{setting}: {path} is no JWKS: {type(error).__name__}: {error}") from None
    if not keys:
        raise InvalidSetting(f"{setting}: {path} has no key that can be used", hint="Ed25519 (OKP) or oct")
    return keys


def secret_of(data: bytes, path: Path, setting: str) -> bytes:
    """Return a secret that is long enough. Raises InvalidSetting for another."""
    if len(data) < MIN_SECRET:
        raise InvalidSetting(
            f"{setting}: {path} holds a secret of {len(data)} bytes, at least {MIN_SECRET} are needed",
            hint="recorder token --new-key --alg HS256 makes one",
        )
    return data


def _of_jwk(listed: dict[str, Any], path: Path, setting: str) -> Key | None:
    kind, curve, kid = listed.get("kty"), listed.get("crv"), listed.get("kid")
    if listed.get("use", "sig") != "sig" or (kind, curve) not in (("OKP", "Ed25519"), ("oct", None)):
        return None
    algorithm = EDDSA if kind == "OKP" else HS256
    if listed.get("alg", algorithm) != algorithm:
        return None
    material = jwt.PyJWK(listed, algorithm).key
    if isinstance(material, Ed25519PrivateKey):
        material = material.public_key()
    if isinstance(material, bytes):
        material = secret_of(material, path, setting)
    return Key(algorithm, material, None if kid is None else str(kid))
