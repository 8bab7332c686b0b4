"""The keys that JWTs are checked with, out of files: a secret (HS256), a public key (EdDSA), or a set of them (JWKS).

Each key is for one algorithm, which follows from what the key is and not from what a token says of itself: a public key
can never be taken for a secret.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from recorder.core.errors import InvalidSetting

HS256, EDDSA = "HS256", "EdDSA"
MIN_SECRET = 32
"""The fewest bytes of a secret for HS256 (RFC 7518, section 3.2)."""


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
        """The same for the same key, whenever it was read; without the secret."""
        raw = self.material if isinstance(self.material, bytes) else self.material.public_bytes_raw()
        return self.algorithm, hashlib.sha256(raw).digest(), self.kid

    def __repr__(self) -> str:
        return f"Key({self.algorithm}, kid={self.kid})"  # never the secret


def read_key(path: Path, setting: str) -> Key:
    """The key in a file: PEM of an Ed25519 public key, or else a secret of 32 bytes or more.

    Args:
        path: The file.
        setting: Which setting named it, for errors.

    Raises:
        InvalidSetting: It cannot be read, or is neither.
    """
    data = read_file(path, setting).strip()
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
    """The keys of a JWKS file (RFC 7517); those of kinds that are not used here are passed over.

    Raises:
        InvalidSetting: It cannot be read, or holds no key that can be used.
    """
    try:
        listed = json.loads(read_file(path, setting))["keys"]
        keys = [key for one in listed if (key := _of_jwk(one, path, setting)) is not None]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, jwt.PyJWTError) as error:
        raise InvalidSetting(f"{setting}: {path} is no JWKS: {type(error).__name__}: {error}") from None
    if not keys:
        raise InvalidSetting(f"{setting}: {path} has no key that can be used", hint="Ed25519 (OKP) or oct")
    return keys


def read_file(path: Path, setting: str) -> bytes:
    """A file's bytes. Raises InvalidSetting."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidSetting(
            f"{setting}: {path}: {error.strerror}", hint="mend the path or its mode"
        ) from None


def secret_of(data: bytes, path: Path, setting: str) -> bytes:
    """A secret that is long enough. Raises InvalidSetting for another."""
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
