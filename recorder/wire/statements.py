"""Signed statements as JSON: what `GET /api/head`, `GET /api/receipts`, the event `head` and a log of heads carry.

The members are the statement's values in camel case, hashes as hex digits, then `key` (64 hex digits: the public key)
and `signature` (128). Whoever has such an object has all that is needed to check it, but for which keys to believe.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, TypeVar

from recorder.core.statements import ErasureReceipt, Head, PruneReceipt, Signature, Signed

Payload = TypeVar("Payload", Head, PruneReceipt, ErasureReceipt)


def signed_members(signed: Signed[Any]) -> dict[str, Any]:
    """Return the members of the JSON object; `key` and `signature` are null if it is not signed."""
    members = {
        _camel(field.name): _plain(getattr(signed.payload, field.name))
        for field in fields(type(signed.payload))
    }
    by = signed.by
    return {
        **members,
        "key": None if by is None else by.key_id,
        "signature": None if by is None else by.signature.hex(),
    }


def signed_of(kind: type[Payload], members: Any) -> Signed[Payload]:
    """Return the statement that a JSON object carries; unknown members are ignored.

    Args:
        kind: What it should be.
        members: The object, decoded.

    Raises:
        ValueError: It is not that.
    """
    if not isinstance(members, dict):
        raise ValueError("an object is wanted")
    values = [_value(members, _camel(field.name), str(field.type)) for field in fields(kind)]
    key, signature = _value(members, "key", "str | None"), _value(members, "signature", "bytes | None")
    by = None if key is None or signature is None else Signature(key, signature)
    return Signed(kind(*values), by)


def _value(members: dict[str, Any], name: str, kind: str) -> Any:
    if name not in members:
        raise ValueError(f"{name} is missing")
    value, wanted = members[name], kind.removesuffix(" | None")
    if value is None and wanted != kind:
        return None
    if wanted == "bytes" and isinstance(value, str) and re.fullmatch(r"([0-9a-f]{2})*", value):
        return bytes.fromhex(value)
    if (wanted == "int" and type(value) is int) or (wanted == "str" and isinstance(value, str)):
        return value
    raise ValueError(f"{name} is not what it should be")


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
