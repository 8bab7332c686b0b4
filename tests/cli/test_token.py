"""`recorder token`: what it makes is what the recorder takes."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from recorder.auth.jwt import read_key
from recorder.auth.tokens import authority_of
from recorder.config.settings import load_settings
from recorder.config.validators import Tokens
from recorder.core.clock import SystemClock
from recorder.core.session_filter import Scope

Invoke = Callable[..., tuple[int, bytes, str]]


def test_a_token_is_random_long_and_of_characters_that_travel(invoke: Invoke) -> None:
    made = {invoke("token")[1].decode() for _ in range(20)}
    assert len(made) == 20
    for line in made:
        assert len(line.strip()) == 43
        assert Tokens().parse(line.strip()) == (line.strip(),)


@pytest.mark.parametrize("alg", ["EdDSA", "HS256"])
def test_a_jwt_signed_with_a_new_key_is_taken_by_the_recorder(
    alg: str, invoke: Invoke, tmp_path: Path
) -> None:
    key = tmp_path / "jwt.key"
    assert invoke("token", "--new-key", str(key), "--alg", alg)[:2] == (0, b"")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    code, out, _ = invoke(
        *("token", "--sign-with", str(key), "--role", "publish", "--role", "subscribe"),
        *("--session", "a", "--prefix", "team/", "--expires", "8h", "--kid", "k1"),
    )
    assert code == 0
    checked_with = key.with_name("jwt.key.pub") if alg == "EdDSA" else key
    now = SystemClock().now_ms()
    grant = authority_of(load_settings(jwt_key_file=checked_with), lambda: now).grant(
        [f"Bearer {out.decode()}"]
    )
    assert grant.roles == {"publish", "subscribe"}
    assert grant.sessions == Scope(frozenset({"a"}), ("team/",))
    assert grant.expires_ms is not None
    assert 0 <= grant.expires_ms - now - 8 * 3_600_000 + 60_000 <= 120_000
    assert jwt.get_unverified_header(out.decode().strip())["kid"] == "k1"
    # A key that may be in use is never written over.
    before = key.read_bytes()
    code, _, err = invoke("token", "--new-key", str(key), "--alg", alg)
    assert (code, "exists and is not overwritten" in err, key.read_bytes()) == (1, True, before)


def test_the_recorder_needs_no_private_key(invoke: Invoke, tmp_path: Path) -> None:
    key = tmp_path / "jwt.key"
    invoke("token", "--new-key", str(key))
    with pytest.raises(Exception, match="is a private key"):
        read_key(key, "JWT_KEY_FILE")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--role", "admin"], "--sign-with"),
        (["--sign-with", "none"], "--role"),
        (["--sign-with", "none", "--role", "root"], "--role"),
        (["--sign-with", "none", "--role", "admin", "--session", "a"], "admin is for all sessions"),
        (["--sign-with", "none", "--role", "admin"], "No such file"),
        (["--sign-with", "none", "--role", "admin", "--expires", "soon"], "90s, 15m, 8h or 30d"),
        (["--new-key", "x", "--alg", "RS256"], "EdDSA or HS256"),
    ],
)
def test_a_wrong_question_is_answered_in_one_line(arguments: list[str], said: str, invoke: Invoke) -> None:
    code, out, err = invoke("token", *arguments)
    assert (code, out, err.count("\n")) == (2, b"", 1)
    assert said in err


def test_a_key_of_another_kind_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    for content in (b"short", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        (tmp_path / "key").write_bytes(content)
        code, out, err = invoke("token", "--sign-with", str(tmp_path / "key"), "--role", "admin")
        assert (code, out, "--sign-with" in err) == (2, b"", True)
