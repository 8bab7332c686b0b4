"""Keys out of files: what is taken, and one clear line for what is not."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from recorder.auth.jwt_keys import EDDSA, HS256, read_jwks, read_key
from recorder.core.errors import InvalidSetting

ED = Ed25519PrivateKey.generate()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


OKP = {"kty": "OKP", "crv": "Ed25519", "x": b64(ED.public_key().public_bytes_raw())}
OCT = {"kty": "oct", "k": b64(b"s" * 32)}


def jwks(folder: Path, content: Any) -> Path:
    path = folder / "jwks.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_public_key_is_for_eddsa_and_anything_else_is_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(ED.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert read_key(path, "X").algorithm == EDDSA
    path.write_bytes(b"  " + b"s" * 32 + b"\n")
    key = read_key(path, "X")
    assert (key.algorithm, key.material) == (HS256, b"s" * 32)
    assert "sss" not in repr(key)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "0 bytes, at least 32"),
        (b"s" * 31 + b"\n", "31 bytes, at least 32"),
        (ED.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "is a private key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is no key in PEM"),
        (
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "is not an Ed25519 key",
        ),
    ],
)
def test_what_is_no_key_is_refused_by_the_settings_name(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(InvalidSetting, match=r"^JWT_KEY_FILE: ") as refused:
        read_key(path, "JWT_KEY_FILE")
    assert said in str(refused.value)
    with pytest.raises(InvalidSetting, match="No such file"):
        read_key(tmp_path / "none", "JWT_KEY_FILE")


def test_a_jwks_gives_the_keys_that_can_be_used_and_passes_over_the_rest(tmp_path: Path) -> None:
    others = [
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {**OKP, "use": "enc"},
        {**OKP, "crv": "X25519"},
        {**OCT, "alg": "HS512"},
    ]
    private = {**OKP, "d": b64(ED.private_bytes_raw())}
    found = read_jwks(jwks(tmp_path, {"keys": [{**OKP, "kid": "a"}, *others, OCT, private]}), "X")
    assert [(key.algorithm, key.kid) for key in found] == [(EDDSA, "a"), (HS256, None), (EDDSA, None)]
    assert {type(key.material) for key in found} == {type(ED.public_key()), bytes}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "5",
        "{}",
        "[" * 100_000,
        {"keys": 5},
        {"keys": [5]},
        {"keys": []},
        {"keys": [{**OKP, "x": "A"}]},
        {"keys": [{"kty": "oct"}]},
        {"keys": [{**OCT, "k": b64(b"short")}]},
        {"keys": [{"kty": "RSA"}]},
    ],
)
def test_what_is_no_jwks_is_refused_in_one_line(content: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"^JWT_JWKS_FILE: ") as refused:
        read_jwks(jwks(tmp_path, content), "JWT_JWKS_FILE")
    assert "\n" not in str(refused.value)
