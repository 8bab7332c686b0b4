"""How far what one has seen lies behind what there is: a small value, and the rule that makes it.

`live`: everything heard of has been handed out. `behind n`: n more are known of. `stale t`: nothing was
heard for t seconds, so nobody knows. With a filter n counts what waits to be taken (live) or is an upper
bound (before).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

STALE_INTERVALS = 2.0
"""After this many heartbeat intervals of silence nothing is known any more."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How current a subscription is; `str()` of it is `live`, `behind 12` or `stale 31 s`.

    Args:
        kind: `live`, `behind` or `stale`.
        behind: How many deltas are known of and not yet handed out; 0 where `live`.
        stale_s: Seconds since anything was heard.
    """

    kind: Literal["live", "behind", "stale"]
    behind: int = 0
    stale_s: float = 0.0

    def __str__(self) -> str:
        if self.kind == "behind":
            return f"behind {self.behind}"
        return f"stale {self.stale_s:.0f} s" if self.kind == "stale" else "live"


def assess(*, connected: bool, is_live: bool, behind: int, silent_s: float, heartbeat_s: float) -> Freshness:
    """The freshness of a subscription.

    Args:
        connected: Whether there is a connection, and the server has said hello.
        is_live: Whether history is over.
        behind: How many deltas are known of and not yet handed out.
        silent_s: Seconds since anything was heard.
        heartbeat_s: The interval of heartbeats, in seconds.
    """
    behind = max(behind, 0)
    if not connected or silent_s > STALE_INTERVALS * heartbeat_s:
        return Freshness("stale", behind, silent_s)
    if is_live and behind == 0:
        return Freshness("live", 0, silent_s)
    return Freshness("behind", behind, silent_s)


def worst(freshnesses: Iterable[Freshness]) -> Freshness | None:
    """The least current of several, None where there is none."""
    order = {"live": 0, "behind": 1, "stale": 2}
    return max(freshnesses, key=lambda one: (order[one.kind], one.stale_s, one.behind), default=None)
