"""JWTs: what is taken, and the many ways in which one is worth nothing."""

from __future__ import annotations

import base64
import hmac
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from recorder.auth.jwt import EDDSA, HS256, Key, Verifier, read_jwks, read_key
from recorder.core.errors import InvalidSetting, NotAuthenticated
from recorder.core.session_filter import Scope

SECRET = b"a secret of thirty-two bytes or more"
ED = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOW = 1_763_640_000
KEYS = [Key(HS256, SECRET), Key(EDDSA, ED.public_key())]


def verifier(keys: list[Key] = KEYS, **options: Any) -> Verifier:
    return Verifier(keys, lambda: NOW * 1000, **options)


def refused(token: str, by: Verifier | None = None) -> str:
    with pytest.raises(NotAuthenticated) as caught:
        (by or verifier()).grant(token)
    assert len(token) < 20 or token not in str(caught.value)
    return str(caught.value)


def made(claims: dict[str, Any], key: Any = SECRET, alg: str = HS256, **headers: Any) -> str:
    return jwt.encode(claims, key, alg, headers=headers)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_both_algorithms_are_taken_with_their_own_key() -> None:
    for key, alg in ((SECRET, HS256), (ED, EDDSA)):
        grant = verifier().grant(made({"role": "subscribe"}, key, alg))
        assert (grant.roles, grant.sessions, grant.expires_ms) == ({"subscribe"}, None, None)


def test_roles_and_sessions_are_read() -> None:
    grant = verifier().grant(made({"role": ["publish", "subscribe"], "sessions": ["a"], "exp": NOW + 1}))
    assert (grant.roles, grant.sessions) == ({"publish", "subscribe"}, frozenset({"a"}))
    assert grant.expires_ms == (NOW + 1) * 1000
    grant = verifier().grant(made({"role": "publish", "sessionPrefixes": ["t/"]}))
    assert grant.sessions == Scope(frozenset(), ("t/",))
    assert verifier().grant(made({"role": "publish", "sessions": []})).sessions == frozenset()


def test_the_algorithm_is_the_keys_and_not_what_the_token_says() -> None:
    public = ED.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = part({"role": "admin"})
    for alg in ("none", "None", "NONE", "HS384", "RS256", "ES256", "", None, ["HS256"], {}):
        assert "not known" in refused(f"{part({'alg': alg, 'typ': 'JWT'})}.{claims}.")
    # The public key as if it were a secret: the classic confusion.
    text = f"{part({'alg': 'HS256'})}.{claims}"
    for secret in (public, public.strip(), ED.public_key().public_bytes_raw()):
        signature = (
            base64.urlsafe_b64encode(hmac.digest(secret, text.encode(), "sha256")).decode().rstrip("=")
        )
        assert "not known" in refused(f"{text}.{signature}", verifier([Key(EDDSA, ED.public_key())]))


def test_a_token_signed_by_somebody_else_or_changed_is_worth_nothing() -> None:
    token = made({"role": "subscribe"})
    head, claims, signature = token.split(".")
    for other in (
        made({"role": "admin"}, b"another secret of thirty-two bytes.."),
        made({"role": "admin"}, Ed25519PrivateKey.generate(), EDDSA),
        f"{head}.{part({'role': 'admin'})}.{signature}",
        f"{head}.{claims}.",
        f"{head}.{claims}",
        f"{head}.{claims}.{signature}.x",
        f"{part({'alg': 'HS256', 'crit': ['exp']})}.{claims}.{signature}",
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        f"{part({'alg': 'HS256', 'kid': 5})}.{claims}.{signature}",
        f"{base64.urlsafe_b64encode(b'[' * 5000).decode()}.{claims}.{signature}",
        f"{base64.urlsafe_b64encode(b'[' * 5000).decode()}.{'x' * 3}.{signature}",
    ):
        assert "not known" in refused(other)


