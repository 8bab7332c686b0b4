"""The rate limit of a publisher: throttled first, then rejected.

Each delta costs a token of its publisher's bucket, and a publish that is refused costs one, since to look at it cost
something. A publish that would be paid off soon is taken, and its publisher waits before the next; one that would take
longer than `max_delay` to pay off is refused, with nothing of it taken. So a steady publisher above the rate meets TCP's
back-pressure and loses nothing, and only what no patience would make fit is refused.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from recorder.core.clock import Clock
from recorder.core.errors import RateLimited
from recorder.core.metrics import Metrics
from recorder.core.token_bucket import BucketTable, TokenBucket


class Pace:
    """The rate limiter of one publisher.

    Args:
        bucket: Of deltas.
        max_delay: How long a publish may take to be paid off, in seconds.
        clock, metrics: As everywhere.
    """

    def __init__(self, bucket: TokenBucket, max_delay: float, clock: Clock, metrics: Metrics) -> None:
        self._bucket = bucket
        self._max_delay = max_delay
        self._clock = clock
        self._metrics = metrics

    def take(self, count: int) -> None:
        """Take the tokens of a publish; to be called before any of it gets a place.

        Args:
            count: Its deltas.

        Raises:
            RateLimited: It is too far ahead.
        """
        now = self._clock.monotonic()
        wait = self._bucket.wait(count, now)
        if wait > self._max_delay:
            raise RateLimited(
                f"{count} deltas now are {wait:.1f} seconds ahead of the rate that may be published at",
                hint="publish fewer at once, or later; PUBLISH_RATE and PUBLISH_MAX_DELAY set the limit",
            )
        self._bucket.take(count, now)
        if wait:
            self._metrics.slowed += 1

    def charge(self) -> None:
        """Take the token of a publish that was refused, for whatever reason: to look at it cost something, too."""
        self._bucket.take(1, self._clock.monotonic())

    def delay(self) -> float:
        """Return the seconds to wait before the next publish; 0 if it may be sent at once."""
        return self._bucket.wait(0, self._clock.monotonic())


@dataclass(frozen=True, slots=True)
class PublishRate:
    """The rate that a publisher is limited to.

    Args:
        rate: Deltas a second; None for no bound.
        burst: How many may come at once after a pause.
        max_delay: In seconds; see `Pace`.
    """

    rate: int | None = None
    burst: int = 10_000
    max_delay: float = 5.0


class Paces:
    """The paces of those who publish: one for each connection to `/publish`, over HTTP one for each address.

    Args:
        rate: Of each.
        clock, metrics: As everywhere.
    """

    def __init__(self, rate: PublishRate, clock: Clock, metrics: Metrics) -> None:
        self._rate = rate
        self._clock = clock
        self._metrics = metrics
        self._shared = None if rate.rate is None else BucketTable(rate.rate, rate.burst)  # by key

    def own(self) -> Pace | None:
        """Return a rate limit of its own; None if there is no limit."""
        if self._rate.rate is None:
            return None
        return self._pace(TokenBucket(self._rate.rate, self._rate.burst, self._clock.monotonic()))

    def shared(self, key: Hashable) -> Pace | None:
        """Return the rate limit shared by everyone with the same key; None if there is no limit."""
        if self._shared is None:
            return None
        return self._pace(self._shared.bucket(key, self._clock.monotonic()))

    def _pace(self, bucket: TokenBucket) -> Pace:
        return Pace(bucket, self._rate.max_delay, self._clock, self._metrics)
