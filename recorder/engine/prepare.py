"""Prepare a published text: decode it, check it against the limits, redact secrets, compute the content digests.

Invariants: nothing here reads or changes the engine's state, so it may run in any thread and a rejected text leaves no
trace; a text is rejected as a whole; digests are computed after redaction, so no digest covers a secret. The
result has no seq yet: `numbering` assigns them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from recorder.core import json_text as jsontext
from recorder.core.chain import content_digest
from recorder.core.delta import MAX_DEPTH, Delta
from recorder.core.errors import (
    NotAllowed,
    RecorderError,
)
from recorder.core.redaction import Redactor, without_digests
from recorder.core.session_filter import Scope, Sessions
from recorder.engine.answers import closed, no_memory
from recorder.engine.threads import started_pool
from recorder.wire.decode import decode_lines, decode_text, place_of
from recorder.wire.explain import refused

LARGE_BYTES = 64 << 10
"""From how long on a text is prepared in a thread: shorter ones take a few milliseconds at most."""


THREADS = 2
"""How many such texts are prepared at once, so that one that takes seconds does not hold up all others."""


@dataclass(frozen=True, slots=True)
class PublishLimits:
    """The limits of one publish.

    Args:
        max_delta_bytes: The most the JSON text of one delta may take.
        max_message_bytes: The most a message may take.
        max_deltas: How many deltas.
        max_depth: How deeply a state may nest.
    """

    max_delta_bytes: int = 262_144
    max_message_bytes: int = 16 << 20
    max_deltas: int = 10_000
    max_depth: int = MAX_DEPTH

    def check(self, deltas: Sequence[Delta], text: bytes, *, lines: bool) -> None:
        """Check how deeply the states are nested, if the limit is lower than that of decoding.

        Args:
            deltas: What was decoded.
            text: What it was decoded from.
            lines: Whether that is NDJSON.

        Raises:
            InvalidDelta: A state nests too deeply.
        """
        for index, delta in enumerate(deltas):
            for name, state in (("before", delta.before), ("after", delta.after)):
                if state is not None and jsontext.is_deeper(state, self.max_depth):
                    at, place = place_of(text, index, name, lines=lines)
                    error = refused(None, place, f"must not nest deeper than {self.max_depth}")
                    error.index = at
                    raise error


DEFAULT_LIMITS = PublishLimits()
"""Those of the settings' defaults."""


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """A text that was looked into, and of which nothing has a place yet.

    Args:
        text: The text.
        deltas: What it holds, without secrets.
        contents: The digest of the content of each delta with an id, by index.
        redacted: How many secrets were taken out.
        lines: Whether the text is NDJSON.
        sessions: The only sessions that its publisher may write; None for all.
        error: Why nothing of it can be taken, if so.
    """

    text: bytes
    deltas: Sequence[Delta]
    contents: dict[int, bytes]
    redacted: int
    lines: bool
    sessions: Sessions
    error: RecorderError | None


class Preparer:
    """Prepare texts, at once or in a thread.

    Args:
        limits: What one publish may hold.
        redactor: Takes secrets out of states; None where none is to go.
    """

    def __init__(self, limits: PublishLimits, redactor: Redactor | None) -> None:
        self._limits = limits  # of each publish
        self._looks_for_depth = limits.max_depth < MAX_DEPTH  # else decoding has seen to it
        self._redactor = redactor  # the first step that decodes a state
        self._closed = False  # whether no thread is to be started any more
        self._threads = started_pool(THREADS, "ingest")  # prepare what is long

    async def prepare(self, text: bytes, sessions: Sessions = None, *, lines: bool = False) -> Prepared:
        """Decode a text, check it and take secrets out; in a thread where it is long, so that nobody waits for it.

        Nothing of it has a place yet: hand what is returned to `accept`.

        Args:
            text: The text.
            sessions: The only sessions that its publisher may write; None for all.
            lines: Whether it is NDJSON.

        Returns:
            The result; `accept` raises its error.
        """
        if len(text) <= LARGE_BYTES:
            return self.prepare_now(text, sessions, lines=lines)
        loop = asyncio.get_running_loop()
        try:
            work = loop.run_in_executor(self._threads, partial(self.prepare_now, text, sessions, lines=lines))
        except RuntimeError:
            if not self._closed:
                raise
            return Prepared(text, (), {}, 0, lines, None, closed())
        return await work

    def prepare_now(self, text: bytes, sessions: Sessions, *, lines: bool) -> Prepared:
        """Decode and check a text as far as possible without the engine's state. Safe in any thread: it
        changes nothing.
        """
        decode = decode_lines if lines else decode_text
        deltas: Sequence[Delta] = ()
        contents: dict[int, bytes] = {}
        redacted, refusal = 0, None
        try:
            deltas = decode(text, self._limits.max_delta_bytes, self._limits.max_deltas)
            if self._looks_for_depth:
                self._limits.check(deltas, text, lines=lines)
            if sessions is not None:
                _check_sessions(deltas, sessions, text, lines=lines)
            if self._redactor is not None:
                redacted = _redact(deltas, self._redactor)
            for index, delta in enumerate(deltas):
                if delta.id is not None:
                    contents[index] = _content_of(delta)
        except RecorderError as error:
            error.__traceback__ = error.__context__ = None
            refusal = error
        except MemoryError:
            refusal = no_memory(len(text))
        return Prepared(text, deltas, contents, redacted, lines, sessions, refusal)

    def close(self) -> None:
        """Start no more threads; what is in one goes on."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=False)


def _redact(deltas: Sequence[Delta], redactor: Redactor) -> int:
    """Take secrets out, before digests are made of the content, and before anything is kept of it; how many went."""
    redacted = 0
    for delta in deltas:
        if delta.before is not None:
            delta.before, count = redactor.redact(delta.before)
            redacted += count
        if delta.after is not None:
            delta.after, count = redactor.redact(delta.after)
            redacted += count
    return redacted


def _content_of(delta: Delta) -> bytes:
    """Return the digest of a delta's content, of what stays the same when the redactor's salt changes."""
    before = None if delta.before is None else without_digests(delta.before)
    after = None if delta.after is None else without_digests(delta.after)
    return content_digest(delta.type, delta.session_id, before, after, delta.timestamp)


def _check_sessions(
    deltas: Sequence[Delta], sessions: frozenset[str] | Scope, text: bytes, *, lines: bool
) -> None:
    """Raise NotAllowed where a delta is of a session that its publisher may not write."""
    for index, delta in enumerate(deltas):
        if delta.session_id not in sessions:
            at, place = place_of(text, index, "sessionId", lines=lines)
            raise NotAllowed(
                f"{place}: session {delta.session_id[:80]!r} is not among those of the token",
                index=at,
                place=place,
            )
