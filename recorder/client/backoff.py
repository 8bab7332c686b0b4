"""How long to wait before the next try: exponential, with full jitter, as a value without a clock of its own.

Full jitter (anything between nothing and the bound) keeps a thousand clients of a server that restarts from
coming back in the same instant. Invariant: only a connection that held for a while starts the count afresh,
so that a server which accepts and drops at once is not hammered.
"""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """The delays between tries.

    Args:
        base_s: Bound of the first delay, in seconds.
        cap_s: The bound doubles with each try up to this, in seconds.
        stable_s: A connection that held this long starts the count afresh.
        random: Gives numbers from 0 to below 1.
    """

    def __init__(self, base_s: float, cap_s: float, stable_s: float, random: Callable[[], float]) -> None:
        self._base_s = base_s  # bound of the first delay
        self._cap_s = cap_s  # largest bound
        self._stable_s = stable_s  # how long a connection must hold to count as good
        self._random = random  # where the jitter comes from
        self._connected_at: float | None = None  # when the current connection was made
        self.tries = 0  # connections that failed or did not hold, in a row

    def connected(self, now: float) -> None:
        """A connection was made.

        Args:
            now: Monotonic seconds.
        """
        self._connected_at = now

    def failed(self, now: float) -> float:
        """The connection was lost, or could not be made.

        Args:
            now: Monotonic seconds.

        Returns:
            Seconds to wait before the next try.
        """
        if self._connected_at is not None and now - self._connected_at >= self._stable_s:
            self.tries = 0
        self._connected_at = None
        # The exponent is held down: 2.0 ** 1100 is an OverflowError, after years of trying.
        bound = min(self._cap_s, self._base_s * 2.0 ** min(self.tries, 60))
        self.tries += 1
        return bound * self._random()