def test_a_key_is_found_by_its_name_and_one_without_a_name_serves_all() -> None:
    named = [Key(HS256, b"1" * 32, "one"), Key(HS256, b"2" * 32, "two"), Key(HS256, b"3" * 32)]
    by = verifier(named)
    assert by.grant(made({"role": "admin"}, b"2" * 32, kid="two"))
    assert by.grant(made({"role": "admin"}, b"2" * 32))
    assert by.grant(made({"role": "admin"}, b"3" * 32, kid="whatever"))
    assert "not known" in refused(made({"role": "admin"}, b"2" * 32, kid="one"), by)


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({}, "role must be"),
        ({"role": "root"}, "role must be"),
        ({"role": []}, "role must be"),
        ({"role": ["admin", "root"]}, "role must be"),
        ({"role": [["admin"]]}, "role must be"),
        ({"role": {"admin": 1}}, "role must be"),
        ({"role": None}, "role must be"),
        ({"role": "admin", "sessions": ["a"]}, "admin is for all sessions"),
        ({"role": "publish", "sessions": "a"}, "sessions must be an array"),
        ({"role": "publish", "sessions": None}, "sessions must be an array"),
        ({"role": "publish", "sessions": [1]}, "sessions must be an array"),
        ({"role": "publish", "sessionPrefixes": [""]}, "sessionPrefixes must be an array"),
        ({"role": "publish", "sessions": ["\ud800"]}, "lone surrogates"),
        ({"role": "publish", "exp": "soon"}, "exp must be a number"),
        ({"role": "publish", "exp": None}, "exp must be a number"),
        ({"role": "publish", "exp": True}, "exp must be a number"),
        ({"role": "publish", "exp": float("inf")}, "exp must be a number"),
        ({"role": "publish", "exp": float("nan")}, "exp must be a number"),
        ({"role": "publish", "exp": 10**400}, "exp must be a number"),
        ({"role": "publish", "nbf": [1]}, "nbf must be a number"),
        ({"role": "publish", "exp": NOW}, "has expired"),
        ({"role": "publish", "exp": 0}, "has expired"),
        ({"role": "publish", "exp": -1}, "exp must be a number"),
        ({"role": "publish", "nbf": NOW + 1}, "not valid yet"),
        ({"role": "publish", "aud": "other"}, "not valid"),
    ],
)
def test_a_claim_that_cannot_be_read_makes_all_of_it_worthless(claims: dict[str, Any], said: str) -> None:
    text = f"{part({'alg': 'HS256'})}.{part(claims)}"
    signature = base64.urlsafe_b64encode(hmac.digest(SECRET, text.encode(), "sha256")).decode().rstrip("=")
    assert said in refused(f"{text}.{signature}")


def test_audience_and_issuer_are_checked_where_they_are_set() -> None:
    by = verifier(audience="recorder", issuer="us")
    assert by.grant(made({"role": "admin", "aud": ["x", "recorder"], "iss": "us"}))
    for claims in (
        {},
        {"aud": "recorder"},
        {"iss": "us"},
        {"aud": "x", "iss": "us"},
        {"aud": 5, "iss": "us"},
    ):
        assert "not valid" in refused(made({"role": "admin", **claims}), by)


@given(
    st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}")
)
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    refused(text)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists), st.data())
def test_any_claims_grant_what_they_say_or_nothing(value: Any, data: st.DataObject) -> None:
    name = data.draw(
        st.sampled_from(["role", "sessions", "sessionPrefixes", "exp", "nbf", "iat", "aud", "iss"])
    )
    text = f"{part({'alg': 'HS256'})}.{part({'role': 'publish', name: value})}"
    signature = base64.urlsafe_b64encode(hmac.digest(SECRET, text.encode(), "sha256")).decode().rstrip("=")
    try:
        grant = verifier().grant(f"{text}.{signature}")
    except NotAuthenticated:
        return
    assert grant.roles <= {"subscribe", "publish", "admin"}
    assert name != "sessions" or grant.sessions == frozenset(value)


def test_a_token_is_taken_a_little_before_its_time_and_after_it_since_clocks_differ() -> None:
    by = verifier(leeway_ms=30_000)
    assert by.grant(made({"role": "subscribe", "nbf": NOW + 30}))
    assert "its nbf lies 31 s ahead" in refused(made({"role": "subscribe", "nbf": NOW + 31}), by)
    assert by.grant(made({"role": "subscribe", "exp": NOW - 29}))
    assert "has expired" in refused(made({"role": "subscribe", "exp": NOW - 30}), by)


def test_what_is_begun_before_the_end_ends_then_and_what_is_begun_in_the_leeway_with_it() -> None:
    by = verifier(leeway_ms=30_000)
    assert by.grant(made({"role": "subscribe", "exp": NOW + 5})).expires_ms == (NOW + 5) * 1000
    assert by.grant(made({"role": "subscribe", "exp": NOW - 5})).expires_ms == (NOW + 25) * 1000


SIGNER = Ed25519PrivateKey.generate()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


OKP = {"kty": "OKP", "crv": "Ed25519", "x": b64(SIGNER.public_key().public_bytes_raw())}
OCT = {"kty": "oct", "k": b64(b"s" * 32)}


def jwks(folder: Path, content: Any) -> Path:
    path = folder / "jwks.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_public_key_is_for_eddsa_and_anything_else_is_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(SIGNER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
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
        (SIGNER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "is a private key"),
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
    private = {**OKP, "d": b64(SIGNER.private_bytes_raw())}
    found = read_jwks(jwks(tmp_path, {"keys": [{**OKP, "kid": "a"}, *others, OCT, private]}), "X")
    assert [(key.algorithm, key.kid) for key in found] == [(EDDSA, "a"), (HS256, None), (EDDSA, None)]
    assert {type(key.material) for key in found} == {type(SIGNER.public_key()), bytes}


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
