"""The options of a client, times in seconds (`…_s`) and sizes in bytes (`…_bytes`); and how long to wait before
the next try.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from recorder.core.clock import Clock, SystemClock
from recorder.core.errors import ClientError


class Backoff:
    """The delays between tries: exponential, with full jitter, without a clock of its own.

    Full jitter (anything between nothing and the bound) keeps a thousand clients of a server that restarts from coming
    back in the same instant. Only a connection that held for a while starts the count afresh, so that a server which
    accepts and drops at once is not hammered.

    Args:
        base_s: Bound of the first delay, in seconds.
        cap_s: The bound doubles with each try up to this, in seconds.
        stable_s: A connection that held this long starts the count afresh.
        random: Gives numbers from 0 to below 1.
    """

    def __init__(self, base_s: float, cap_s: float, stable_s: float, random: Callable[[], float]) -> None:
        self._base_s = base_s  # bound of the first delay
        self._cap_s = cap_s  # largest bound
        self._stable_s = stable_s  # how long a connection must last to count as good
        self._random = random  # where the jitter comes from
        self._connected_at: float | None = None  # when the current connection was made
        self.tries = 0  # consecutive connections that failed or did not last

    def connected(self, now: float) -> None:
        """Register that a connection was made.

        Args:
            now: Monotonic seconds.
        """
        self._connected_at = now

    def failed(self, now: float) -> float:
        """Register that the connection was lost, or could not be made.

        Args:
            now: Monotonic seconds.

        Returns:
            Seconds to wait before the next try.
        """
        if self._connected_at is not None and now - self._connected_at >= self._stable_s:
            self.tries = 0
        self._connected_at = None
        # The exponent is bounded: 2.0 ** 1100 is an OverflowError, after years of retries.
        bound = min(self._cap_s, self._base_s * 2.0 ** min(self.tries, 60))
        self.tries += 1
        return bound * self._random()


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """Options of a `Client`; the defaults are for a recorder with its own defaults.

    Args:
        heartbeat_s: The server's HEARTBEAT_INTERVAL. After 2 of them without a word a subscription is
            `stale` and the server is asked, after 2.5 its connection is cut and made anew.
        backoff_base_s: Bound of the delay before the first reconnection; it doubles with each further try.
        backoff_cap_s: Bound of every delay.
        backoff_stable_s: A connection that held this long starts the count afresh.
        max_tries: Connections that may fail in a row before that is final; None tries for ever.
        open_timeout_s: How long the opening of a connection may take.
        read_timeout_s: How long an answer over HTTP may keep one waiting for its next bytes.
        close_timeout_s: How long the other side may take to say goodbye.
        drain_timeout_s: How long `aclose` waits for publishes under way.
        max_event_bytes: The longest event that is taken; a delta event carries two states.
        max_waiting_events: Events read ahead of the caller; beyond that the server is left to wait.
        max_waiting_bytes: The same in bytes.
        max_frame_bytes: The longest frame that is published (the server's MAX_MESSAGE_BYTES).
        max_frames: Frames that may be under way (sent, or waiting to be) before `publish` waits.
        max_bytes: The same in bytes; a single longer frame goes alone.
        idempotent: Give an id to each delta published without one, so that it can be sent again after a cut.
        ssl_context: For https and wss; the system's certificates by default.
        clock: Where the time comes from.
        sleep: How to wait so many seconds.
        random: Gives numbers from 0 to below 1, for the jitter.
        new_id: Gives ids for deltas.
    """

    heartbeat_s: float = 15.0
    backoff_base_s: float = 0.25
    backoff_cap_s: float = 30.0
    backoff_stable_s: float = 10.0
    max_tries: int | None = None
    open_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    close_timeout_s: float = 2.0
    drain_timeout_s: float = 10.0
    max_event_bytes: int = 16 << 20
    max_waiting_events: int = 256
    max_waiting_bytes: int = 4 << 20
    max_frame_bytes: int = 16 << 20
    max_frames: int = 1024
    max_bytes: int = 16 << 20
    idempotent: bool = True
    ssl_context: ssl.SSLContext | None = None
    clock: Clock = field(default_factory=SystemClock)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    new_id: Callable[[], str] = _new_id

    def __post_init__(self) -> None:
        for name in (
            "heartbeat_s",
            "open_timeout_s",
            "read_timeout_s",
            "max_event_bytes",
            "max_waiting_events",
            "max_frames",
        ):
            self._check(name, getattr(self, name) > 0, "must be greater than 0")
        for name in (
            "backoff_base_s",
            "backoff_cap_s",
            "backoff_stable_s",
            "close_timeout_s",
            "drain_timeout_s",
        ):
            self._check(name, getattr(self, name) >= 0, "must not be negative")
        self._check(
            "max_tries", self.max_tries is None or self.max_tries > 0, "must be greater than 0, or None"
        )

    def _check(self, name: str, ok: bool, rule: str) -> None:
        if not ok:
            raise ClientError(f"option {name} {rule}, is {getattr(self, name)!r}")
