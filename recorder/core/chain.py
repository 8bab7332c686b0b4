"""The hash chain: each entry's hash covers the hash before it and every stored column.

The recipe, for a stranger who wants to verify a file on his own:

    hash(n) = SHA-256( hash(n-1) ‖ field(TAG) ‖ field(seq) ‖ field(session_id) ‖ field(delta_type)
                       ‖ field(digest(before_state)) ‖ field(digest(after_state))
                       ‖ field(timestamp) ‖ field(created_at) ‖ field(delta_id) ‖ field(id_digest)
                       ‖ field(before_filled) ‖ field(lineage) )

`hash(0)` is 32 zero bytes; after an entry without a hash (the chain was off) it begins there again. `field(x)` is
the length of x in four bytes, big endian, then x; a NULL is the length 0xFFFFFFFF and nothing else. TAG is the text
`recorder/chain/1`. Texts are UTF-8, numbers decimal ASCII, booleans `0` or `1`, hashes their bytes, `digest(s)` is
SHA-256 of the state's text. Lengths make it unambiguous (no separator could be forged), the tag names the version
of the recipe, and states enter by their digests, so that their content can be erased while the chain still verifies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from struct import pack

TAG = b"recorder/chain/1"
GENESIS = bytes(32)

Extras = tuple[str | None, bytes | None, bool, str | None]
"""What most entries have none of: delta_id, id_digest, before_filled, lineage."""

Erased = tuple[bytes | None, bytes | None]
"""The digests of before and after that an erasure has left, None where there was no state."""

_NULL = b"\xff\xff\xff\xff"
_SHORT = [pack(">I", length) for length in range(1024)]
_TAG_FIELD = _SHORT[len(TAG)] + TAG
_DIGEST_LENGTH = _SHORT[32]
_sha256 = hashlib.sha256


def digest(text: str) -> bytes:
    """Return the SHA-256 of a text's UTF-8 (32 bytes)."""
    return _sha256(text.encode()).digest()


def field(value: bytes | None) -> bytes:
    """Return a value prefixed with its length; None has its own marker."""
    if value is None:
        return _NULL
    length = len(value)
    return (_SHORT[length] if length < 1024 else pack(">I", length)) + value


def _text_field(text: str) -> bytes:
    return field(text.encode())


def _text_fields(texts: tuple[str, str]) -> bytes:
    return _text_field(texts[0]) + _text_field(texts[1])


# Names come again and again; and who publishes fast publishes many deltas in one millisecond.
_name_fields = lru_cache(maxsize=4096)(_text_fields)
_time_fields = lru_cache(maxsize=256)(_text_fields)


def link(
    previous: bytes,
    seq: int,
    names: tuple[str, str],
    digests: tuple[bytes | None, bytes | None],
    times: tuple[str, str],
    extras: Extras,
) -> bytes:
    """Return the hash of one entry.

    Args:
        previous: The hash before it (32 bytes); `GENESIS` for the first.
        seq: Its number.
        names: session_id and delta_type.
        digests: Of before_state and after_state, None where there is none.
        times: timestamp and created_at.
        extras: delta_id, id_digest, before_filled, lineage.

    Returns:
        32 bytes.
    """
    before, after = digests
    # On the hot path: what entries have in common is made once.
    number = b"%d" % seq
    return _sha256(
        b"".join(
            (
                previous,
                _TAG_FIELD,
                _SHORT[len(number)],
                number,
                _name_fields(names),
                _NULL if before is None else _DIGEST_LENGTH + before,
                _NULL if after is None else _DIGEST_LENGTH + after,
                _time_fields(times),
                _PLAIN if extras == PLAIN else _extra_fields(*extras),
            )
        )
    ).digest()


def content(columns: Sequence[bytes | None]) -> bytes:
    """Return the part of an entry that is hashed independently of its position: all fields but the first
    three.

    Args:
        columns: session_id to lineage, in the order of the recipe: texts as UTF-8, states by their digests, flags as
            `0` or `1`.
    """
    # `field` written out: a million entries are verified by this.
    return b"".join(
        [
            _NULL if value is None else _SHORT[len(value)] + value if len(value) < 1024 else field(value)
            for value in columns
        ]
    )


def link_content(previous: bytes, seq: int, content: bytes) -> bytes:
    """Return the hash of an entry at a position, like `link`, from its prepared `content`.

    Args:
        previous: The hash before that place.
        seq: The place.
        content: What `content` returns.

    Returns:
        32 bytes.
    """
    number = b"%d" % seq
    return _sha256(b"".join((previous, _TAG_FIELD, _SHORT[len(number)], number, content))).digest()


def _extra_fields(delta_id: str | None, id_digest: bytes | None, filled: bool, lineage: str | None) -> bytes:
    return b"".join(
        (
            field(None if delta_id is None else delta_id.encode()),
            field(id_digest),
            field(b"1" if filled else b"0"),
            field(None if lineage is None else lineage.encode()),
        )
    )


PLAIN: Extras = (None, None, False, None)
"""The extras of an entry without any."""
_PLAIN = _extra_fields(*PLAIN)


def content_digest(
    kind: str, session_id: str, before: str | None, after: str | None, timestamp: str | None
) -> bytes:
    """Return the digest of a delta's content as sent: a repeated id must have the same digest.

    Args:
        kind: Its type.
        session_id: Its session.
        before: Text of the state before, None if it was not sent.
        after: Text of the state after, None if it was not sent.
        timestamp: Fixed-width form, None if it was not sent.

    Returns:
        32 bytes.
    """
    values = (kind, session_id, before, after, timestamp)
    return _sha256(b"".join([field(None if v is None else v.encode()) for v in values])).digest()
