"""Log lines about what strangers do: a few of each kind, and how many more there were.

Whoever can connect can be refused as often as they like. A line for each would let them fill a disk, so each kind of
line has a budget; what exceeds it is counted and told with the next line of its kind. Metrics count all of them.
"""

from __future__ import annotations

from loguru import logger

from recorder.core.clock import Clock
from recorder.core.token_bucket import TokenBucket

LINES_AT_ONCE = 10
"""How many lines of one kind may come at once."""
LINES_PER_SECOND = 0.5
"""How many lines of one kind may come in the long run."""


class SampledLog:
    """Writes so many lines of each kind; a kind is a message with its `code`, both of which are constants.

    Args:
        clock: Its monotonic seconds are used.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._budgets: dict[tuple[str, object], TokenBucket] = {}  # by kind
        self._left_out: dict[tuple[str, object], int] = {}  # lines of a kind since the last one written

    def write(
        self, level: str, message: str, *, exception: BaseException | None = None, **fields: object
    ) -> None:
        """Write a line, or count it.

        Args:
            level: In capitals, as loguru names it.
            message: A constant text.
            exception: Whose traceback is added.
            fields: What varies; `code` is part of the kind.
        """
        kind = (message, fields.get("code"))
        now = self._clock.monotonic()
        budget = self._budgets.get(kind)
        if budget is None:
            budget = self._budgets[kind] = TokenBucket(LINES_PER_SECOND, LINES_AT_ONCE, now)
        if budget.wait(1, now):
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        budget.take(1, now)
        left_out = self._left_out.pop(kind, 0)
        if left_out:
            fields["left_out"] = left_out
        # One frame up: the line is its caller's.
        logger.bind(**fields).opt(depth=1, exception=exception).log(level, message)
