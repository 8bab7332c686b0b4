"""Token buckets: how often something may happen, with room for a burst.

A bucket holds up to `burst` tokens and fills at `rate` a second; what happens takes some out. It reads no clock: `now`
comes with each call, in seconds from any fixed point, never going back. Left out: what is done to whoever finds a
bucket empty, which is its owner's policy.
"""

from __future__ import annotations

from collections.abc import Hashable


class TokenBucket:
    """One bucket, full at first.

    Args:
        rate: Tokens a second.
        burst: The most it holds.
        now: The time it is made.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst  # as of `_at`; below zero while more was taken than there was
        self._at = now

    def wait(self, cost: float, now: float) -> float:
        """Return the seconds until `cost` tokens are there; 0 where they are. More than `burst` is waited for, too."""
        self._fill(now)
        return max(0.0, (cost - self._tokens) / self._rate)

    def take(self, cost: float, now: float) -> None:
        """Take tokens out, whether they are there or not."""
        self._fill(now)
        self._tokens -= cost

    def is_full(self, now: float) -> bool:
        """Return whether the bucket is full, as if nothing had ever been taken."""
        self._fill(now)
        return self._tokens >= self._burst

    def _fill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now


class BucketTable:
    """A bucket for each key; one that is full again is forgotten, so that the table follows who is active.

    Args:
        rate, burst: Of each bucket.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[Hashable, TokenBucket] = {}  # those that may not be full
        self._look_at = 1024  # how many there may be before the full ones are looked for

    def __len__(self) -> int:
        return len(self._buckets)

    def bucket(self, key: Hashable, now: float) -> TokenBucket:
        """Return the bucket of a key."""
        found = self._buckets.get(key)
        if found is None:
            if len(self._buckets) >= self._look_at:
                self._forget_full(now)
            found = self._buckets[key] = TokenBucket(self._rate, self._burst, now)
        return found

    def _forget_full(self, now: float) -> None:
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.is_full(now)}
        # Twice what is left: looking through all costs, shared out, no more than a step for each that is added.
        self._look_at = max(1024, 2 * len(self._buckets))
