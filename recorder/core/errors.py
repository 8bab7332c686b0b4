"""Every error the recorder raises on purpose, in one tree.

The wire, HTTP and the command line all derive their codes from here; there is no second table.

    RecorderError                 code               HTTP  close  retry
    ├─ InvalidSetting             invalid_setting     400    -    no
    ├─ InvalidDelta               invalid_delta       422    -    no
    │  ├─ InvalidJson             invalid_json        400    -    no
    │  └─ DeltaTooLarge           delta_too_large     413    -    no
    ├─ MessageTooLarge            message_too_large   413  1009    no
    ├─ Conflict                   conflict            409    -    no
    ├─ InvalidRequest             invalid_request     400    -    no
    ├─ InvalidQuery               invalid_query       400    -    no
    │  └─ InvalidCursor           invalid_cursor      400    -    no
    ├─ BadSubscription            bad_subscription    400  4400    no
    ├─ UnsupportedMediaType       unsupported_media   415    -    no
    ├─ TooManyDeltas              too_many_deltas     413    -    no
    ├─ NotFound                   not_found           404    -    no
    │  └─ Pruned                  pruned              404    -    no
    ├─ MethodNotAllowed           method_not_allowed  405    -    no
    ├─ UpgradeRequired            upgrade_required    426    -    no
    ├─ NotAuthenticated           not_authenticated   401  4401    no
    ├─ NotAllowed                 not_allowed         403  4403    no
    ├─ NotRecording               not_recording       409    -    no
    ├─ ClockDoubtful              clock_doubtful      409    -    no
    ├─ TooSlow                    too_slow              -  4408    yes
    ├─ TooMany                    too_many            429  4429    yes
    │  └─ RateLimited             rate_limited        429    -    yes
    ├─ RequestTimeout             request_timeout     408    -    yes
    ├─ StorageFull                storage_full        507    -    yes
    ├─ Unavailable                unavailable         503  1012    yes
    │  ├─ NotReady                not_ready           503    -    yes
    │  ├─ OutOfMemory             out_of_memory       503    -    yes
    │  └─ Closed                  closed              503  1001    yes
    ├─ StoreError                 store_error         503    -    yes
    │  ├─ OutcomeUnknown          outcome_unknown     503    -    yes
    │  ├─ StoreUnreadable         store_unreadable    503    -    no
    │  │  └─ StoreDamaged         store_damaged       503    -    no
    │  └─ StoreLocked             store_locked        503    -    no
    ├─ SourceError                source_error        422    -    no
    ├─ ClientError                client_error          -    -    no
    ├─ WrongEventLoop             wrong_event_loop    500    -    no
    └─ InternalError              internal_error      500    -    no

A code is never reused for another meaning. `place` says where in the input ("[2].after", "line 7").
"""

from __future__ import annotations

import errno
from typing import ClassVar


