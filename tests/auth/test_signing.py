"""The key: made once, kept to ourselves, replaceable; and what it signs can be checked by anybody."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from recorder.auth import signing
from recorder.auth.signing import SigningKey, is_signed, known_keys, open_key, public_key
from recorder.core.errors import InvalidSetting


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "recorder" / "signing.key"


def test_a_key_is_made_on_first_use_and_is_the_same_ever_after(path: Path) -> None:
    first = open_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert open_key(path).key_id == first.key_id
    assert sorted(item.name for item in path.parent.iterdir()) == ["signing.key", "signing.key.known"]


def test_a_key_that_others_may_read_is_closed_to_them(path: Path) -> None:
    open_key(path)
    path.chmod(0o644)
    open_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_replaced_key_stays_known(path: Path) -> None:
    first = open_key(path)
    path.unlink()
    second = open_key(path)
    path.write_bytes(pem(Ed25519PrivateKey.generate()))
    assert first.key_id != second.key_id
    assert known_keys(path) == {first.key_id, second.key_id, public_key(path)}
    third = open_key(path)
    assert known_keys(path) == {first.key_id, second.key_id, third.key_id}


def test_looking_for_known_keys_makes_nothing(path: Path) -> None:
    assert known_keys(path) == frozenset()
    assert not path.parent.exists()


def test_of_two_who_make_the_key_at_once_both_get_the_first_ones(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[SigningKey] = []
    link = signing.os.link

    def late(source: str, target: Path) -> None:
        monkeypatch.setattr(signing.os, "link", link)
        others.append(open_key(path))
        link(source, target)

    monkeypatch.setattr(signing.os, "link", late)
    assert open_key(path).key_id == others[0].key_id
    assert sorted(item.name for item in path.parent.iterdir()) == ["signing.key", "signing.key.known"]


def test_what_it_signs_holds_for_that_statement_and_that_key_only(path: Path) -> None:
    key = open_key(path)
    signature = key.sign(b"so it was")
    assert is_signed(key.key_id, b"so it was", signature)
    assert not is_signed(key.key_id, b"so it is", signature)
    assert not is_signed(SigningKey(Ed25519PrivateKey.generate()).key_id, b"so it was", signature)
    assert not is_signed(key.key_id, b"so it was", signature[:-1])
    assert not is_signed(key.key_id.upper(), b"so it was", signature)
    assert not is_signed("ff" * 32, b"so it was", signature)


def test_a_stranger_checks_a_signature_with_openssl(path: Path, tmp_path: Path) -> None:
    key = open_key(path)
    # RFC 8410: what stands before the 32 bytes of an Ed25519 public key.
    der = bytes.fromhex("302a300506032b6570032100" + key.key_id)
    (tmp_path / "public.der").write_bytes(der)
    (tmp_path / "statement").write_bytes(b"so it was")
    (tmp_path / "signature").write_bytes(key.sign(b"so it was"))
    command = "openssl pkeyutl -verify -pubin -keyform DER -inkey public.der -rawin -in statement -sigfile signature"
    try:
        done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("no openssl here")
    assert done.returncode == 0, done.stderr


def pem(key: object) -> bytes:
    return key.private_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize("content", [b"", b"not a key", pem(generate_private_key(SECP256R1()))])
def test_a_file_that_holds_no_such_key_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(InvalidSetting, match=r"holds no Ed25519 key.*none to sign nothing"):
        open_key(path)
    with pytest.raises(InvalidSetting, match="Ed25519"):
        public_key(path)
    assert path.read_bytes() == content
    assert known_keys(path) == frozenset()


def test_a_key_that_cannot_be_made_or_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidSetting, match=r"KEY_FILE: .*(Not a directory|File exists)"):
        open_key(tmp_path / "file" / "signing.key")
    with pytest.raises(InvalidSetting, match="No such file"):
        public_key(tmp_path / "absent")


def test_a_public_key_in_pem_is_read_too(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    data = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "public.pem").write_bytes(data)
    assert public_key(tmp_path / "public.pem") == SigningKey(key).key_id
