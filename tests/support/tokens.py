"""Tokens for tests: listed ones for each role, and JWTs of a secret in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt

SUBSCRIBER, PUBLISHER, ADMIN = "subscriber-token-1", "publisher-token-1", "admin-token-1"
LISTED = {"subscribe_tokens": SUBSCRIBER, "publish_tokens": PUBLISHER, "admin_tokens": ADMIN}
"""Settings with a token for each role."""

SECRET = "a-secret-of-thirty-two-bytes-or-more"


def key_file(folder: Path) -> Path:
    """A file with `SECRET`."""
    path = folder / "jwt.key"
    path.write_text(SECRET)
    return path


def signed(role: str | list[str] = "subscribe", **claims: Any) -> str:
    """A JWT of `SECRET`."""
    return jwt.encode({"role": role, **claims}, SECRET, algorithm="HS256")


def bearer(token: str | None) -> dict[str, str]:
    """The header that shows a token; none for None."""
    return {} if token is None else {"authorization": f"Bearer {token}"}