class RecorderError(Exception):
    """Base of everything raised on purpose.

    Args:
        message: What was wrong, in one line a person can act on.
        hint: What to do about it; appended to the message for people, a field of its own for programs.
        index: For an array or NDJSON: the position (from 0) of the delta that was refused.
        place: Where in the input it was ("[2].after", "line 7").
    """

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    close_code: ClassVar[int | None] = None
    retry: ClassVar[bool] = False

    def __init__(
        self, message: str, *, hint: str | None = None, index: int | None = None, place: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.index = index
        self.place = place

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InvalidSetting(RecorderError):
    """A setting has a value outside its range, or is not known."""

    code, http_status = "invalid_setting", 400


class InvalidDelta(RecorderError):
    """A delta breaks a rule of the protocol."""

    code, http_status = "invalid_delta", 422


class InvalidJson(InvalidDelta):
    """The text is not JSON."""

    code, http_status = "invalid_json", 400


class DeltaTooLarge(InvalidDelta):
    """The JSON text of one delta is longer than MAX_DELTA_BYTES."""

    code, http_status = "delta_too_large", 413


class MessageTooLarge(RecorderError):
    """A WebSocket message or HTTP body is longer than MAX_MESSAGE_BYTES."""

    code, http_status, close_code = "message_too_large", 413, 1009


class Conflict(RecorderError):
    """An id was used before, with different content."""

    code, http_status = "conflict", 409


class InvalidRequest(RecorderError):
    """The request is not HTTP/1.1, or its head is too long."""

    code, http_status = "invalid_request", 400


class InvalidQuery(RecorderError):
    """A query parameter is unknown, malformed or out of range."""

    code, http_status = "invalid_query", 400


class InvalidCursor(InvalidQuery):
    """A cursor is not from this server, or is for another query."""

    code = "invalid_cursor"


class BadSubscription(RecorderError):
    """A subscription cannot be understood."""

    code, http_status, close_code = "bad_subscription", 400, 4400


class UnsupportedMediaType(RecorderError):
    """A request body of a media type that is not supported."""

    code, http_status = "unsupported_media", 415


class TooManyDeltas(RecorderError):
    """One publish has more than MAX_DELTAS_PER_MESSAGE. Split it; sending it again does not help."""

    code, http_status = "too_many_deltas", 413


class NotFound(RecorderError):
    """Nothing with that name is recorded, or there is no such route."""

    code, http_status = "not_found", 404


class Pruned(NotFound):
    """It was recorded, and has since been removed by retention."""

    code = "pruned"


class MethodNotAllowed(RecorderError):
    """The route exists and does not allow this HTTP method."""

    code, http_status = "method_not_allowed", 405


class UpgradeRequired(RecorderError):
    """A WebSocket route was requested without an upgrade."""

    code, http_status = "upgrade_required", 426


class NotAuthenticated(RecorderError):
    """A token is missing, invalid or expired."""

    code, http_status, close_code = "not_authenticated", 401, 4401
    has_token: bool = True  # whether a token was shown, which is then the one that is wrong


class NotAllowed(RecorderError):
    """The Origin, the Host, the role or the sessions of the token do not permit it."""

    code, http_status, close_code = "not_allowed", 403, 4403


class NotRecording(RecorderError):
    """The operation needs a recording, and recording is off (PERSIST is not 1)."""

    code, http_status = "not_recording", 409


class ClockDoubtful(RecorderError):
    """Pruning by age was not run: the clock could not be confirmed. Nothing was removed."""

    code, http_status = "clock_doubtful", 409


class TooSlow(RecorderError):
    """A reader was slower than its events for too long."""

    code, close_code, retry = "too_slow", 4408, True


class TooMany(RecorderError):
    """Too many at once: connections, upgrades, event streams, queries."""

    code, http_status, retry = "too_many", 429, True
    close_code: ClassVar[int | None] = 4429


class RateLimited(TooMany):
    """A publisher or subscriber exceeds its rate limit. Nothing was recorded."""

    code, close_code = "rate_limited", None


class RequestTimeout(RecorderError):
    """A request, or its body, did not arrive in time."""

    code, http_status, retry = "request_timeout", 408, True


class StorageFull(RecorderError):
    """The recording has reached MAX_MEMORY. Publishes are rejected until something is removed."""

    code, http_status, retry = "storage_full", 507, True


class Unavailable(RecorderError):
    """The recorder is loading, failing or overloaded. The same call may succeed later."""

    code, http_status, retry = "unavailable", 503, True
    close_code: ClassVar[int | None] = 1012


class NotReady(Unavailable):
    """The answer of /readyz while loading, while snapshots keep failing and while stopping."""

    code, close_code = "not_ready", None


class OutOfMemory(Unavailable):
    """The process ran out of memory for this call. Nothing was done."""

    code, close_code = "out_of_memory", None


class Closed(Unavailable):
    """The object was closed, or is being closed."""

    code, close_code = "closed", 1001


class StoreError(RecorderError):
    """The database failed."""

    code, http_status, retry = "store_error", 503, True


class OutcomeUnknown(StoreError):
    """The disk failed, and it is unknown which deltas it has. Publish them again with the same ids."""

    code = "outcome_unknown"


class StoreUnreadable(StoreError):
    """The file at DB_PATH cannot be used. It is left untouched."""

    code, retry = "store_unreadable", False


class StoreDamaged(StoreUnreadable):
    """The file at DB_PATH is torn or damaged. It is left untouched; --allow-data-loss keeps what can be saved."""

    code = "store_damaged"


class StoreLocked(StoreError):
    """Another process has the file."""

    code, retry = "store_locked", False


class SourceError(RecorderError):
    """A record of a log that is being imported cannot be turned into a delta."""

    code, http_status = "source_error", 422


class ClientError(RecorderError):
    """The client was rejected for good, or used wrongly."""

    code = "client_error"


class WrongEventLoop(RecorderError):
    """Something was called on another event loop, or in another thread, than the one it belongs to."""

    code, http_status = "wrong_event_loop", 500


class InternalError(RecorderError):
    """A bug of the recorder. The HTTP answer has no details, the log has all of them."""

    code = "internal_error"


def lack_of(error: BaseException) -> OutOfMemory | None:
    """Return what to say of an error that comes from a lack of memory or of threads; None for any other error.

    Python tells of both in its own ways: a MemoryError has no text, a thread that cannot be started is a RuntimeError,
    and a library that finds no room is an ImportError.
    """
    text = str(error)
    is_memory = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    if is_memory or (isinstance(error, ImportError) and "failed to map segment" in text):
        return OutOfMemory(
            "there is not enough memory",
            hint="give the process more; MAX_MEMORY bounds what a recording takes",
        )
    if isinstance(error, RuntimeError) and "can't start new thread" in text:
        return OutOfMemory("no thread can be started", hint="raise the limit of memory or of tasks")
    return None


def _all_subclasses(cls: type[RecorderError]) -> list[type[RecorderError]]:
    found = [cls]
    for sub in cls.__subclasses__():
        found += _all_subclasses(sub)
    return found


BY_CODE: dict[str, type[RecorderError]] = {cls.code: cls for cls in _all_subclasses(RecorderError)}
"""Error classes by their code. Two classes with one code would make it ambiguous, so the import fails."""

if len(BY_CODE) != len(_all_subclasses(RecorderError)):  # pragma: no cover - a programming error
    raise ImportError("two error classes share a code in recorder/core/errors.py")
