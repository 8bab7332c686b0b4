"""The limits and deadlines of a connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from recorder.config.settings import Settings
from recorder.wire.subscribe import MAX_SESSIONS

HARD_GRACE_SECONDS = 0.25
"""What came within this time counts as one burst, which nobody can have read yet."""


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """The limits of one connection; times in seconds, sizes in bytes.

    Args:
        soft_bytes: Unsent bytes beyond which a reader is slow.
        soft_seconds: How long it may stay beyond that. One that gets history at its own pace may be slow, but not
            stand still for longer than this and `ping_timeout`.
        hard_bytes: Unsent bytes beyond which it is closed at once (`HARD_GRACE_SECONDS` aside).
        linger_seconds: How long a slow reader may still fetch what was sent before its close frame.
        ping_interval, ping_timeout: When a ping is sent, and how long its pong may take.
        close_seconds: How long closing may take, on either side.
        compression: Whether messages are compressed for those who offer it.
        sessions: How many a subscription may name.
        subscribes_per_minute: How often a subscription may be replaced.
    """

    soft_bytes: int = 1 << 20
    soft_seconds: float = 5.0
    hard_bytes: int = 16 << 20
    linger_seconds: float = 30.0
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    close_seconds: float = 10.0
    compression: bool = False
    sessions: int = MAX_SESSIONS
    subscribes_per_minute: int = 600

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return those of the settings."""
        return cls(
            soft_bytes=settings.slow_soft_bytes,
            soft_seconds=settings.slow_soft_time / 1000,
            hard_bytes=settings.slow_hard_bytes,
            linger_seconds=settings.slow_close_grace / 1000,
            ping_interval=settings.ping_interval / 1000,
            ping_timeout=settings.ping_timeout / 1000,
            compression=settings.compression,
            sessions=settings.max_subscription_sessions,
            subscribes_per_minute=settings.max_subscribes_per_minute,
        )
