"""`recorder token`: a token that nobody guesses, or a JWT, or the key that JWTs are signed with.

Only the token goes to stdout, so that it can be put into a file or a variable without being seen. Nothing is sent
anywhere: the recorder learns of a token by its settings, and of a JWT by its signature.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import jwt
import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from recorder.auth.grants import ROLES
from recorder.auth.jwt import EDDSA, HS256, secret_of
from recorder.cli import console
from recorder.cli.options import JsonOption
from recorder.config.files import file_of_setting
from recorder.core.errors import InvalidSetting, NotAllowed

TOKEN_BYTES = 32
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def token(
    sign_with: Annotated[
        Path | None,
        typer.Option(
            "--sign-with", metavar="FILE", help="Make a JWT, signed with this key.", show_default=False
        ),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE", help=f"For a JWT: {', '.join(ROLES)}; may be repeated."),
    ] = None,
    session: Annotated[
        list[str] | None,
        typer.Option("--session", metavar="ID", help="For a JWT: for this session; may be repeated."),
    ] = None,
    prefix: Annotated[
        list[str] | None,
        typer.Option(
            "--prefix", metavar="TEXT", help="For a JWT: for sessions that begin so; may be repeated."
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="For a JWT: its lifetime (90s, 15m, 8h, 30d)."),
    ] = None,
    audience: Annotated[str | None, typer.Option("--audience", help="For a JWT: the claim aud.")] = None,
    issuer: Annotated[str | None, typer.Option("--issuer", help="For a JWT: the claim iss.")] = None,
    kid: Annotated[
        str | None, typer.Option("--kid", help="For a JWT: the name of the key in a JWKS.")
    ] = None,
    new_key: Annotated[
        Path | None,
        typer.Option("--new-key", metavar="FILE", help="Make a key for JWTs instead, in a new file."),
    ] = None,
    alg: Annotated[str, typer.Option("--alg", help=f"What the new key is for: {EDDSA} or {HS256}.")] = EDDSA,
    json: JsonOption = False,
) -> None:
    """Make a token.

    With no option: a random one, for SUBSCRIBE_TOKENS, PUBLISH_TOKENS or ADMIN_TOKENS (or their files).
    """
    claims = {
        "role": role,
        "sessions": session,
        "sessionPrefixes": prefix,
        "exp": None if expires is None else int(time.time()) + _seconds(expires),
        "aud": audience,
        "iss": issuer,
    }
    if new_key is not None:
        _make_key(new_key, alg)
    elif sign_with is not None:
        _show(_signed(sign_with, claims, kid), as_json=json)
    elif any(value is not None for value in (*claims.values(), kid)):
        raise typer.BadParameter("is needed for a token that says something", param_hint="--sign-with")
    else:
        _show(secrets.token_urlsafe(TOKEN_BYTES), as_json=json)


def _show(token: str, *, as_json: bool) -> None:
    # Alone on its line in a pipe, too: what is wanted is TOKEN=$(recorder token).
    if as_json:
        console.json_line({"token": token})
    else:
        console.out_line(token)


def _signed(path: Path, claims: Mapping[str, Any], kid: str | None) -> str:
    roles = claims["role"] or []
    if not roles or not set(roles) <= set(ROLES):
        raise typer.BadParameter(f"one or more of {', '.join(ROLES)}", param_hint="--role")
    if "admin" in roles and (claims["sessions"] or claims["sessionPrefixes"]):
        raise typer.BadParameter("admin is for all sessions", param_hint="--role")
    algorithm, key = _signing_key(path)
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(given, key, algorithm, headers=None if kid is None else {"kid": kid})


def _signing_key(path: Path) -> tuple[str, Ed25519PrivateKey | bytes]:
    data = file_of_setting(path, "--sign-with").strip()
    if not data.startswith(b"-----BEGIN"):
        return HS256, secret_of(data, path, "--sign-with")
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidSetting(f"--sign-with: {path} is no private key in PEM: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidSetting(f"--sign-with: {path} is not an Ed25519 key", hint="--new-key makes one")
    return EDDSA, key


def _make_key(path: Path, algorithm: str) -> None:
    if algorithm == HS256:
        _write(path, secrets.token_urlsafe(TOKEN_BYTES).encode() + b"\n", 0o600)
        console.print_status(
            f"wrote {path}: give it to the recorder as JWT_KEY_FILE, and keep it as secret as what it opens"
        )
        return
    if algorithm != EDDSA:
        raise typer.BadParameter(f"{EDDSA} or {HS256}", param_hint="--alg")
    key = Ed25519PrivateKey.generate()
    public = path.with_name(path.name + ".pub")
    _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    console.print_status(
        f"wrote {path}, which signs tokens, and {public}: give that one to the recorder as JWT_KEY_FILE"
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    # A key that is there may be in use: never over it, and never readable by others, not even at first.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise NotAllowed(f"{path} exists and is not overwritten", hint="choose another name") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not of the form 90s, 15m, 8h or 30d", param_hint="--expires")
    return int(match[1]) * _UNITS[match[2]]
